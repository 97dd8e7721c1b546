"""Draws landscapes: scenes (scene.py) in, pictures [n, 3, 256, 256] in [0, 1] out.

Everything is a signed distance or a height profile with edges one pixel soft, for a whole batch at
once. The same scenes and seed give the same pictures on the same kind of device.
    python draw.py sheet.png     draws 64 random scenes
"""
import math
import sys

import torch
import torch.nn.functional as F

import scene

SIZE = 256
PX = 1.0 / SIZE
# By time of day: sky at the top, in the middle, at the horizon; light on things.
SKY_TOP = [(0.50, 0.62, 0.90), (0.25, 0.55, 0.92), (0.20, 0.13, 0.40), (0.03, 0.05, 0.17)]
SKY_MID = [(0.98, 0.78, 0.80), (0.52, 0.76, 0.97), (0.72, 0.25, 0.45), (0.07, 0.10, 0.28)]
SKY_LOW = [(1.00, 0.90, 0.70), (0.86, 0.95, 0.99), (1.00, 0.55, 0.28), (0.16, 0.22, 0.42)]
LIGHT = [(0.98, 0.84, 0.82), (1.0, 1.0, 1.0), (0.72, 0.48, 0.52), (0.29, 0.36, 0.60)]
BODY_RGB = [(0.90, 0.13, 0.10), (1.00, 0.52, 0.08), (1.00, 0.87, 0.22), (1.00, 0.99, 0.95)]
OBJECT_RGB = [(0.84, 0.14, 0.12), (0.16, 0.35, 0.85), (0.97, 0.80, 0.15), (0.96, 0.96, 0.94),
              (0.16, 0.62, 0.25)]
RAINBOW = [(0.90, 0.20, 0.20), (0.98, 0.60, 0.15), (0.99, 0.92, 0.30), (0.30, 0.78, 0.35),
           (0.25, 0.50, 0.92), (0.55, 0.30, 0.80)]


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


# ---------------------------------------------------------------------------- sky

def draw_sky(c):
    s = c.s
    tone = c.rand(-0.03, 0.03, 3, 1, 1)
    top, mid, low = (c.pick(t, s["time"]) + tone for t in (SKY_TOP, SKY_MID, SKY_LOW))
    y = c.y.unsqueeze(1)
    m = c.rand(0.28, 0.38, 1, 1, 1)
    c.rgb = torch.where(y < m, top + (mid - top) * (y / m),
                        mid + (low - mid) * ((y - m) / (0.62 - m)).clamp(0, 1))
    c.rgb = c.rgb.expand(-1, -1, -1, SIZE).clamp(0, 1).contiguous()
    grey = c.rgb.mean(1, keepdim=True) * 0.85
    dull = (0.55 * c.is_("weather", "rain") + 0.2 * c.is_("weather", "snow")).unsqueeze(1)
    c.rgb = c.rgb + dull * (grey - c.rgb)
    only(c, "sky", "stars", stars)
    only(c, "sky", "rainbow", rainbow)
    draw_body(c)
    only(c, "sky", "cloudy", clouds)


def stars(c):
    mask = torch.zeros(c.n, SIZE, SIZE, device=c.device)
    for _ in range(34):
        x, y, r = c.rand(0.02, 0.98), c.rand(0.015, 0.48), c.rand(1.2, 2.3) * PX
        d = circle(c.x - x, c.y - y, r)
        mask = torch.maximum(mask, inside(d, 1.6) * c.rand(0.75, 1.0))
    c.paint(mask, (1.0, 0.98, 0.88))


def rainbow(c):
    cx, cy, r = c.rand(0.35, 0.65), c.rand(0.66, 0.76), c.rand(0.46, 0.54)
    t = (circle(c.x - cx, c.y - cy, r) / -0.085)  # 0 at the outer edge, 1 at the inner
    band = inside(torch.maximum(-t, t - 1) * 0.085, 2.0)
    k = (t * 6).clamp(0, 5.999)
    table = torch.tensor(RAINBOW, device=c.device)
    i = k.floor().long()
    j = (i + 1).clamp(max=5)
    f = smooth(k - i, 0.7, 1.0).unsqueeze(-1)
    colour = (table[i] * (1 - f) + table[j] * f).permute(0, 3, 1, 2)
    c.paint(band * 0.72, colour)


