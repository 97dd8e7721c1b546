"""Draws landscapes: scenes (scene.py) in, pictures [n, 3, 256, 256] in [0, 1] out.

Everything is a signed distance or a height profile with edges one pixel soft, for a whole batch at
once. The same scenes and seed give the same pictures on the same kind of device.
    python draw.py sheet.png     draws 64 random scenes
"""
import math
import sys

import torch
import torch.nn.functional as F

import land
import objects
import scene
from canvas import SIZE, Canvas, as_colour, circle, inside, only, smooth


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
    land.draw_sky(c)
    land.LAND[int(s["terrain"][0])](c)
    objects.draw_objects(c)
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
    for terrain in range(len(land.LAND)):
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
