#!/usr/bin/env python3
"""What the programs write and read: numbers, grids, seeds, prompt files, parameters."""
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import unittest

from programs import (
    FILE, FOLDER, IMG2IMG, INPAINT, ProgramsCase, QUICK, SIZE, TXT2IMG, parameters, png_chunks,
    png_pixels, run, write_png,
)


class Files(ProgramsCase):
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


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