def draw_body(c):
    sun, moon = c.is_("body", "sun"), c.is_("body", "moon")
    x = c.rand(0.12, 0.36)
    x = torch.where(c.is_("side", "right") > 0, 1 - x, x)
    y = c.rand(0.12, 0.26)
    y = y + c.rand(0, 0.06) * (c.is_("time", "dusk") + c.is_("time", "dawn"))
    r = c.rand(0.062, 0.085)
    colour = c.pick(BODY_RGB, c.s["body_colour"])
    d = circle(c.x - x, c.y - y, r)
    glow = torch.exp(-d.clamp(min=0) / (0.55 * r + 0.03)) * 0.55
    c.paint(glow * sun, colour * 0.85 + 0.15)
    c.paint(inside(d, 1.3) * sun, colour)
    # A crescent, open to the upper right, in a faint halo.
    cut = circle(c.x - x - 0.52 * r, c.y - y + 0.28 * r, 0.86 * r)
    crescent = torch.maximum(d, -cut)
    c.paint(torch.exp(-crescent.clamp(min=0) / 0.05) * 0.22 * moon, colour)
    c.paint(inside(crescent, 1.3) * moon, colour)
    c.body = (x, y, r, sun + moon)


def clouds(c):
    rain = c.is_("weather", "rain").unsqueeze(1)
    white = c.lit((1.0, 1.0, 1.0), 0.25) * 0.9 + 0.1 * c.low
    shade = white * 0.86 + 0.02
    white = white - 0.28 * rain * white
    shade = shade - 0.30 * rain * shade
    for i in range(4):
        x, y = c.rand(0.02, 0.23) + 0.25 * i, c.rand(0.06, 0.36)
        size = c.rand(0.75, 1.25)
        # Rather under the sun than over it.
        bx, by, br, there = c.body
        near = there * (((x - bx).abs() < 0.17) & ((y - by).abs() < 0.16)).float()
        y = y + near * (by + 0.19 - y)
        d = None
        for k, (ox, oy, r) in enumerate([(-0.075, 0.005, 0.030), (-0.030, -0.018, 0.042),
                                         (0.025, -0.012, 0.048), (0.075, 0.006, 0.030)]):
            r = r * size * c.rand(0.85, 1.15)
            e = circle(c.x - x - ox * size, c.y - y - oy * size, r)
            d = e if d is None else torch.minimum(d, e)
        d = torch.maximum(d, c.y - y - 0.026 * size)  # flat underneath
        c.paint(inside(d, 2.0), white)
        c.paint(inside(torch.maximum(d, y + 0.004 - c.y), 3.0), shade)


# ---------------------------------------------------------------------------- land

def ground_colours(c):
    """Greens, or what the season makes of them: near and far, [n, 3, 1, 1]."""
    near, far = c.jitter((0.30, 0.58, 0.24), 0.05), c.jitter((0.46, 0.68, 0.42), 0.04)
    autumn = c.is_("weather", "autumn").unsqueeze(1)
    near = near + autumn * (c.jitter((0.80, 0.42, 0.12), 0.05) - near)
    far = far + autumn * (c.jitter((0.86, 0.58, 0.24), 0.04) - far)
    snow = 0.62 * c.is_("weather", "snow").unsqueeze(1)
    white = as_colour((0.93, 0.95, 0.99), c.device)
    return near + snow * (white - near), far + snow * (white - far)


def peaks(c, count, base, low, high, rock, haze, caps):
    """A row of mountains: tents with a lit and a shaded side and snow on top."""
    rough = c.waves(9, 23, 4, 0.8) * 0.012
    best = None
    order = torch.rand((c.n, count), generator=c.g, device=c.device).argsort(1)
    for i in range(count):
        slot = order[:, i].view(-1, 1, 1).float()
        x = (slot + c.rand(0.15, 0.85)) / count * 1.1 - 0.05
        tip = base - c.rand(low, high)
        slope = c.rand(0.95, 1.35)
        profile = tip + slope * (c.x - x).abs() + rough
        bend = torch.sin((c.y - tip) * 38 + c.rand(0, 6)) * 0.012 + 0.18 * (c.y - tip)
        shaded = smooth(c.x - x - bend, -0.003, 0.003)
        mask = below(c.y, profile)
        face = rock * (1.0 - 0.30 * shaded.unsqueeze(1))
        c.paint(mask, c.lit(face, haze))
        zig = torch.sin(c.x * c.rand(70, 95) + c.rand(0, 6)) * 0.014 \
            + torch.sin(c.x * c.rand(150, 180)) * 0.005
        line = tip + c.rand(0.085, 0.12) + zig
        cap = mask * inside(c.y - line, 1.5) * caps
        snow = as_colour((0.97, 0.98, 1.0), c.device) * (1.0 - 0.17 * shaded.unsqueeze(1))
        c.paint(cap, c.lit(snow, haze * 0.6))
        best = profile if best is None else torch.minimum(best, profile)
    return best


def rolling(c, base, height, colour, haze, low=0.7, high=2.2):
    """One smooth ridge, lighter at its crest."""
    profile = base - height * (0.5 + 0.5 * c.waves(low, high, 3))
    rim = (1.10 - 0.16 * smooth(c.y - profile, 0.0, 0.14)).unsqueeze(1)
    c.paint(below(c.y, profile), c.lit(colour * rim, haze).clamp(0, 1))
    return profile


