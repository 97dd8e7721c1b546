"""The things in a landscape: houses, boats, castles, trees, balloons, windmills."""
import torch

import scene
from canvas import as_colour, box, circle, inside, smooth, subset, triangle

OBJECT_RGB = [(0.84, 0.14, 0.12), (0.16, 0.35, 0.85), (0.97, 0.80, 0.15), (0.96, 0.96, 0.94),
              (0.16, 0.62, 0.25)]


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
    sail = torch.maximum(triangle(x - 0.004 * k, y + 0.042 * k, 0.068 * k, 0.13 * k),
                         -x + 0.003 * k)
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
    c.paint(inside(torch.maximum(stripe, envelope + 0.003), 1.4) * 0.85,
            c.object_lit(colour * 0.66))
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
