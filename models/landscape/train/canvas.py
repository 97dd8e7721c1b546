"""What land.py, objects.py and draw.py draw with: a batch of pictures, shapes, soft edges."""
import math

import torch
import torch.nn.functional as F

import scene

SIZE = 256
PX = 1.0 / SIZE
# By time of day: the sky at the horizon, the light on things.
SKY_LOW = [(1.00, 0.90, 0.70), (0.86, 0.95, 0.99), (1.00, 0.55, 0.28), (0.16, 0.22, 0.42)]
LIGHT = [(0.98, 0.84, 0.82), (1.0, 1.0, 1.0), (0.72, 0.48, 0.52), (0.29, 0.36, 0.60)]


class Canvas:
    """A batch of pictures of one terrain being drawn, with its random numbers."""

    def __init__(self, s, generator, device):
        self.g, self.device = generator, device
        self.s = s
        self.n = n = len(s["terrain"])
        axis = (torch.arange(SIZE, device=device, dtype=torch.float32) + 0.5) * PX
        self.x, self.y = axis.view(1, 1, SIZE), axis.view(1, SIZE, 1)
        self.rgb, self.body, self.turn = None, None, None
        self.light = self.pick(LIGHT, s["time"])
        self.low = self.pick(SKY_LOW, s["time"])
        self.dark = ((s["time"] == 3) * 1.0 + (s["time"] == 2) * 0.5).view(n, 1, 1)

    def pick(self, table, index):
        """A row of a table of colours for each picture: [n, 3, 1, 1]."""
        return torch.tensor(table, device=self.device)[index].view(-1, 3, 1, 1)

    def rand(self, low, high, *shape):
        """Uniform, [n, 1, 1] unless a shape after n is given."""
        u = torch.rand((self.n,) + (shape or (1, 1)), generator=self.g, device=self.device)
        return low + (high - low) * u

    def is_(self, attribute, name):
        """1 where the attribute has this value: [n, 1, 1]."""
        return (self.s[attribute] == scene.ATTRIBUTES[attribute].index(name)).float().view(-1, 1, 1)

    def jitter(self, colour, amount=0.03):
        return (as_colour(colour, self.device) + self.rand(-amount, amount, 3, 1, 1)).clamp(0, 1)

    def paint(self, mask, colour):
        """Lays a colour [n or 1, 3, h or 1, w or 1] over the picture by mask [n, h, w]."""
        mask = mask.unsqueeze(1)
        self.rgb = self.rgb + mask * (as_colour(colour, self.device) - self.rgb)

    def lit(self, colour, haze=0.0):
        """A thing's colour in this light, fading into the horizon's colour with distance."""
        c = as_colour(colour, self.device) * self.light
        return c + haze * (self.low - c)

    def object_lit(self, colour):
        """Near things keep more of their colour at night."""
        return as_colour(colour, self.device) * (0.58 + 0.42 * self.light)

    def waves(self, low, high, terms, power=1.0):
        """Sum of sines over x, about -1..1: a smooth profile [n, 1, w]."""
        total = 0
        norm = 0.0
        for i in range(terms):
            f = low * (high / low) ** (i / max(terms - 1, 1))
            a = (low / f) ** power
            total = total + a * torch.sin(2 * math.pi * (self.rand(0.85, 1.15) * f * self.x
                                                         + self.rand(0, 1)))
            norm += a
        return total / norm

    def noise(self, cells):
        """Smooth 2-D noise, 0..1, with so many cells across: [n, h, w]."""
        grid = torch.rand((self.n, 1, cells, cells), generator=self.g, device=self.device)
        return F.interpolate(grid, SIZE, mode="bicubic", align_corners=True)[:, 0].clamp(0, 1)


def subset(c, pick):
    """The pictures `pick` of a canvas, to be drawn on apart."""
    sub = Canvas({k: v[pick] for k, v in c.s.items()}, c.g, c.device)
    sub.rgb = c.rgb[pick]
    if c.body is not None:
        sub.body = tuple(v[pick] for v in c.body)
    if c.turn is not None:
        sub.turn = c.turn[pick]
    return sub


def only(c, attribute, name, paint):
    """Paints on the pictures whose attribute has this value."""
    pick = c.is_(attribute, name).view(-1).nonzero().view(-1)
    if len(pick):
        sub = subset(c, pick)
        paint(sub)
        c.rgb[pick] = sub.rgb


def as_colour(c, device):
    if isinstance(c, tuple):
        return torch.tensor(c, device=device).view(1, 3, 1, 1)
    return c


def inside(d, soft=1.0):
    """Coverage of a signed distance (negative inside), with an edge of `soft` pixels."""
    return (0.5 - d * (SIZE / soft)).clamp(0, 1)


def below(y, profile, soft=1.3):
    return inside(profile - y, soft)


def smooth(x, a, b):
    t = ((x - a) / (b - a)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def circle(x, y, r):
    return torch.sqrt(x * x + y * y + 1e-9) - r


def box(x, y, w, h):
    """Centred at 0, half sizes w and h."""
    dx, dy = x.abs() - w, y.abs() - h
    return torch.maximum(dx, dy)


def triangle(x, y, w, h):
    """Base on y = 0 from -w to w, tip at y = -h."""
    side = (x.abs() / w - y / h - 1) * torch.minimum(w, h) * 0.7
    return torch.maximum(side, y)