def conifers(c, base, size, colour, haze, cells):
    """A row of firs: tents in cells, each of its own height. base: y of the feet."""
    offset = c.rand(0, 1)
    u = c.x * cells + offset
    index = u.floor()
    pseudo = torch.frac((torch.sin(index * 12.9898 + offset * 78.233) * 43758.5453).abs())
    other = torch.frac((torch.sin(index * 39.346 + offset * 11.135) * 24634.6345).abs())
    x = (u - index - 0.5 - 0.24 * (other - 0.5)) / cells
    h = size * (0.70 + 0.55 * pseudo)
    w = 0.46 / cells
    y = c.y - base
    t = (y / h + 1).clamp(0, 1)  # 0 at the tip, 1 at the foot
    tier = torch.frac(t * 3.0) * 0.28 + t * 0.72  # three tiers of branches
    d = torch.maximum(x.abs() - w * tier, torch.maximum(y, -h - y))
    shade = (1.0 - 0.22 * smooth(x, -0.001, 0.002)).unsqueeze(1)
    c.paint(inside(d, 1.3), c.lit(colour * shade, haze))


def mountains(c):
    _, far = ground_colours(c)
    near, _ = ground_colours(c)
    rock = c.jitter((0.46, 0.47, 0.56), 0.05)
    peaks(c, 4, 0.66, 0.10, 0.22, rock, 0.55, 0.5)
    peaks(c, 3, 0.72, 0.20, 0.36, rock, 0.12, 1.0)
    rolling(c, c.rand(0.73, 0.76), 0.06, far, 0.15, 1.0, 3.0)
    conifers(c, c.rand(0.79, 0.81), 0.055, near * 0.62, 0.1, 26)
    rolling(c, c.rand(0.82, 0.84), 0.04, near, 0.0)


def hills(c):
    near, far = ground_colours(c)
    b = c.rand(-0.02, 0.02)
    for i, (y, h) in enumerate([(0.60, 0.10), (0.67, 0.10), (0.755, 0.11), (0.85, 0.10)]):
        k = i / 3
        rolling(c, y + b, h, far + k * (near - far), 0.45 * (1 - k) ** 1.5)


def desert(c):
    sand = c.jitter((0.93, 0.74, 0.44), 0.04)
    rolling(c, c.rand(0.60, 0.63), 0.05, sand, 0.45)
    for i, (y, h) in enumerate([(0.69, 0.10), (0.78, 0.13), (0.88, 0.12)]):
        crest = c.rand(0.2, 0.8)
        width = c.rand(0.32, 0.5)
        profile = y - h * torch.exp(-((c.x - crest) / width) ** 2 * 2.2) + 0.02 * c.waves(1, 2, 2)
        # The lee side is dark, up to a sweeping edge below the crest.
        edge = crest + 0.10 * torch.sin((c.y - y) * 16 + c.rand(0, 3)) + (c.y - y + h) * 0.55
        lee = smooth(c.x - edge, -0.004, 0.004)
        haze = (0.25, 0.12, 0.0)[i]
        c.paint(below(c.y, profile), c.lit(sand * (1.0 - 0.24 * lee.unsqueeze(1)), haze))


def water(c, top, colour, glints=9):
    """Water below y = top: darker towards the viewer, with soft streaks."""
    depth = ((c.y - top) / (1 - top)).clamp(0, 1).unsqueeze(1)
    body = c.lit(colour * (1.05 - 0.35 * depth), 0.0)
    body = body + (1 - depth) ** 2 * 0.55 * (c.low - body)
    c.paint(below(c.y, top), body)
    for i in range(glints):
        y = top + (1 - top) * ((i + 0.6) / glints) ** 1.3 + c.rand(-0.008, 0.008)
        x, w = c.rand(0, 1), c.rand(0.05, 0.16)
        thick = 0.003 + 0.004 * i / glints
        d = torch.maximum((c.x - x).abs() / w - 1, torch.zeros_like(c.x)) * 0.02 \
            + (c.y - y - 0.003 * torch.sin(c.x * 40 + x * 9)).abs() - thick * (
                1 - ((c.x - x) / w) ** 2).clamp(min=0)
        c.paint(inside(d, 1.6) * 0.40, body * 0.6 + 0.4 * (c.low * 0.6 + 0.4 * c.light))


def body_on_water(c, top):
    """The light of sun or moon on the water: a ladder of short streaks."""
    x, _, r, there = c.body
    colour = c.pick(BODY_RGB, c.s["body_colour"])
    for i in range(7):
        y = top + 0.015 + (0.95 - top) * (i / 7) ** 1.2
        w = r * (0.45 + 0.09 * i) * c.rand(0.7, 1.2)
        d = torch.maximum((c.x - x - c.rand(-0.01, 0.01)).abs() - w,
                          (c.y - y).abs() - 0.0045 - 0.0006 * i)
        c.paint(inside(d, 1.8) * there * 0.65, colour)


