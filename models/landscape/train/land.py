"""The sky with its sun or moon, and the eight terrains."""
import torch
import torch.nn.functional as F

from canvas import PX, SIZE, SKY_LOW, as_colour, below, circle, inside, only, smooth

# By time of day: the sky at the top and in the middle.
SKY_TOP = [(0.50, 0.62, 0.90), (0.25, 0.55, 0.92), (0.20, 0.13, 0.40), (0.03, 0.05, 0.17)]
SKY_MID = [(0.98, 0.78, 0.80), (0.52, 0.76, 0.97), (0.72, 0.25, 0.45), (0.07, 0.10, 0.28)]
BODY_RGB = [(0.90, 0.13, 0.10), (1.00, 0.52, 0.08), (1.00, 0.87, 0.22), (1.00, 0.99, 0.95)]
RAINBOW = [(0.90, 0.20, 0.20), (0.98, 0.60, 0.15), (0.99, 0.92, 0.30), (0.30, 0.78, 0.35),
           (0.25, 0.50, 0.92), (0.55, 0.30, 0.80)]


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
