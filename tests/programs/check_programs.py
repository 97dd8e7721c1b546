#!/usr/bin/env python3
"""Runs the programs as a user would: good and bad command lines, files, pipes, Ctrl-C."""
import array
import json
import math
import os
import pathlib
import pty
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

TXT2IMG, IMG2IMG, INFO, BENCH, INPAINT = map(os.path.abspath, sys.argv[1:6])
FOLDER = os.environ["SD_TEST_TINY_FOLDER"]
FILE = os.environ["SD_TEST_TINY_FILE"]
EMA = os.environ["SD_TINY_EMA"]
NINE = os.environ["SD_TEST_INPAINT_FOLDER"]
DATA = os.environ["SD_GOLDEN_DATA"]
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
    """An RGB file whose pixel (x, y) is pixel(x, y), three values each."""
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y))
                    for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += struct.pack(">I", len(content)) + kind + content
        data += struct.pack(">I", zlib.crc32(kind + content))
    path.write_bytes(data)


def parameters(path):
    text = dict(c[1].split(b"\0", 1) for c in png_chunks(path) if c[0] == b"tEXt")
    return text[b"parameters"].decode("latin-1")  # as the PNG standard has it


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


class Programs(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.out = pathlib.Path(self.scratch.name) / "a" / "b"

    def tearDown(self):
        self.scratch.cleanup()

    def paint(self, *more, program=TXT2IMG, ckpt=FOLDER):
        return run(program, "--ckpt", ckpt, "--outdir", self.out, *QUICK, *more)

    def test_a_prompt_becomes_a_png_with_its_parameters(self):
        done = self.paint("--prompt", "a red boat", "--negative", "fog", "--seed", "7")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "", "a pipe gets no progress bar")
        path = self.out / "samples" / "00000.png"
        self.assertEqual(done.stdout.split(), [str(path)])
        chunks = png_chunks(path)
        self.assertEqual(struct.unpack(">II", chunks[0][1][:8]), (64, 64))
        text = dict(c[1].split(b"\0", 1) for c in chunks if c[0] == b"tEXt")[b"parameters"].decode()
        lines = text.split("\n")
        self.assertEqual(lines[:2], ["a red boat", "Negative prompt: fog"])
        self.assertRegex(lines[2], "^Steps: 2, Sampler: DDIM, CFG scale: 7.5, Seed: 7, Size: 64x64")

    def test_samplers_are_named_as_the_web_uis_do(self):
        for flags, words in (
            (["--plms"], "Sampler: PLMS, CFG"),
            (["--dpm_solver"], "Sampler: DPM\\+\\+ 2M, CFG"),
            (["--sampler", "dpmpp_2m", "--spacing", "karras"],
             "Sampler: DPM\\+\\+ 2M, Schedule type: Karras, CFG"),
            (["--sampler", "euler_a", "--spacing", "trailing"],
             "Sampler: Euler a, Spacing: trailing, CFG"),
        ):
            done = self.paint(*flags)
            self.assertEqual(done.returncode, 0, done.stderr)
            chunks = png_chunks(done.stdout.strip())
            text = dict(c[1].split(b"\0", 1) for c in chunks if c[0] == b"tEXt")[b"parameters"]
            self.assertRegex(text.decode(), words)
        done = self.paint("--sampler", "elsewhere")
        self.assertEqual(done.returncode, 1)
        self.assertIn("dpmpp_2m_sde unipc lcm", done.stderr)
        done = self.paint("--spacing", "wide")
        self.assertEqual(done.returncode, 2)
        self.assertIn("trailing, karras, leading, exponential or beta was expected", done.stderr)
        done = self.paint("--plms", "--ddim_eta", "0.5")
        self.assertIn('"plms" takes 0 only', done.stderr)

    def test_pictures_are_numbered_on(self):
        for expected in (["00000.png", "00001.png"], ["00002.png", "00003.png"]):
            done = self.paint("--n_iter", "2")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual([pathlib.Path(p).name for p in done.stdout.split()], expected)

    def test_iterations_go_on_with_the_seeds(self):
        self.assertEqual(self.paint("--n_iter", "2", "--seed", "5").returncode, 0)
        self.assertEqual(self.paint("--seed", "6").returncode, 0)
        pixels = [[c for c in png_chunks(self.out / "samples" / f"0000{i}.png") if c[0] == b"IDAT"]
                  for i in range(3)]
        self.assertNotEqual(pixels[0], pixels[1])
        self.assertEqual(pixels[1], pixels[2])

    def test_a_grid_has_all_pictures(self):
        flags = [*SIZE, "--n_samples", "3", "--n_iter", "1", "--n_rows", "2"]
        done = run(TXT2IMG, "--ckpt", FOLDER, "--outdir", self.out, *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        paths = done.stdout.split()
        self.assertEqual([str(pathlib.Path(p).relative_to(self.out)) for p in paths],
                         [f"samples/0000{i}.png" for i in range(3)] + ["grid-0000.png"])
        width, height, grid = png_pixels(paths[3])
        self.assertEqual((width, height), (2 + 2 * 66, 2 + 2 * 66))
        black = bytes(64 * 3)
        cells = [png_pixels(p)[2] for p in paths[:3]] + [[black] * 64]
        for i, cell in enumerate(cells):
            left, top = 2 + i % 2 * 66, 2 + i // 2 * 66
            for y in range(64):
                self.assertEqual(grid[top + y][3 * left:3 * (left + 64)], cell[y], f"cell {i}")
        for y in (0, 1, 66, 67, 132, 133):
            self.assertEqual(grid[y], bytes(3 * width))
        self.assertTrue(all(row[:6] == bytes(6) and row[198:204] == bytes(6) for row in grid))
        self.assertNotEqual(cells[0], cells[1])

    def test_the_grid_alone_and_of_one_picture(self):
        self.assertEqual(self.paint().returncode, 0)
        done = run(TXT2IMG, "--ckpt", FOLDER, "--outdir", self.out, *SIZE, "--n_samples", "1",
                   "--n_iter", "1", "--skip_save")
        self.assertEqual(done.stdout.split(), [str(self.out / "grid-0000.png")], done.stderr)
        self.assertEqual(png_pixels(self.out / "grid-0000.png"),
                         png_pixels(self.out / "samples" / "00000.png"))
        self.assertEqual(len(list((self.out / "samples").iterdir())), 1)

    def test_prompts_come_from_a_file(self):
        prompts = pathlib.Path(self.scratch.name) / "prompts.txt"
        prompts.write_bytes("a red boat\r\na cat\n\na d\u00f6g".encode())
        done = self.paint("--from-file", prompts, "--n_iter", "2", "--seed", "3")
        self.assertEqual(done.returncode, 0, done.stderr)
        paths = done.stdout.split()
        self.assertEqual(len(paths), 8)
        for i, prompt in enumerate(["a red boat", "a cat", "", "a d\u00f6g"] * 2):
            self.assertEqual(parameters(paths[i]).split("\n")[0], prompt)
            self.assertIn(f"Seed: {3 + i},", parameters(paths[i]))
        alone = self.paint("--prompt", "a cat", "--seed", "4")
        self.assertEqual(png_pixels(alone.stdout.strip()), png_pixels(paths[1]))
        prompts.write_bytes(b"")
        self.assertIn("has no lines", self.paint("--from-file", prompts).stderr)

    def test_a_fixed_code_begins_every_iteration(self):
        done = self.paint("--fixed_code", "--n_iter", "2")
        first, second = [png_pixels(p) for p in done.stdout.split()]
        self.assertEqual(first, second)

    def test_original_seeds_are_one_stream(self):
        """DPM-Solver draws x_T alone, so two iterations draw what one of two pictures does; DDIM
        draws in each of its two steps too."""
        def near(a, b):
            return max(abs(x - y) for x, y in zip(b"".join(a), b"".join(b))) <= 1

        def paint(*flags):
            done = self.paint("--original_seeds", *flags)
            self.assertEqual(done.returncode, 0, done.stderr)
            return [png_pixels(p)[2] for p in done.stdout.split()]

        pair = paint("--dpm_solver", "--n_samples", "2")
        self.assertTrue(near(paint("--dpm_solver", "--n_iter", "2")[1], pair[1]))
        self.assertFalse(near(pair[0], pair[1]))
        batch = paint("--n_samples", "5")
        single = paint("--n_iter", "2")
        self.assertTrue(near(single[0], batch[0]))
        self.assertTrue(near(single[1], batch[3]))
        batch = paint("--plms", "--n_samples", "5")
        self.assertTrue(near(paint("--plms", "--n_iter", "2")[1], batch[4]))
        fixed = paint("--fixed_code", "--n_iter", "2")
        self.assertEqual(fixed[0], fixed[1])
        for flags, words in ((["--sampler", "heun"], "--dpm_solver only"),
                             (["--spacing", "quad"], "--spacing uniform only"),
                             (["--from-file", "x"], "--from-file"),
                             (["--fixed_code", "--ddim_eta", "1"], "--fixed_code")):
            done = self.paint("--original_seeds", *flags)
            self.assertEqual(done.returncode, 2)
            self.assertIn(words, done.stderr)

    def test_a_picture_becomes_another(self):
        first = self.paint("--vocab", FOLDER + "/tokenizer", ckpt=FILE)
        self.assertEqual(first.returncode, 0, first.stderr)
        init = self.out / "samples" / "00000.png"
        done = self.paint("--init-img", init, "--strength", "0.5", program=IMG2IMG)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("00001.png", done.stdout)

    def test_original_seeds_of_a_picture(self):
        """One stream: the posterior once, then for each iteration q_sample and its steps."""
        init = pathlib.Path(self.scratch.name) / "init.png"
        write_png(init, 64, 64, lambda x, y: (4 * x, 4 * y, 100))

        def paint(*flags):
            done = run(IMG2IMG, "--ckpt", FOLDER, "--outdir", self.out, "--skip_grid",
                       "--init-img", init, "--original_seeds", "--n_samples", "1", *flags)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.split()

        for rng in ("cpu", "cuda"):
            more = ["--rng", rng, "--ddim_steps", "10", "--strength", "0.3"]
            pair, single = paint("--n_iter", "2", *more), paint("--n_iter", "1", *more)
            fixed = paint("--n_iter", "2", "--fixed_code", *more)
            self.assertIn("Noise: 4 batches on, picture 1 of 1", parameters(pair[1]))
            pixels = [png_pixels(p) for p in [*pair, *single, *fixed]]
            self.assertNotEqual(pixels[0], pixels[1])
            for other in pixels[2:]:
                self.assertEqual(pixels[0], other)
        done = self.paint("--init-img", init, "--original_seeds", "--plms", program=IMG2IMG)
        self.assertEqual(done.returncode, 2)
        self.assertIn("img2img.py has ddim only", done.stderr)

    def test_averaged_weights_are_a_flag(self):
        """The file has the folder's weights as averages, and others as the last ones."""
        vocab = ["--vocab", FOLDER + "/tokenizer", "--precision", "full"]
        folder = self.paint("--precision", "full")
        pictures = [png_pixels(folder.stdout.strip())]
        for flags in (["--use_ema"], ["--no_ema"], []):
            done = self.paint(*vocab, *flags, ckpt=EMA)
            self.assertEqual(done.returncode, 0, done.stderr)
            pictures.append(png_pixels(done.stdout.strip()))
        self.assertEqual(pictures[0], pictures[1])
        self.assertNotEqual(pictures[1], pictures[2])
        self.assertEqual(pictures[2], pictures[3])
        self.assertIn("model_ema", self.paint("--use_ema", *vocab, ckpt=FILE).stderr)
        both = self.paint("--use_ema", "--no_ema", *vocab, ckpt=EMA)
        self.assertEqual(both.returncode, 2)
        self.assertIn("do not go together", both.stderr)

    def test_embeddings_are_words(self):
        cat, lake = DATA + "/cat.safetensors", DATA + "/lake.pt"

        def paint(prompt, *flags):
            done = self.paint("--prompt", prompt, *flags)
            self.assertEqual(done.returncode, 0, done.stderr)
            return png_pixels(done.stdout.strip())

        plain = paint("a cat by a lake")
        by_file = paint("a cat by a lake", "--embedding", cat, "--embedding", lake)
        by_name = paint("a dog by a lake", "--embedding", "dog=" + cat, "--embedding", lake)
        self.assertNotEqual(plain, by_file)
        self.assertEqual(by_file, by_name)
        self.assertIn("/nonexistent", self.paint("--embedding", "x=/nonexistent").stderr)
        self.assertIn("same word", self.paint("--embedding", cat, "--embedding", cat).stderr)
        many = [word for i in range(65) for word in ("--embedding", f"w{i}={cat}")]
        self.assertIn("too often", self.paint(*many).stderr)

    def test_the_vae_in_tiles(self):
        """A picture of one tile is the same; the next larger one is not."""
        init = pathlib.Path(self.scratch.name) / "init.png"
        write_png(init, 576, 64, lambda x, y: (x & 255, 4 * y, 100))
        for size, same in (("512", True), ("576", False)):
            flags = ["--W", size, "--ddim_steps", "1"]
            for program, more in ((TXT2IMG, []), (IMG2IMG, ["--init-img", init])):
                done = [self.paint(*flags, *more, *tiled, program=program)
                        for tiled in ([], ["--tiled"])]
                self.assertEqual([d.returncode for d in done], [0, 0], done[1].stderr)
                plain, tiled = [png_pixels(d.stdout.strip()) for d in done]
                self.assertEqual(plain == tiled, same, f"{program} at {size}")
        peaks = [run(INFO, FOLDER, "--W", "2048", "--H", "2048", *tiled).stdout
                 for tiled in ([], ["--tiled"])]
        self.assertNotEqual(*peaks)

    def test_inpainting_keeps_what_is_not_masked(self):
        init, mask, small = (pathlib.Path(self.scratch.name) / name for name in "imh")
        write_png(init, 64, 64, lambda x, y: (4 * x, 4 * y, 100))
        write_png(mask, 64, 64, lambda x, y: (128 if x >= 21 and y >= 16 else 127,) * 3)
        write_png(small, 32, 64, lambda x, y: (0, 0, 0))
        flags = ["--init-img", init, "--mask-img", mask, "--n_samples", "2", "--prompt", "a cat"]
        before = png_pixels(init)[2]
        for more in ([], ["--strength", "0.5"], ["--sampler", "euler", "--scale", "1"]):
            done = self.paint(*flags, *more, program=INPAINT)
            self.assertEqual(done.returncode, 0, done.stderr)
            after = [png_pixels(p)[2] for p in done.stdout.split()]
            self.assertEqual(len(after), 2)
            self.assertNotEqual(after[0], after[1])
            for picture in after:
                changed = {(x, y) for y in range(64) for x in range(64)
                           if picture[y][3 * x:3 * x + 3] != before[y][3 * x:3 * x + 3]}
                self.assertTrue(all(x >= 21 and y >= 16 for x, y in changed))
                self.assertGreater(len(changed), 0.9 * 43 * 48)
        done = self.paint("--init-img", init, "--mask-img", small, program=INPAINT)
        self.assertEqual(done.returncode, 1)
        self.assertIn("32x64; 64x64 was expected", done.stderr)

    def test_an_inpainting_model_sees_the_mask(self):
        """Also where strength 1 hides what is under it; its kind is said."""
        init, mask = (pathlib.Path(self.scratch.name) / name for name in "im")
        flags = ["--init-img", init, "--mask-img", mask]
        write_png(mask, 64, 64, lambda x, y: (255 if x >= 32 else 0,) * 3)
        pictures = []
        for blue, under in ((0, 0), (0, 9), (255, 0)):
            write_png(init, 64, 64, lambda x, y: (0, 9, blue if x < 32 else under))
            done = self.paint(*flags, program=INPAINT, ckpt=NINE)
            self.assertEqual(done.returncode, 0, done.stderr)
            pictures.append([row[96:] for row in png_pixels(done.stdout.strip())[2]])
            self.assertIn("Inpainting: by the model", parameters(done.stdout.strip()))
        self.assertEqual(pictures[0], pictures[1])
        self.assertNotEqual(pictures[0], pictures[2])
        done = self.paint(ckpt=NINE)
        self.assertEqual(done.returncode, 1)
        self.assertIn("sd_inpaint", done.stderr)

    def test_a_folder_of_pairs(self):
        """scripts/inpaint.py: --indir, --outdir, --steps, and the original's places of its model."""
        root = pathlib.Path(self.scratch.name)
        home, folder = root / "models" / "ldm" / "inpainting_big", root / "pairs"
        folder.mkdir()
        home.mkdir(parents=True)
        write_masked_model(home / "last.ckpt")
        (home / "config.yaml").write_bytes(pathlib.Path(DATA, "ldm", "masked.yaml").read_bytes())
        for name, width in (("b", 48), ("a", 32), ("c_mask", 60)):
            write_png(folder / (name + ".png"), width, 32, lambda x, y: (4 * x, 4 * y, 100))
        for name, width in (("a", 32), ("b", 48)):
            write_png(folder / (name + "_mask.png"), width, 32,
                      lambda x, y: (255 if x >= 9 else 0,) * 3)

        def paint(*more):
            return run(INPAINT, "--indir", "pairs", "--outdir", "out", "--steps", "3", *more,
                       cwd=root)

        done = paint()
        self.assertEqual(done.returncode, 1, "c_mask.png has no picture")
        self.assertIn("pairs/c.png", done.stderr)
        (folder / "c_mask.png").unlink()
        done = paint()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.split(), ["out/a.png", "out/b.png"])
        self.assertEqual(sorted(os.listdir(root / "out")), ["a.png", "b.png"])
        self.assertIn("Seed: 43,", parameters(root / "out" / "b.png"))
        averaged = png_pixels(root / "out" / "b.png")
        self.assertEqual(averaged[:2], (48, 32))
        before = png_pixels(folder / "b.png")[2]
        for y in range(32):
            self.assertEqual(averaged[2][y][:27], before[y][:27])
            self.assertNotEqual(averaged[2][y][27:], before[y][27:])
        for flags, same in ((["--use_ema"], True), (["--no_ema"], False)):
            self.assertEqual(paint(*flags).returncode, 0)
            self.assertEqual(png_pixels(root / "out" / "b.png") == averaged, same, flags)
        done = paint("--n_samples", "2")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--n_samples", done.stderr)
        done = run(INPAINT, "--indir", self.out, "--ckpt", FOLDER, "--outdir", self.out)
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no *_mask.png", done.stderr)

    def test_the_mask_reaches_the_sampler(self):
        """What is kept conditions what is painted."""
        pictures = []
        for name, blue in (("dark", 0), ("blue", 255)):
            init, mask = (pathlib.Path(self.scratch.name) / (name + end) for end in ("", "_mask"))
            write_png(init, 64, 64, lambda x, y: (0, 0, blue if x < 32 else 90))
            write_png(mask, 64, 64, lambda x, y: (255 if x >= 32 else 0,) * 3)
            done = self.paint("--init-img", init, "--mask-img", mask, program=INPAINT)
            self.assertEqual(done.returncode, 0, done.stderr)
            pictures.append([row[96:] for row in png_pixels(done.stdout.strip())[2]])
        self.assertNotEqual(pictures[0], pictures[1])

    def test_errors_are_sentences(self):
        cases = [
            ([TXT2IMG], 2, "--ckpt is missing"),
            ([TXT2IMG, "--nonsense"], 2, "nonsense"),
            ([TXT2IMG, "--ckpt", FOLDER, "--outdir", self.out, "--C", "5"], 2, "have 4 channels"),
            ([TXT2IMG, "--ckpt", FOLDER, "--outdir", self.out, "--f", "16"], 2, "stands for 8"),
            ([TXT2IMG, "--ckpt", FOLDER, "--n_rows", "-1"], 2, "--n_rows at least 0"),
            ([TXT2IMG, "--ckpt", FOLDER, "--from-file", "/nonexistent"], 1, "/nonexistent"),
            ([TXT2IMG, "--seed", "x", "--ckpt", FOLDER], 2, "--seed 'x'"),
            ([TXT2IMG, "--scale", "nan", "--ckpt", FOLDER], 2, "--scale 'nan'"),
            ([TXT2IMG, "stray"], 2, "'stray' was not expected"),
            ([TXT2IMG, "--ckpt", "/nonexistent", "--outdir", self.out], 1, "/nonexistent"),
            ([TXT2IMG, "--ckpt", FILE, "--outdir", self.out], 1, "no CLIP vocabulary"),
            ([TXT2IMG, "--ckpt", FOLDER, "--outdir", "/proc/x"], 1, "/proc/x"),
            ([TXT2IMG, "--ckpt", FOLDER, "--outdir", self.out, "--W", "65"], 1, "width is 65"),
            ([TXT2IMG, "--ckpt", FOLDER, "--outdir", self.out, "--backend", "no"], 1, "libsd-no.so"),
            ([TXT2IMG, "--ckpt", FOLDER, "--outdir", self.out, "--precision", "half"], 2, "half"),
            ([IMG2IMG, "--ckpt", FOLDER, "--outdir", self.out], 2, "--init-img is missing"),
            ([IMG2IMG, "--ckpt", FOLDER, "--outdir", self.out, "--init-img", __file__], 1, __file__),
            ([INPAINT, "--ckpt", FOLDER, "--init-img", "x.png"], 2, "--mask-img is missing"),
            ([INPAINT, "--ckpt", FOLDER, "--mask-img", "x.png"], 2, "--init-img is missing"),
            ([INFO], 2, "one checkpoint"),
            ([INFO, "/nonexistent"], 1, "/nonexistent"),
            ([BENCH, FOLDER, "--runs", "0"], 2, "1 to"),
        ]
        for command, code, words in cases:
            done = run(*command)
            self.assertEqual(done.returncode, code, f"{command}: {done.stderr}")
            self.assertIn(words, done.stderr)
            self.assertEqual(done.stdout, "")

    def test_help_lists_every_flag(self):
        for program in (TXT2IMG, IMG2IMG, INFO, BENCH, INPAINT):
            done = run(program, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertIn("usage: sd-", done.stdout)
            self.assertIn("--backend", done.stdout)
        for program in (TXT2IMG, IMG2IMG, INPAINT):
            for flag in ("use_ema", "no_ema", "embedding", "tiled"):
                self.assertRegex(run(program, "--help").stdout, f"(?m)^  --{flag} ")
        flags = ("prompt outdir skip_grid skip_save ddim_steps plms fixed_code ddim_eta n_iter H W C "
                 "f n_samples n_rows scale from-file config ckpt seed precision").split()
        for program, own in ((TXT2IMG, ["laion400m", "dpm_solver"]),
                             (IMG2IMG, ["init-img", "strength"])):
            text = run(program, "--help").stdout
            for flag in flags + own:
                self.assertRegex(text, f"(?m)^  --{flag} ")
            self.assertIn("safety", text)
            self.assertIn("watermark are absent", text)

    def test_laion400m_stands_for_three_flags(self):
        done = run(TXT2IMG, "--laion400m", "--ckpt", FOLDER, cwd=self.scratch.name)
        self.assertEqual(done.returncode, 1)
        self.assertIn("models/ldm/text2img-large/model.ckpt", done.stderr)
        made = pathlib.Path(self.scratch.name) / "outputs" / "txt2img-samples-laion400m"
        self.assertTrue((made / "samples").is_dir())

    def test_a_folder_says_how_to_sample(self):
        """Its scheduler is what neither --sampler nor --spacing names; its pipeline has the steps
        and the scale."""
        folder = pathlib.Path(self.scratch.name) / "turbo"
        shutil.copytree(FOLDER, folder)
        path = folder / "scheduler" / "scheduler_config.json"
        config = json.loads(path.read_text())
        config.update(_class_name="EulerDiscreteScheduler", timestep_spacing="trailing")
        path.write_text(json.dumps(config))

        def pictures(*flags):
            done = self.paint("--ckpt", folder, *flags)
            self.assertEqual(done.returncode, 0, done.stderr)
            return parameters(done.stdout.strip()), png_pixels(done.stdout.strip()), done.stderr

        text, pixels, _ = pictures()
        self.assertIn("Sampler: Euler, Spacing: trailing, CFG scale: 7.5", text)
        self.assertEqual(pictures("--sampler", "euler", "--spacing", "trailing")[1], pixels)
        text, other, said = pictures("--sampler", "ddim", "--spacing", "uniform", "--scale", "0")
        self.assertIn("Sampler: DDIM, CFG scale: 0", text)
        self.assertIn("the prompt has no effect", said)
        self.assertNotEqual(other, pixels)
        self.assertIn("Sampler: PLMS, CFG", pictures("--plms")[0])
        index = json.loads((folder / "model_index.json").read_text())
        index["_class_name"] = "LatentConsistencyModelPipeline"
        (folder / "model_index.json").write_text(json.dumps(index))
        text = pictures("--ddim_steps", "0")[0]
        self.assertIn("Steps: 4, Sampler: Euler, Spacing: trailing, CFG scale: 8.5", text)

    def test_info_tells_and_lists(self):
        done = run(INFO, FOLDER)
        self.assertEqual(done.returncode, 0, done.stderr)
        for word in ("family:", "parameters:", "memory:", "peak",
                     "sampling:    ddim, leading spacing, 50 steps, guidance 7.5 by default"):
            self.assertIn(word, done.stdout)
        rows = [line.split("\t") for line in run(INFO, FILE, "--tensors").stdout.splitlines()]
        self.assertGreater(len(rows), 300)
        self.assertTrue(all(len(row) == 3 for row in rows))

    def test_bench_reports_ratios(self):
        done = run(BENCH, FOLDER, "--runs", "1", "--W", "64", "--H", "64", "--threads", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        for word in ("FMA peak", "text", "guided step", "VAE encode", "VAE decode"):
            self.assertIn(word, done.stdout)
        done = run(BENCH, NINE, "--runs", "1", "--W", "64", "--H", "64", "--threads", "1")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_terminal_gets_a_bar_and_ctrl_c_ends_the_run(self):
        try:
            pid, terminal = pty.fork()
        except OSError as error:
            self.skipTest(f"no terminal to be had here: {error}")
        if pid == 0:
            os.execv(TXT2IMG, [TXT2IMG, "--ckpt", FOLDER, "--outdir", str(self.out),
                               "--ddim_steps", "1000", "--n_samples", "1", "--W", "64", "--H", "64"])
        shown, deadline = b"", time.time() + 120
        while b"sampling [" not in shown or b"2/" not in shown:
            self.assertLess(time.time(), deadline, shown)
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536)
        os.kill(pid, signal.SIGINT)
        try:
            while True:
                shown += os.read(terminal, 65536)
        except OSError:
            pass  # the terminal's other end is closed
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 130, shown[-500:])
        self.assertIn(b"cancelled", shown)
        self.assertEqual(list((self.out / "samples").iterdir()), [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