def sea(c):
    top = c.rand(0.55, 0.61)
    colour = c.jitter((0.10, 0.46, 0.68), 0.04)
    water(c, top, colour, 14)
    body_on_water(c, top)
    c.ground = c.rand(0.74, 0.84)


def lake(c):
    near, far = ground_colours(c)
    rock = c.jitter((0.46, 0.47, 0.56), 0.05)
    top = c.rand(0.60, 0.63)
    peaks(c, 3, top + 0.02, 0.16, 0.30, rock, 0.15, 1.0)
    rolling(c, top + 0.012, 0.05, far, 0.2, 1.0, 3.0)
    conifers(c, top + 0.004, 0.04, near * 0.6, 0.15, 30)
    # What is above the water line, upside down, wavering and darker.
    ripple = 0.0035 * torch.sin(c.y * 150 + c.rand(0, 6)) * (1 + 0 * c.x)
    gx = (c.x + ripple).expand(c.n, SIZE, SIZE) * 2 - 1
    gy = (2 * top - c.y).expand(c.n, SIZE, SIZE) * 2 - 1
    mirror = F.grid_sample(c.rgb, torch.stack([gx, gy], -1), align_corners=False,
                           padding_mode="border")
    blue = c.lit(as_colour((0.16, 0.44, 0.62), c.device), 0.1)
    c.paint(below(c.y, top), mirror * 0.66 + blue * 0.34)
    for i in range(6):
        y, x, w = top + 0.02 + 0.05 * i + c.rand(-0.01, 0.01), c.rand(0, 1), c.rand(0.06, 0.16)
        d = (c.y - y).abs() - 0.0035 * (1 - ((c.x - x) / w) ** 2).clamp(min=0) \
            + ((c.x - x).abs() - w).clamp(min=0)
        c.paint(inside(d, 1.6) * 0.45, c.low * 0.6 + 0.4 * c.light)
    rolling(c, c.rand(0.92, 0.94), 0.03, near, 0.0, 0.5, 1.5)
    boat = c.is_("object", "boat")
    c.ground = c.rand(0.70, 0.80) * boat + c.rand(0.90, 0.93) * (1 - boat)


def forest(c):
    near, far = ground_colours(c)
    autumn = c.is_("weather", "autumn").unsqueeze(1)
    green = c.jitter((0.16, 0.42, 0.24), 0.04)
    leaf = green + autumn * (c.jitter((0.82, 0.40, 0.12), 0.07) - green)
    snow = 0.45 * c.is_("weather", "snow").unsqueeze(1)
    leaf = leaf + snow * (as_colour((0.90, 0.94, 0.98), c.device) - leaf)
    rolling(c, c.rand(0.58, 0.62), 0.06, far * 0.8, 0.5)
    conifers(c, c.rand(0.66, 0.68), 0.17, leaf, 0.48, 17)
    rolling(c, c.rand(0.68, 0.69), 0.02, far * 0.85, 0.35)
    conifers(c, c.rand(0.75, 0.76), 0.22, leaf, 0.24, 12)
    rolling(c, c.rand(0.77, 0.78), 0.02, near, 0.12)
    conifers(c, c.rand(0.84, 0.85), 0.27, leaf * 0.9, 0.05, 8)
    rolling(c, c.rand(0.86, 0.88), 0.03, near, 0.0)
    c.ground = c.rand(0.90, 0.94)


def snowfield(c):
    white = c.jitter((0.92, 0.95, 1.0), 0.02)
    b = c.rand(-0.02, 0.02)
    rolling(c, 0.60 + b, 0.09, white * 0.88, 0.35)
    conifers(c, 0.635 + b, 0.05, c.jitter((0.26, 0.44, 0.42), 0.03), 0.3, 22)
    rolling(c, 0.67 + b, 0.06, white * 0.94, 0.18)
    rolling(c, 0.76 + b, 0.07, white * 0.97, 0.05)
    x = c.rand(0.0, 1.0)
    rolling(c, 0.86 + b + 0.02 * x, 0.07, white, 0.0)


