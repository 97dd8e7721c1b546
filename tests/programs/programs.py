"""What the programs' tests share: the programs, models, and PNG files without a library."""
import array
import json
import math
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

TXT2IMG, IMG2IMG, INFO, BENCH, INPAINT = map(os.path.abspath, sys.argv[1:6])
FOLDER = os.environ["SD_TEST_TINY_FOLDER"]
FILE = os.environ["SD_TEST_TINY_FILE"]
EMA = os.environ["SD_TINY_EMA"]
NINE = os.environ["SD_TEST_INPAINT_FOLDER"]
DATA = os.environ["SD_GOLDEN_DATA"]
XL = pathlib.Path(os.environ["SD_XL_MODELS"])
SIZE = ["--ddim_steps", "2", "--W", "64", "--H", "64"]
QUICK = [*SIZE, "--n_iter", "1", "--n_samples", "1", "--skip_grid"]


def run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=240,
                          **options)


def png_chunks(path):
    data = pathlib.Path(path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    at, chunks = 8, []
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        chunks.append((kind, data[at + 8:at + 8 + size]))
        at += 12 + size
    return chunks


def png_pixels(path):
    """(width, height, rows of bytes) of an 8-bit RGB file without interlacing."""
    chunks = png_chunks(path)
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, colour, interlace) == (8, 2, 0), path
    data = zlib.decompress(b"".join(c[1] for c in chunks if c[0] == b"IDAT"))
    line, above, rows = 3 * width, bytes(3 * width), []
    for y in range(height):
        kind, row = data[y * (line + 1)], bytearray(data[y * (line + 1) + 1:(y + 1) * (line + 1)])
        for x in range(line):
            a, b, c = (row[x - 3], above[x], above[x - 3]) if x > 2 else (0, above[x], 0)
            near = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            row[x] = (row[x] + (0, a, b, (a + b) // 2, near)[kind]) & 255
        rows.append(bytes(row))
        above = row
    return width, height, rows


def write_png(path, width, height, pixel):
    """A file whose pixel (x, y) is pixel(x, y): three values, RGB, or four, RGBA."""
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y))
                    for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 6 if len(pixel(0, 0)) == 4 else 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += struct.pack(">I", len(content)) + kind + content
        data += struct.pack(">I", zlib.crc32(kind + content))
    path.write_bytes(data)


def parameters(path):
    text = dict(c[1].split(b"\0", 1) for c in png_chunks(path) if c[0] == b"tEXt")
    return text[b"parameters"].decode("latin-1")  # as the PNG standard has it


def rename_tensors(source, target, rename, keep=lambda name: True):
    """A copy of a .safetensors file; rename(name) gives the names of each of its tensors."""
    data = pathlib.Path(source).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, out, body = json.loads(data[8:8 + size]), {}, bytearray()
    out["__metadata__"] = header.pop("__metadata__", {})
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        for other in rename(name) if keep(name) else ():
            offsets = [len(body), len(body) + end - begin]
            body += data[8 + size + begin:8 + size + end]
            out[other] = {**entry, "data_offsets": offsets}
    text = json.dumps(out).encode()
    target.write_bytes(struct.pack("<Q", len(text)) + text + body)


UNET = "model.diffusion_model."


def write_masked_model(path):
    """A checkpoint of tests/golden/data/ldm/masked.yaml, with averaged weights of the UNet."""
    values, header, data = random.Random(1), {}, array.array("f")
    for line in pathlib.Path(DATA, "ldm", "masked.tsv").read_text(encoding="ascii").splitlines():
        name, kind, shape = line.split("\t")
        dims = [int(n) for n in shape.split(",")]
        size = math.prod(dims)
        spread = math.sqrt(3 * dims[0] / size) if kind == "0" else 0.1
        names = [name]
        if name.startswith("model."):
            names.append("model_ema." + name[len("model."):].replace(".", ""))
        for key in names:
            begin = 4 * len(data)
            data.extend(values.uniform(-spread, spread) + (kind == "2") for _ in range(size))
            header[key] = {"dtype": "F32", "shape": dims, "data_offsets": [begin, 4 * len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data.tobytes())


class ProgramsCase(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.out = pathlib.Path(self.scratch.name) / "a" / "b"

    def tearDown(self):
        self.scratch.cleanup()

    def paint(self, *more, program=TXT2IMG, ckpt=FOLDER):
        return run(program, "--ckpt", ckpt, "--outdir", self.out, *QUICK, *more)
