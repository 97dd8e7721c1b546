#!/usr/bin/env python3
"""Writes tests/unit/data/: small PNG and JPEG files with the RGB bytes that PIL reads from them and
turns upright (exif_transpose), RGBA of those with transparency, and the results of PIL's LANCZOS
resizing. Where PIL clips (16-bit grey) or compares unlike values (tRNS below 8 bits), the expected
bytes are the PNG specification's: the higher 8 bits, and transparency of the sample itself. Run again only to change the fixtures; the tests read
the committed files and need no Python. Made with Pillow 13.0.0.

    python3 tests/tools/make_image_fixtures.py tests/unit/data
"""
import io
import random
import struct
import sys
import zlib
from pathlib import Path

from PIL import Image, ImageOps

W, H = 13, 7
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack_row(values, depth):
    bits = "".join(format(v, "0%db" % depth) for v in values)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def png(kind, depth, samples, extra=b"", interlaced=False):
    """samples[y][x] is a tuple of channel values."""
    raw = b""
    for x0, y0, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        for y in range(y0, H, dy):
            row = [v for x in range(x0, W, dx) for v in samples[y][x]]
            if row:
                raw += b"\0" + pack_row(row, depth)
    header = struct.pack(">IIBBBBB", W, H, depth, kind, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw, 9))
            + chunk(b"IEND", b""))


def samples(kind, depth, rng):
    top = (1 << depth) - 1
    return [[tuple(rng.randint(0, top) for _ in range(CHANNELS[kind])) for _ in range(W)] for _ in range(H)]


def write_raw(folder, name, size, data):
    (folder / name).write_bytes(struct.pack("<II", *size) + bytes(data))


def write(folder, name, data, pixels=None):
    """`pixels`: the expected bytes, where PIL's are not."""
    (folder / name).write_bytes(data)
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    write_raw(folder, name.rsplit(".", 1)[0] + ".rgb", image.size, pixels or image.tobytes())