def skyline(c, base, low, high, cells, colour, haze, windows):
    offset = c.rand(0, 1)
    u = c.x * cells + offset
    index = u.floor()
    pseudo = torch.frac((torch.sin(index * 12.9898 + offset * 78.233) * 43758.5453).abs())
    other = torch.frac((torch.sin(index * 39.346 + offset * 11.135) * 24634.6345).abs())
    x = (u - index - 0.5) / cells
    h = low + (high - low) * pseudo
    half = (0.40 + 0.09 * other) / cells
    d = torch.maximum(x.abs() - half, base - h - c.y)
    spire = torch.maximum(x.abs() - 0.0035, base - h - 0.05 - c.y) + (other < 0.7) * 1.0
    tone = (0.84 + 0.32 * other).unsqueeze(1)
    tower = torch.minimum(d, torch.maximum(spire, c.y - base))
    c.paint(inside(tower, 1.2), c.lit(colour * tone, haze).clamp(0, 1))
    if windows:
        wx = torch.frac(x / 0.018 + 0.5) - 0.5
        wy = torch.frac((c.y - base + h) / 0.030) - 0.5
        lit = torch.frac((torch.sin((x / 0.018 + 0.5).floor() * 7.13 + index * 3.7
                                    + ((c.y - base + h) / 0.030).floor() * 17.7) * 941.7).abs())
        w = inside(torch.maximum(wx.abs() * 0.018 - 0.0055, wy.abs() * 0.030 - 0.009), 1.2)
        w = w * inside(d + 0.006, 1.2) * (c.y < base - 0.02)
        glow = as_colour((1.0, 0.86, 0.45), c.device)
        glass = c.lit(colour * 0.72, haze)
        on = ((lit < 0.6) * smooth(c.dark, 0.2, 0.6)).unsqueeze(1)
        c.paint(w, glass + on * (glow - glass))


def city(c):
    near, far = ground_colours(c)
    wall = c.jitter((0.56, 0.58, 0.68), 0.06)
    skyline(c, 0.86, 0.28, 0.48, 13, wall, 0.55, False)
    skyline(c, 0.86, 0.18, 0.40, 9, wall * 0.92, 0.15, True)
    rolling(c, c.rand(0.85, 0.87), 0.02, near, 0.0)


LAND = [mountains, hills, desert, sea, lake, forest, snowfield, city]


# ---------------------------------------------------------------------------- objects

def house(c, x, y, k, colour):
    wall = c.object_lit(colour)
    c.paint(inside(box(x, y + 0.045 * k, 0.062 * k, 0.045 * k)), wall)
    roof = triangle(x, y + 0.086 * k, 0.080 * k, 0.062 * k)
    c.paint(inside(roof), c.object_lit((0.42, 0.27, 0.24)))
    c.paint(inside(box(x, y + 0.024 * k, 0.012 * k, 0.025 * k)), c.object_lit((0.35, 0.22, 0.16)))
    pane = torch.minimum(box(x - 0.036 * k, y + 0.056 * k, 0.012 * k, 0.012 * k),
                         box(x + 0.036 * k, y + 0.056 * k, 0.012 * k, 0.012 * k))
    glass = c.object_lit((0.62, 0.80, 0.92))
    lamp = smooth(c.dark, 0.2, 0.6).unsqueeze(1)
    c.paint(inside(pane), glass + lamp * (as_colour((1.0, 0.88, 0.45), c.device) - glass))


def boat(c, x, y, k, colour):
    t = ((y + 0.030 * k) / (0.042 * k)).clamp(0, 1)  # 0 at the gunwale, 1 at the keel
    hull = torch.maximum(x.abs() - k * (0.088 - 0.034 * t * t), (y + 0.010 * k).abs() - 0.021 * k)
    c.paint(inside(box(x + 0.004 * k, y + 0.095 * k, 0.0035 * k, 0.075 * k)),
            c.object_lit((0.40, 0.28, 0.20)))
    sail = torch.maximum(triangle(x - 0.004 * k, y + 0.042 * k, 0.068 * k, 0.13 * k), -x + 0.003 * k)
    c.paint(inside(sail), c.object_lit((0.97, 0.95, 0.90)))
    jib = torch.maximum(triangle(x + 0.008 * k, y + 0.042 * k, 0.052 * k, 0.10 * k), x + 0.010 * k)
    c.paint(inside(jib), c.object_lit(colour * 0.95))
    c.paint(inside(hull), c.object_lit(colour))
    c.paint(inside((y - 0.014 * k).abs() - 0.0035 + (x.abs() - 0.07 * k).clamp(min=0)) * 0.5,
            c.object_lit((0.95, 0.97, 1.0)))


