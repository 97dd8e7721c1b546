#!/usr/bin/env python3
"""Runs the programs as a user would: good and bad command lines, files, pipes, Ctrl-C."""
import array
import json
import math
import os
import pathlib
import pty
import random
import re
import resource
import select
import shutil
import signal
import shutil
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
    header, out, body = json.loads(data[8:8 + size]), {}, b""
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
            (["--dpm_solver"], "Sampler: DPM-Solver, CFG"),
            (["--dpm"], "Sampler: DPM-Solver, CFG"),
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
        self.assertIn("dpmpp_2m_sde unipc lcm dpm_solver", done.stderr)
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

    def test_no_picture_is_written_over(self):
        """Gaps, names past 99999, a link and a folder that have a number; grids too."""
        samples = self.out / "samples"
        samples.mkdir(parents=True)
        for name in ("00000.png", "00003.png"):
            (samples / name).write_text("keep")
        (samples / "00005.png").symlink_to("nowhere")
        (samples / "00006.png").mkdir()
        done = run(TXT2IMG, "--ckpt", FOLDER, "--outdir", self.out, *SIZE, "--n_samples", "3",
                   "--n_iter", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        names = [pathlib.Path(p).name for p in done.stdout.split()]
        self.assertEqual(names, ["00004.png", "00007.png", "00008.png", "grid-0000.png"])
        self.assertEqual((samples / "00003.png").read_text(), "keep")
        for name in ("grid-0001.png", "grid-0003.png"):
            (self.out / name).write_text("keep")
        for expected in ("grid-0004.png", "grid-0005.png"):
            done = run(TXT2IMG, "--ckpt", FOLDER, "--outdir", self.out, *SIZE, "--n_samples", "1",
                       "--n_iter", "1", "--skip_save")
            self.assertEqual(done.stdout.split(), [str(self.out / expected)], done.stderr)
        self.assertEqual((self.out / "grid-0003.png").read_text(), "keep")
        for path in samples.iterdir():
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        for i in range(99999, 100002):
            (samples / f"{i}.png").write_text("keep")
        for i in range(3, 99999):  # three files of many names: quick to make
            os.link(samples / f"{99999 + i % 3}.png", samples / f"{i:05d}.png")
        done = self.paint()
        self.assertEqual(done.stdout.split(), [str(samples / "100002.png")], done.stderr)
        self.assertFalse([p for p in samples.iterdir() if p.name.startswith(".")])

    def test_programs_at_once_share_a_folder(self):
        command = [TXT2IMG, "--ckpt", FOLDER, "--outdir", self.out, "--ddim_steps", "1", "--W", "64",
                   "--H", "64", "--n_samples", "2", "--n_iter", "4", "--threads", "1"]
        running = [subprocess.Popen([*map(str, command), "--seed", str(100 * i)], text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                   for i in range(3)]
        printed = []
        for i, program in enumerate(running):
            out, errors = program.communicate(timeout=240)
            self.assertEqual(program.returncode, 0, errors)
            paths = out.split()
            self.assertEqual(len(paths), 9)
            printed += paths
            for k, path in enumerate(paths[:8]):
                self.assertIn(f"Seed: {100 * i + k},", parameters(path), "what is printed is there")
        self.assertEqual(len(set(printed)), 27)
        found = [str(p) for p in self.out.rglob("*") if p.is_file()]
        self.assertEqual(sorted(found), sorted(printed))

    def test_a_write_that_fails_leaves_nothing(self):
        """A full disk's stand-ins: a limit on files, and a standard output that takes nothing."""
        def limited():
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

        done = subprocess.run([TXT2IMG, "--ckpt", FOLDER, "--outdir", self.out, *QUICK],
                              capture_output=True, text=True, preexec_fn=limited, timeout=240)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("00000.png: cannot write", done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(list((self.out / "samples").iterdir()), [])
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([TXT2IMG, "--ckpt", FOLDER, "--outdir", self.out, *QUICK],
                                  stdout=full, stderr=subprocess.PIPE, text=True, timeout=240)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot write to the standard output", done.stderr)
        self.assertEqual(len(list((self.out / "samples").iterdir())), 1)

    def test_folders_that_cannot_be_written_are_said_first(self):
        samples = self.out / "samples"
        self.out.mkdir(parents=True)
        samples.write_text("a file")
        done = self.paint()
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{samples}: Not a directory", done.stderr)
        samples.unlink()
        samples.mkdir()
        samples.chmod(0o555)
        done = self.paint()
        samples.chmod(0o755)
        if os.geteuid() == 0:
            self.assertEqual(done.returncode, 0, "root may write anywhere")
        else:
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"cannot write to {samples}", done.stderr)

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
                             (["--fixed_code", "--ddim_eta", "1"], "--fixed_code")):
            done = self.paint("--original_seeds", *flags)
            self.assertEqual(done.returncode, 2)
            self.assertIn(words, done.stderr)

    def test_original_seeds_of_a_file(self):
        """The original takes n_samples lines at a time: each of them has the noise of its place."""
        def near(a, b):
            return max(abs(x - y) for x, y in zip(b"".join(a), b"".join(b))) <= 1

        init = pathlib.Path(self.scratch.name) / "init.png"
        write_png(init, 64, 64, lambda x, y: (4 * x, 4 * y, 100))
        prompts = pathlib.Path(self.scratch.name) / "prompts.txt"
        lines = ["a red boat", "a cat", "a lake by night"]
        prompts.write_text("\n".join(lines))
        for program, more in ((TXT2IMG, ["--W", "64", "--H", "64", "--ddim_steps", "2"]),
                              (IMG2IMG, ["--init-img", init, "--strength", "0.5", "--ddim_steps",
                                         "4"])):
            def paint(*flags):
                done = run(program, "--ckpt", FOLDER, "--outdir", self.out, "--original_seeds",
                           "--n_samples", "2", "--n_iter", "2", *more, *flags)
                self.assertEqual(done.returncode, 0, done.stderr)
                return done.stdout.split()

            paths = paint("--from-file", prompts)
            self.assertEqual(len(paths), 7, "two iterations of three lines, and the grid")
            texts = [parameters(path) for path in paths[:-1]]
            self.assertEqual([text.split("\n")[0] for text in texts], lines * 2)
            self.assertIn("picture 2 of 2", texts[1])
            pixels = [png_pixels(path)[2] for path in paths[:-1]]
            for k, prompt in enumerate(lines):
                alone = [png_pixels(path)[2] for path in paint("--prompt", prompt)[:-1]]
                self.assertTrue(near(pixels[k], alone[k]), f"{program} {k}")
            self.assertFalse(near(pixels[0], pixels[3]))
            fixed = [png_pixels(path)[2] for path in
                     paint("--from-file", prompts, "--fixed_code", "--skip_grid")]
            self.assertTrue(near(fixed[1], pixels[1]))
            self.assertEqual(fixed[:3], fixed[3:])

    def test_a_random_seed_is_told(self):
        init, mask = (pathlib.Path(self.scratch.name) / name for name in "im")
        write_png(init, 64, 64, lambda x, y: (4 * x, 4 * y, 100))
        write_png(mask, 64, 64, lambda x, y: (255,) * 3)
        seeds = set()
        for program, more in ((TXT2IMG, []), (TXT2IMG, ["--original_seeds"]),
                              (IMG2IMG, ["--init-img", init, "--strength", "0.5"]),
                              (INPAINT, ["--init-img", init, "--mask-img", mask])):
            done = self.paint("--seed", "-1", "--n_samples", "2", *more, program=program)
            self.assertEqual(done.returncode, 0, done.stderr)
            seed = re.search("(?m)^seed: ([0-9]+)$", done.stderr).group(1)
            seeds.add(int(seed))
            paths = done.stdout.split()
            self.assertIn(f"Seed: {seed},", parameters(paths[0]))
            again = self.paint("--seed", seed, "--n_samples", "2", *more, program=program)
            for a, b in zip(paths, again.stdout.split()):
                self.assertEqual(png_pixels(a), png_pixels(b))
        self.assertEqual(len(seeds), 4)
        self.assertTrue(all(seed < 2**32 for seed in seeds))
        self.assertIn("--seed '-2'", self.paint("--seed", "-2").stderr)

    def test_prompt_files_of_other_editors(self):
        """Byte order marks and every end of a line that Python's splitlines knows."""
        prompts = pathlib.Path(self.scratch.name) / "prompts.txt"
        for data in (b"\xef\xbb\xbfa red boat\r\n\r\na cat\r\n", b"a red boat\r\ra cat\r",
                     b"a red boat\n\na cat", "a red boat\u2028\u0085a cat\x1e".encode(),
                     b"\xef\xbb\xbfa red boat\v\fa cat\n"):
            self.assertEqual(data.decode("utf-8-sig").splitlines(), ["a red boat", "", "a cat"])
            prompts.write_bytes(data)
            done = self.paint("--from-file", prompts, "--ddim_steps", "1")
            self.assertEqual(done.returncode, 0, done.stderr)
            found = [parameters(path).split("\n")[0] for path in done.stdout.split()]
            self.assertEqual(found, ["a red boat", "", "a cat"], data)
        for codec in ("utf-16", "utf-16-le", "utf-16-be"):
            prompts.write_bytes("a red boat\na cat\n".encode(codec))
            done = self.paint("--from-file", prompts)
            self.assertEqual(done.returncode, 1)
            self.assertIn("UTF-8", done.stderr)

    def test_values_of_parameters_are_quoted(self):
        """As the popular web UIs read them: their expressions, and json for what is in quotes."""
        scratch = pathlib.Path(self.scratch.name)
        pair = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
        for name in ("my, model: v1", "plain-v1.5", 'a "b" c', '"quoted"', "two\nlines", "a,b\\c\td\x01",
                     "\u00e4, \u732b", "Steps: 5"):
            path = scratch / (name + ".safetensors")
            os.link(FILE, path) if os.stat(FILE).st_dev == os.stat(scratch).st_dev else \
                path.symlink_to(FILE)
            done = self.paint("--vocab", FOLDER + "/tokenizer", "--ddim_steps", "1", ckpt=path)
            self.assertEqual(done.returncode, 0, done.stderr)
            chunks = [c for c in png_chunks(done.stdout.strip()) if c[0] in (b"tEXt", b"iTXt")]
            kind, data = chunks[0]
            text = data[15:].decode("utf-8") if kind == b"iTXt" else data[11:].decode("latin-1")
            found = {}
            for key, value in pair.findall(text.split("\n")[-1]):
                found[key] = json.loads(value, strict=False) if value[:1] == '"' else value
            self.assertEqual(found["Model"], name)
            self.assertEqual(found["Eta"], "0")
            self.assertNotIn("model", found)
        self.assertIn("Model: plain-v1.5,", parameters(self.out / "samples" / "00001.png"))
        self.assertIn('Model: "my, model: v1",', parameters(self.out / "samples" / "00000.png"))
        folder = scratch / "v1.5"
        folder.symlink_to(FOLDER)
        done = self.paint("--ddim_steps", "1", ckpt=f"{folder}//")
        self.assertIn("Model: v1.5,", parameters(done.stdout.strip()))

    def test_a_picture_becomes_another(self):
        first = self.paint("--vocab", FOLDER + "/tokenizer", ckpt=FILE)
        self.assertEqual(first.returncode, 0, first.stderr)
        init = self.out / "samples" / "00000.png"
        done = self.paint("--init-img", init, "--strength", "0.5", program=IMG2IMG)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("00001.png", done.stdout)

    def test_low_strengths_of_a_picture(self):
        """As the original, with a warning, or noised to the first step alone. Strength is Python's
        number, and without a step index 0 is noised to, under either rule."""
        init = pathlib.Path(self.scratch.name) / "init.png"
        write_png(init, 64, 64, lambda x, y: (4 * x, 4 * y, 100))

        def paint(*flags):
            done = run(IMG2IMG, "--ckpt", FOLDER, "--outdir", self.out, "--skip_grid",
                       "--init-img", init, "--n_samples", "1", "--precision", "full", *flags)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.strip(), done.stderr

        low = ["--ddim_steps", "20", "--strength", "0.05"]
        original, smooth = paint(*low), paint(*low, "--diffusers_strength")
        self.assertIn("noises to timestep 51", original[1])
        self.assertEqual(smooth[1], "")
        self.assertNotEqual(png_pixels(original[0]), png_pixels(smooth[0]))
        self.assertIn("Denoising strength: 0.05, Strength rule: diffusers", parameters(smooth[0]))
        self.assertNotIn("rule", parameters(original[0]))
        same = [png_pixels(paint("--sampler", "euler", *low, *more)[0])
                for more in ([], ["--diffusers_strength"])]
        self.assertEqual(*same)
        none = [png_pixels(paint("--ddim_steps", "4", "--strength", "0.2", *more)[0])
                for more in ([], ["--diffusers_strength"])]
        self.assertEqual(*none)
        fraction = ["--ddim_steps", "6", "--original_seeds", "--n_iter", "2"]
        done = paint(*fraction, "--strength", repr(5 / 6))[0].split()
        self.assertIn("Noise: \"6 batches on", parameters(done[1]))

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
            self.assertIn('Noise: "4 batches on, picture 1 of 1", ', parameters(pair[1]))
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

    def test_averages_under_all_their_names(self):
        """Alone, they are taken with any flag; the log says so."""
        vocab = ["--vocab", FOLDER + "/tokenizer", "--precision", "full"]
        wanted = png_pixels(self.paint(*vocab, ckpt=FILE).stdout.strip())
        path = pathlib.Path(self.scratch.name, "ema.safetensors")
        for prefix, dots in (("model_ema.diffusion_model", False), ("model_ema.", False),
                             ("model_ema.diffusion_model.", True), ("model_ema.", True)):
            def averaged(name):
                if not name.startswith(UNET):
                    return name
                return prefix + (name[len(UNET):] if dots else name[len(UNET):].replace(".", ""))

            rename_tensors(FILE, path, lambda name: [averaged(name)])
            for flag in ([], ["--use_ema"], ["--no_ema"]):
                done = self.paint(*vocab, *flag, ckpt=path)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(png_pixels(done.stdout.strip()), wanted)
                self.assertEqual("only as averaged weights" in done.stderr, flag != ["--use_ema"])
            rename_tensors(FILE, path, lambda name: sorted({name, averaged(name)}))
            done = self.paint(*vocab, "--use_ema", ckpt=path)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(png_pixels(done.stdout.strip()), wanted)
            self.assertEqual(done.stderr.count("warning"), 0, done.stderr)

    def test_a_config_chooses_the_weights(self):
        """Without use_ema it means the averages, as in the original; a flag overrules it."""
        vocab = ["--vocab", FOLDER + "/tokenizer", "--precision", "full"]
        text = pathlib.Path(DATA, "tiny-v1.yaml").read_text(encoding="utf-8")
        config = pathlib.Path(self.scratch.name, "config.yaml")
        last, average = (png_pixels(self.paint(*vocab, flag, ckpt=EMA).stdout.strip())
                         for flag in ("--no_ema", "--use_ema"))
        self.assertNotEqual(last, average)
        line = "    use_ema: False\n"
        self.assertIn(line, text)
        for said, flags, ckpt, wanted, words in (
                (line, [], EMA, last, None), ("", [], EMA, average, "does not say use_ema"),
                ("    use_ema: true\n", [], EMA, average, None),
                (line, ["--use_ema"], EMA, average, None), ("", ["--no_ema"], EMA, last, None),
                ("", [], FILE, average, None),
                ("    use_ema: true\n", [], FILE, average, "has no averaged weights")):
            config.write_text(text.replace(line, said), encoding="utf-8")
            done = self.paint(*vocab, "--config", config, *flags, ckpt=ckpt)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(png_pixels(done.stdout.strip()), wanted)
            self.assertEqual(done.stderr.count("warning"), 1 if words else 0, done.stderr)
            self.assertIn(words or "", done.stderr)

    def test_what_a_prompt_asks_in_vain(self):
        done = self.paint("--prompt", "a boat <lora:x:0.8>, [day:night:0.5]", "--weighted",
                          "--embedding", DATA + "/cat.safetensors")
        self.assertEqual(done.returncode, 0, done.stderr)
        for words in ('"<lora:x:0.8>"', '"[day:night:0.5]"', 'the word "cat"'):
            self.assertIn(words, done.stderr)

    def test_prompts_are_cleaned(self):
        """As in the original's environment, which has ftfy."""
        init = pathlib.Path(self.scratch.name) / "init.png"
        write_png(init, 64, 64, lambda x, y: (4 * x, 4 * y, 100))
        for program, more in ((TXT2IMG, []), (IMG2IMG, ["--init-img", init])):
            pixels = []
            for flags in (["--prompt", "it's full"], ["--prompt", "it\u2019s \uff46ull"],
                          ["--prompt", "it\u2019s \uff46ull", "--clean"],
                          ["--prompt", "it\u2019s \uff46ull", "--no_clean"]):
                done = self.paint(*flags, *more, program=program)
                self.assertEqual(done.returncode, 0, done.stderr)
                pixels.append(png_pixels(done.stdout.strip()))
            self.assertEqual(pixels[0], pixels[1])
            self.assertEqual(pixels[0], pixels[2])
            self.assertNotEqual(pixels[0], pixels[3])
        both = self.paint("--clean", "--no_clean")
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
        for folder in ("lr=5e-3", "a=b=c"):
            path = pathlib.Path(self.scratch.name) / folder / "cat.safetensors"
            path.parent.mkdir()
            path.write_bytes(pathlib.Path(cat).read_bytes())
            self.assertEqual(by_file, paint("a cat by a lake", "--embedding", path, "--embedding",
                                            lake))
            self.assertEqual(by_file, paint("a dog by a lake", "--embedding", f"dog={path}",
                                            "--embedding", lake))
            missing = self.paint("--embedding", path.parent / "none.pt")
            self.assertIn(f"{path.parent}/none.pt: cannot open", missing.stderr)
        done = run(TXT2IMG, "--ckpt", FOLDER, *QUICK, "--prompt", "a cat by a lake", "--embedding",
                   "lr=5e-3/cat.safetensors", "--embedding", lake, cwd=self.scratch.name)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(by_file, png_pixels(pathlib.Path(self.scratch.name) / done.stdout.strip()))
        self.assertIn("/nonexistent", self.paint("--embedding", "x=/nonexistent").stderr)
        folder = pathlib.Path(self.scratch.name) / "lr=5e-3"
        shutil.copy(cat, folder / "cat.safetensors")
        shutil.copy(cat, folder / "a=b.safetensors")
        for word in (folder / "cat.safetensors", f"cat={folder}/cat.safetensors",
                     f"cat={folder}/a=b.safetensors"):
            again = paint("a cat by a lake", "--embedding", word, "--embedding", lake)
            self.assertEqual(again, by_file)
        gone = self.paint("--embedding", folder / "gone.safetensors")
        self.assertIn(f"{folder}/gone.safetensors", gone.stderr)
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
        write_png(mask, 64, 64, lambda x, y: (255 if x >= 21 and y >= 16 else 0,) * 3)
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

    def test_masks_of_all_kinds(self):
        """Grey blends, alpha, and the flags; what a mask does not paint is said."""
        init, mask = (pathlib.Path(self.scratch.name) / name for name in "im")
        write_png(init, 64, 64, lambda x, y: (4 * x, 4 * y, 100))
        before = png_pixels(init)[2]

        def paint(*flags):
            done = self.paint("--init-img", init, "--mask-img", mask, *flags, program=INPAINT)
            self.assertEqual(done.returncode, 0, done.stderr)
            return png_pixels(done.stdout.strip())[2], done

        write_png(mask, 64, 64, lambda x, y: (255 if x >= 32 else 0,) * 3)
        hard, done = paint()
        self.assertEqual(done.stderr, "")
        write_png(mask, 64, 64, lambda x, y: (max(0, min(255, 8 * (x - 16))),) * 3)
        soft, done = paint()
        for y in range(64):
            for i in range(96, 192):  # from grey 128 on both have the same latents
                grey = min(255, 8 * (i // 3 - 16))
                mixed = (before[y][i] * (255 - grey) + hard[y][i] * grey + 127) // 255
                self.assertLessEqual(abs(soft[y][i] - mixed), 1)
            self.assertEqual(soft[y][:51], before[y][:51])
        write_png(mask, 64, 64, lambda x, y: (0 if x >= 32 else 255,) * 3)
        inverted, done = paint("--mask_invert")
        self.assertEqual(inverted, hard)
        self.assertIn("Mask mode: Inpaint not masked,", parameters(done.stdout.strip()))
        write_png(mask, 64, 64, lambda x, y: (0, 0, 0, 255 if x >= 32 else 0))
        alpha, done = paint()
        self.assertEqual(alpha, hard)
        self.assertIn("alpha channel", done.stderr)
        for grey, words in ((0, "nothing is painted"), (255, "everything is painted")):
            write_png(mask, 64, 64, lambda x, y: (grey,) * 3)
            self.assertIn(words, paint()[1].stderr)
        write_png(mask, 64, 64, lambda x, y: (255 if 9 <= x < 12 else 0,) * 3)
        thin, done = paint()
        self.assertIn("1 of its 1 white parts reach no latent", done.stderr)
        self.assertNotEqual(thin, paint("--mask_any_pixel")[0])
        write_png(init, 90, 50, lambda x, y: (2 * x, 4 * y, 100))
        write_png(mask, 90, 50, lambda x, y: (255 if 30 <= x < 50 and 20 <= y < 40 else 0,) * 3)
        done = self.paint("--init-img", init, "--mask-img", mask, "--only_masked", "--mask_blur", "1.5",
                          "--mask_padding", "4", program=INPAINT)
        self.assertEqual(done.returncode, 0, done.stderr)
        width, height, rows = png_pixels(done.stdout.strip())
        self.assertEqual((width, height), (90, 50))
        before = png_pixels(init)[2]
        changed = {(x, y) for y in range(50) for x in range(90)
                   if rows[y][3 * x:3 * x + 3] != before[y][3 * x:3 * x + 3]}
        self.assertTrue(all(23 <= x < 57 and 13 <= y < 47 for x, y in changed))
        self.assertGreater(len(changed), 350)
        self.assertIn(", Mask blur: 1.5, Inpaint area: Only masked, Masked area padding: 4, Version",
                      parameters(done.stdout.strip()))

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
        self.assertIn("this is an inpainting model: use sd-inpaint (sd_inpaint)", done.stderr)

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

        done = paint("--outdir", "first")
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
        for flags, number, same in ((["--use_ema"], 1, True), (["--no_ema"], 2, False)):
            done = paint(*flags)
            names = [f"out/{name}-000{number}.png" for name in "ab"]
            self.assertEqual((done.returncode, done.stdout.split()), (0, names), done.stderr)
            self.assertIn("out/a.png is there and is left as it is", done.stderr)
            self.assertEqual(png_pixels(root / names[1]) == averaged, same, flags)
        done = paint("--outdir", "pairs")
        self.assertEqual(done.stdout.split(), ["pairs/a-0001.png", "pairs/b-0001.png"])
        self.assertEqual(png_pixels(folder / "b.png")[2], before, "the picture itself is kept")
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
        for flag in ("mask_blur", "mask_invert", "mask_any_pixel", "only_masked", "mask_padding"):
            self.assertRegex(run(INPAINT, "--help").stdout, f"(?m)^  --{flag} ")
        for program in (TXT2IMG, IMG2IMG, INPAINT):
            for flag in ("use_ema", "no_ema", "embedding", "tiled", "clean", "no_clean"):
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
        self.assertIn("the prompt is not used", said)
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