def spread(samples, depth):
    """Grey samples of one to 16 bits as RGB bytes."""
    top = (1 << depth) - 1
    return [v for row in samples for (s,) in row for v in [s >> 8 if depth == 16 else 255 * s // top] * 3]


def write_grey_with_key(folder, name, s, depth, key, interlaced=False):
    """A tRNS chunk makes samples that equal `key` transparent."""
    trns = chunk(b"tRNS", struct.pack(">H", key))
    rgb = spread(s, depth)
    write(folder, name, png(GREY, depth, s, trns, interlaced), bytes(rgb))
    alpha = [0 if v == key else 255 for row in s for (v,) in row]
    rgba = [v for i, a in enumerate(alpha) for v in (*rgb[3 * i : 3 * i + 3], a)]
    write_raw(folder, name.rsplit(".", 1)[0] + ".rgba", (W, H), rgba)


def write_rgba(folder, name):
    """PIL's RGBA of a file that is there."""
    image = Image.open(folder / name).convert("RGBA")
    write_raw(folder, name.rsplit(".", 1)[0] + ".rgba", image.size, image.tobytes())


def exif(order, orientation, kind=3):
    """A TIFF header and a first directory of two tags, the orientation the second."""
    little = order == "<"
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *([orientation, 0] if kind == 3 else [orientation]))
    return ((b"II" if little else b"MM") + struct.pack(order + "HIH", 42, 8, 2)
            + struct.pack(order + "HHI", 0x0100, 4, 1) + struct.pack(order + "I", 7)
            + struct.pack(order + "HHI", 0x0112, kind, 1) + value + bytes(4))


def make_png(folder, rng):
    palette = chunk(b"PLTE", bytes(rng.randint(0, 255) for _ in range(3 * 256)))
    for kind, depths in ((GREY, (1, 2, 4, 8, 16)), (RGB, (8, 16)), (PALETTE, (1, 2, 4, 8)),
                         (GREY_ALPHA, (8, 16)), (RGBA, (8, 16))):
        word = {GREY: "grey", RGB: "rgb", PALETTE: "palette", GREY_ALPHA: "greyalpha", RGBA: "rgba"}[kind]
        for depth in depths:
            extra = b""
            if kind == PALETTE:
                extra = chunk(b"PLTE", palette[8 : 8 + 3 * (1 << depth)])
            s = samples(kind, depth, rng)
            pixels = bytes(spread(s, 16)) if (kind, depth) == (GREY, 16) else None
            write(folder, "%s%d.png" % (word, depth), png(kind, depth, s, extra), pixels)
    s = samples(PALETTE, 8, rng)
    trns = chunk(b"tRNS", bytes(rng.randint(0, 255) for _ in range(256)))
    write(folder, "palette8-trns.png", png(PALETTE, 8, s, palette + trns, interlaced=True))
    s = samples(RGB, 8, rng)
    trns = chunk(b"tRNS", struct.pack(">HHH", *s[0][0]))
    gamma = chunk(b"gAMA", struct.pack(">I", 100000))
    write(folder, "rgb8-trns-gamma.png", png(RGB, 8, s, gamma + trns))
    write(folder, "rgb8-interlaced.png", png(RGB, 8, s, interlaced=True))
    s = samples(GREY, 16, rng)
    write(folder, "grey16-interlaced.png", png(GREY, 16, s, interlaced=True), bytes(spread(s, 16)))
    s = samples(GREY, 2, rng)
    write_grey_with_key(folder, "grey2-trns.png", s, 2, 1)


def make_transparent(folder, rng):
    for depth in (1, 4, 8, 16):
        s = samples(GREY, depth, rng)
        write_grey_with_key(folder, "grey%d-trns.png" % depth, s, depth, s[3][4][0], depth == 4)
    # the samples that differ from the key in their lower byte alone are not transparent
    s = [[(0x1200 + x * (y % 2),) for x in range(W)] for y in range(H)]
    write_grey_with_key(folder, "grey16-near.png", s, 16, 0x1200)
    for name in ("greyalpha8", "greyalpha16", "palette8-trns", "rgb8-trns-gamma", "rgba8", "rgba16"):
        write_rgba(folder, name + ".png")


def make_upright(folder, rng):
    """Every orientation, in both byte orders and types, before and behind the pixels."""
    s = samples(RGB, 8, rng)
    for o in range(1, 9):
        tag = chunk(b"eXIf", exif("<>"[o % 2], o, 3 + o // 2 % 2))
        data = png(RGB, 8, s, tag if o < 5 else b"", interlaced=o == 3)
        if o >= 5:
            end = data.rindex(b"IEND") - 4
            data = data[:end] + tag + data[end:]
        write(folder, "upright-%d.png" % o, data)
    out = io.BytesIO()
    picture("RGB", 21, 10, rng).save(out, "JPEG", quality=85)
    jpeg = out.getvalue()
    for o in range(1, 9):
        body = b"Exif\0\0" + exif("><"[o % 2], o)
        xmp = b"http://ns.adobe.com/xap/1.0/\0<x/>"
        app1 = b"".join(b"\xff\xe1" + struct.pack(">H", len(b) + 2) + b for b in ((xmp, body) if o % 3 else (body, xmp)))
        write(folder, "held-%d.jpg" % o, jpeg[:2] + app1 + jpeg[2:])


def picture(mode, w, h, rng):
    """Smooth with edges and noise, so that JPEG and resampling have something to do."""
    n = len(mode)
    data = bytearray()
    for y in range(h):
        for x in range(w):
            for c in range(n):
                v = 255 * x // w if c % 2 == 0 else 255 * y // h
                v = 255 - v if (x // 6 + y // 5 + c) % 3 == 0 else v
                data.append(max(0, min(255, v + rng.randint(-20, 20))))
    return Image.frombytes(mode if n > 1 else "L", (w, h), bytes(data))


def make_jpeg(folder, rng):
    def save(name, image, **options):
        out = io.BytesIO()
        image.save(out, "JPEG", **options)
        write(folder, name + ".jpg", out.getvalue())

    rgb = picture("RGB", 37, 21, rng)
    save("jpeg-grey", picture("L", 37, 21, rng), quality=90)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        save("jpeg-" + subsampling.replace(":", ""), rgb, quality=85, subsampling=subsampling)
    save("jpeg-progressive", rgb, quality=85, progressive=True)
    save("jpeg-rgb", rgb, quality=85, keep_rgb=True)
    save("jpeg-cmyk", picture("CMYK", 37, 21, rng), quality=85)
    held = Image.Exif()
    held[0x112] = 6  # on its side
    save("jpeg-exif", rgb, quality=85, exif=held, restart_marker_blocks=2)


def make_lanczos(folder, rng):
    for mode, sizes in (("L", ((17, 40), (64, 29), (1, 1))),
                        ("RGB", ((16, 16), (37, 12), (80, 50), (5, 29), (36, 28), (1, 90))),
                        ("RGBA", ((21, 9), (50, 47)))):
        image = picture(mode, 37, 29, rng)
        if mode == "RGBA":  # some pixels wholly transparent, some wholly opaque
            alpha = image.getchannel("A").point(lambda v: 0 if v < 60 else 255 if v > 190 else v)
            image.putalpha(alpha)
        stem = "lanczos-" + mode.lower()
        (folder / (stem + ".in")).write_bytes(struct.pack("<II", *image.size) + image.tobytes())
        for w, h in sizes:
            out = image.resize((w, h), Image.Resampling.LANCZOS)
            name = "%s-%dx%d.out" % (stem, w, h)
            (folder / name).write_bytes(struct.pack("<II", w, h) + out.tobytes())


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    make_png(folder, random.Random(1))
    make_jpeg(folder, random.Random(2))
    make_lanczos(folder, random.Random(3))
    make_transparent(folder, random.Random(4))
    make_upright(folder, random.Random(5))


main()