def castle(c, x, y, k, colour):
    wall, roof = c.object_lit(colour), c.object_lit(colour * 0.55)
    teeth = (torch.frac(x / (0.022 * k) + 0.5) - 0.5).abs() * 0.022 * k - 0.006 * k
    keep = box(x, y + 0.050 * k, 0.070 * k, 0.050 * k)
    crown = torch.maximum(torch.maximum(box(x, y + 0.105 * k, 0.070 * k, 0.008 * k), teeth * 1.0),
                          x.abs() - 0.070 * k)
    middle = box(x, y + 0.085 * k, 0.026 * k, 0.085 * k)
    towers = box(x.abs() - 0.072 * k, y + 0.068 * k, 0.020 * k, 0.068 * k)
    d = torch.minimum(torch.minimum(keep, crown), torch.minimum(middle, towers))
    c.paint(inside(d), wall)
    c.paint(inside(towers) * 0.5, wall * 0.78)
    c.paint(inside(middle) * 0.5, wall * 0.86)
    cones = torch.minimum(triangle(x.abs() - 0.072 * k, y + 0.134 * k, 0.027 * k, 0.055 * k),
                          triangle(x, y + 0.168 * k, 0.034 * k, 0.065 * k))
    c.paint(inside(cones), roof)
    gate = torch.minimum(box(x, y + 0.016 * k, 0.014 * k, 0.016 * k),
                         circle(x, y + 0.032 * k, 0.014 * k))
    slit = torch.minimum(box(x.abs() - 0.072 * k, y + 0.095 * k, 0.005 * k, 0.012 * k),
                         box(x, y + 0.125 * k, 0.007 * k, 0.014 * k))
    c.paint(inside(torch.minimum(gate, slit)), c.object_lit((0.20, 0.16, 0.20)))


def tree(c, x, y, k, colour):
    c.paint(inside(box(x, y + 0.040 * k, 0.010 * k, 0.042 * k)), c.object_lit((0.42, 0.28, 0.18)))
    crown = circle(x, y + 0.135 * k, 0.052 * k)
    for ox, oy, r in [(-0.042, 0.100, 0.040), (0.042, 0.100, 0.040), (0.0, 0.095, 0.044)]:
        crown = torch.minimum(crown, circle(x - ox * k, y + oy * k, r * k))
    c.paint(inside(crown), c.object_lit(colour))
    c.paint(inside(torch.maximum(crown, -circle(x + 0.018 * k, y + 0.132 * k, 0.074 * k)), 2.0),
            c.object_lit(colour * 0.74))


def balloon(c, x, y, k, colour):
    y = y + 0.02 * k
    bag = circle(x, y + 0.100 * k, 0.068 * k)
    taper = torch.maximum((x.abs() - (0.014 * k + (-(y + 0.012 * k)).clamp(min=0) * 0.78)) * 0.8,
                          torch.maximum(y + 0.012 * k, -y - 0.072 * k))
    envelope = torch.minimum(bag, taper)
    c.paint(inside(envelope), c.object_lit(colour))
    width = torch.sqrt((0.0046 * k * k - (y + 0.100 * k) ** 2).clamp(min=1e-6))
    stripe = (x.abs() - 0.50 * width).abs() - 0.085 * width
    c.paint(inside(torch.maximum(stripe, envelope + 0.003), 1.4) * 0.85, c.object_lit(colour * 0.66))
    ropes = torch.maximum((x.abs() - 0.011 * k).abs() - 0.0018, (y - 0.002 * k).abs() - 0.014 * k)
    c.paint(inside(ropes) * 0.7, c.object_lit((0.35, 0.26, 0.20)))
    c.paint(inside(box(x, y - 0.024 * k, 0.015 * k, 0.011 * k)), c.object_lit((0.55, 0.36, 0.20)))


def windmill(c, x, y, k, colour):
    half = (0.030 * k + (y + 0.125 * k).clamp(min=0) * 0.17)
    tower = torch.maximum(x.abs() - half, (y + 0.062 * k).abs() - 0.062 * k)
    c.paint(inside(tower), c.object_lit(colour))
    c.paint(inside(torch.maximum(tower, -x)) * 0.5, c.object_lit(colour * 0.72))
    c.paint(inside(torch.maximum(circle(x, y + 0.120 * k, 0.032 * k), y + 0.118 * k)),
            c.object_lit((0.40, 0.28, 0.24)))
    c.paint(inside(box(x, y + 0.020 * k, 0.011 * k, 0.021 * k)), c.object_lit((0.33, 0.22, 0.17)))
    a = c.turn
    dx, dy = x, y + 0.128 * k
    ca, sa = torch.cos(a), torch.sin(a)
    u, v = dx * ca + dy * sa, dy * ca - dx * sa
    arm = torch.minimum(box(u, v, 0.098 * k, 0.0032), box(u, v, 0.0032, 0.098 * k))
    c.paint(inside(arm), c.object_lit((0.32, 0.24, 0.20)))
    # A sail along one side of each arm.
    for p, q in ((u, v), (v, -u), (-u, -v), (-v, u)):
        sail = box(p - 0.062 * k, q - 0.013 * k, 0.036 * k, 0.011 * k)
        c.paint(inside(sail), c.object_lit((0.96, 0.93, 0.84)))


OBJECTS = [None, house, boat, castle, tree, balloon, windmill]


def draw_objects(c):
    colour = c.pick(OBJECT_RGB, c.s["colour"])
    count = (c.s["count"] + 1).view(-1, 1, 1).float()
    k = c.rand(1.25, 1.55) * torch.where(count == 1, 1.12, torch.where(count == 2, 0.92, 0.76))
    slots = torch.where(count == 1, c.rand(0.25, 0.75), c.rand(0.0, 0.06))
    c.turn = c.rand(0.2, 1.3)
    for name, paint in zip(scene.OBJECT, OBJECTS):
        if paint is None:
            continue
        on = c.is_("object", name)
        if not bool(on.any()):
            continue
        pick = on.view(-1).nonzero().view(-1)
        sub = subset(c, pick)
        for i in range(3):
            n = count[pick]
            # Apart from each other, from the left to the right.
            x = torch.where(n == 1, slots[pick], (i + 0.5 + sub.rand(-0.16, 0.16)) / n)
            x = x.clamp(0.13, 0.87)
            flying = name == "balloon"
            y = sub.rand(0.26, 0.50) if flying else c.ground[pick] + sub.rand(-0.012, 0.012)
            if flying:  # under the sun rather than over it
                near = sub.body[3] * ((x - sub.body[0]).abs() < 0.2).float()
                y = y + near * (sub.body[1] + 0.32 - y).clamp(min=0)
            gone = (n <= i).view(-1)
            if bool(gone.all()):
                break
            keep = sub.rgb.clone() if bool(gone.any()) else None
            kk = k[pick] * (0.92 if flying else 1.0)
            if not flying and name != "boat":
                shadow = torch.sqrt(((sub.x - x) / (0.085 * kk)) ** 2
                                    + ((sub.y - y) / (0.013 * kk)) ** 2) - 1
                sub.paint(smooth(-shadow, -0.3, 0.5) * 0.30, sub.lit((0.15, 0.15, 0.22)))
            paint(sub, sub.x - x, sub.y - y, kk, colour[pick])
            if keep is not None:
                sub.rgb = torch.where(gone.view(-1, 1, 1, 1), keep, sub.rgb)
        c.rgb[pick] = sub.rgb


# ---------------------------------------------------------------------------- weather, style

def fog(c):
    mist = (c.low * 0.55 + 0.45 * c.light * 0.92).clamp(0, 1)
    band = 0.42 + 0.38 * torch.exp(-((c.y - 0.66) / 0.20) ** 2) + 0.14 * (c.noise(4) - 0.5)
    c.paint(band.clamp(0, 0.86), mist)


def rain(c):
    mask = torch.zeros(c.n, SIZE, SIZE, device=c.device)
    for _ in range(34):
        x, y, h = c.rand(-0.05, 1.05), c.rand(0.0, 1.0), c.rand(0.030, 0.050)
        dx = c.x - x + (c.y - y) * 0.28
        mask = torch.maximum(mask, inside(torch.maximum(dx.abs() - 0.0034,
                                                        (c.y - y).abs() - h), 1.6))
    c.paint(mask * 0.55, (c.low * 0.35 + 0.65 * (c.light * 0.5 + 0.5)).clamp(0, 1))


def snowfall(c):
    mask = torch.zeros(c.n, SIZE, SIZE, device=c.device)
    for _ in range(36):
        x, y, r = c.rand(0, 1), c.rand(0, 1), c.rand(0.006, 0.011)
        mask = torch.maximum(mask, inside(circle(c.x - x, c.y - y, r), 1.8))
    c.paint(mask, c.light * 0.35 + 0.63)


def leaves(c):
    for hue in [(0.86, 0.30, 0.10), (0.93, 0.60, 0.12), (0.70, 0.22, 0.10)]:
        mask = torch.zeros(c.n, SIZE, SIZE, device=c.device)
        for _ in range(5):
            x, y, a = c.rand(0, 1), c.rand(0.30, 0.98), c.rand(0, 3.1)
            dx, dy = c.x - x, c.y - y
            u = dx * torch.cos(a) + dy * torch.sin(a)
            v = dy * torch.cos(a) - dx * torch.sin(a)
            leaf = torch.sqrt((u / 1.9) ** 2 + v * v + 1e-9) - 0.0066
            mask = torch.maximum(mask, inside(leaf, 1.6))
        c.paint(mask, c.object_lit(hue))


WEATHERS = {"fog": fog, "rain": rain, "snow": snowfall, "autumn": leaves}


def blur(x, sigma):
    r = int(3 * sigma + 0.5)
    k = torch.exp(-0.5 * (torch.arange(-r, r + 1, device=x.device) / sigma) ** 2)
    k = (k / k.sum()).view(1, 1, 1, -1).repeat(3, 1, 1, 1)
    x = F.conv2d(F.pad(x, (r, r, 0, 0), mode="replicate"), k, groups=3)
    return F.conv2d(F.pad(x, (0, 0, r, r), mode="replicate"), k.transpose(2, 3), groups=3)


def watercolour(c):
    soft = blur(c.rgb, 1.3)
    edge = (blur(c.rgb, 3.2) - soft).abs().mean(1, keepdim=True)
    wash = (0.80 + 0.26 * c.noise(9) + 0.14 * c.noise(22)).unsqueeze(1)
    pale = 1 - (1 - soft) * 0.82 * wash
    pale = pale * (1 - 1.1 * edge)
    border = torch.minimum(torch.minimum(c.x, 1 - c.x), torch.minimum(c.y, 1 - c.y))
    border = border - 0.030 - 0.035 * (c.noise(12) - 0.5)
    paper = as_colour((0.985, 0.975, 0.95), c.device)
    c.rgb = paper + smooth(border, -0.012, 0.012).unsqueeze(1) * (pale - paper)


def pixel(c):
    small = F.avg_pool2d(c.rgb, 4)
    small = ((small - 0.5) * 1.06 + 0.5).clamp(0, 1)
    small = torch.round(small * 13) / 13
    c.rgb = small.repeat_interleave(4, 2).repeat_interleave(4, 3)


def sketch(c):
    grey = blur(c.rgb, 0.8).mean(1)
    gx = F.pad(grey[:, :, 2:] - grey[:, :, :-2], (1, 1))
    gy = F.pad(grey[:, 2:] - grey[:, :-2], (0, 0, 1, 1))
    ink = smooth(torch.sqrt(gx * gx + gy * gy) / grey.mean((1, 2), keepdim=True), 0.05, 0.22)
    tone = blur(c.rgb, 2.0).mean(1)
    stroke = (torch.sin((c.x + c.y) * (2 * math.pi * 28) + 2.0 * (c.noise(6) - 0.5)) * 0.5 + 0.5)
    mean = tone.mean((1, 2), keepdim=True)
    hatch = smooth(stroke, 0.45, 0.85) * smooth(0.9 - tone / mean, 0.0, 0.45) * 0.30
    paper = as_colour((0.965, 0.945, 0.90), c.device)
    colour = 0.62 * c.rgb + 0.38 * (0.32 + 0.68 * grey.unsqueeze(1)) * paper
    c.rgb = 0.38 * paper + 0.62 * colour
    c.paint(torch.maximum(ink * 0.80, hatch), (0.17, 0.16, 0.20))


STYLES = [None, watercolour, pixel, sketch]


def draw_terrain(s, generator, device):
    c = Canvas(s, generator, device)
    c.ground = c.rand(0.86, 0.91)
    draw_sky(c)
    LAND[int(s["terrain"][0])](c)
    draw_objects(c)
    for name, paint in WEATHERS.items():
        only(c, "weather", name, paint)
    c.rgb = c.rgb.clamp(0, 1)
    return c.rgb


@torch.no_grad()
def draw(s, seed, device):
    """s: scenes (dict of int arrays or tensors [n]). Returns float32 [n, 3, 256, 256]."""
    s = {k: torch.as_tensor(v, device=device) for k, v in s.items()}
    g = torch.Generator(device=device)
    g.manual_seed(int(seed))
    out = torch.empty(len(s["terrain"]), 3, SIZE, SIZE, device=device)
    for terrain in range(len(LAND)):
        pick = (s["terrain"] == terrain).nonzero().view(-1)
        if len(pick):
            out[pick] = draw_terrain({k: v[pick] for k, v in s.items()}, g, device)
    for style in range(1, len(STYLES)):
        pick = (s["style"] == style).nonzero().view(-1)
        if len(pick):
            c = Canvas({k: v[pick] for k, v in s.items()}, g, device)
            c.rgb = out[pick]
            STYLES[style](c)
            out[pick] = c.rgb.clamp(0, 1)
    return out


def sheet(pictures, columns, gap=4):
    """Pictures [n, 3, h, w] in [0, 1] as one uint8 array [H, W, 3]."""
    n, _, h, w = pictures.shape
    rows = (n + columns - 1) // columns
    page = torch.ones(3, rows * (h + gap) - gap, columns * (w + gap) - gap)
    for i, p in enumerate(pictures.float().cpu()):
        y, x = i // columns * (h + gap), i % columns * (w + gap)
        page[:, y:y + h, x:x + w] = p
    return (page * 255 + 0.5).clamp(0, 255).byte().permute(1, 2, 0).numpy()


if __name__ == "__main__":
    from PIL import Image
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    where = "cuda" if torch.cuda.is_available() else "cpu"
    Image.fromarray(sheet(draw(scene.sample(64, seed), seed, where), 8)).save(sys.argv[1])
