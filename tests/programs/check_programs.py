#!/usr/bin/env python3
"""Runs the programs as a user would: good and bad command lines, files, pipes, Ctrl-C."""
import json
import os
import pathlib
import pty
import select
import shutil
import signal
import struct
import sys
import time
import unittest

from programs import (
    BENCH, DATA, EMA, FILE, FOLDER, IMG2IMG, INFO, INPAINT, NINE, ProgramsCase, QUICK, TXT2IMG,
    UNET, XL, parameters, png_chunks, png_pixels, rename_tensors, run, write_png,
)


class Programs(ProgramsCase):
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
            (["--sampler", "Euler a", "--eta", "0.5", "--subseed", "7", "--subseed_strength", "0.25",
              "--ensd", "31337"],
             "Variation seed: 7, Variation seed strength: 0.25, ENSD: 31337"),
            (["--sampler", "DPM++ 2M Karras"],
             "Sampler: DPM\\+\\+ 2M, Schedule type: Karras, CFG"),
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
        self.assertIn("near it are", done.stderr)
        done = self.paint("--spacing", "wide")
        self.assertEqual(done.returncode, 2)
        self.assertIn("simple, normal, ddim_uniform, ays or kl_optimal was expected", done.stderr)
        done = self.paint("--plms", "--ddim_eta", "0.5")
        self.assertIn('"plms" takes 0 only', done.stderr)

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
        done = self.paint("--prompt", "a boat <lora:x:0.8>", "--weighted",
                          "--embedding", DATA + "/cat.safetensors")
        self.assertEqual(done.returncode, 0, done.stderr)
        for words in ('"<lora:x:0.8>"', 'the word "cat"'):
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

    def test_adapters(self):
        lora = DATA + "/adapters/lora-kohya.safetensors"
        folder = pathlib.Path(self.scratch.name) / "loras"
        folder.mkdir()
        shutil.copy(lora, folder / "style:2.safetensors")
        shutil.copy(lora, folder / "style.safetensors")

        def paint(prompt, *flags):
            done = self.paint("--prompt", prompt, *flags)
            self.assertEqual(done.returncode, 0, done.stderr)
            return png_pixels(done.stdout.strip())

        by_flag = paint("a boat", "--lora", lora + ":0.8")
        self.assertNotEqual(by_flag, paint("a boat"))
        self.assertEqual(by_flag, paint("a boat", "--lora", f"{folder}/style:2.safetensors:.8:0.8"))
        self.assertEqual(by_flag, paint("a <lora:style:0.8> boat", "--lora-dir", folder))
        self.assertEqual(paint("a boat", "--lora", lora + ":1:0"),
                         paint("<lyco:style:1:0>a boat", "--lora-dir", folder))
        for flags, words in ((["--lora", folder / "none.pt"], "none.pt"),
                             (["--prompt", "<lora:none:1>", "--lora-dir", folder], "has no none")):
            done = self.paint(*flags)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(words, done.stderr)
        told = run(INFO, lora).stdout
        for words in ("LoRA", "Golden", "golden style", "5 of the UNet, 3 of", "alpha 4"):
            self.assertIn(words, told)
        self.assertIn("2 of width 128", run(INFO, DATA + "/golden-style.safetensors").stdout)

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
            for flag in ("use_ema", "no_ema", "embedding", "tiled", "clean", "no_clean", "taesd", "tiny_vae",
                         "preview", "preview_every", "preview_method"):
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

    def test_previews_are_one_file(self):
        path = os.path.join(self.scratch.name, "preview.png")
        paint = (TXT2IMG, "--ckpt", FOLDER, "--outdir", self.scratch.name, *QUICK)
        done = run(*paint, "--preview", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(png_pixels(path)[:2], (8, 8))  # colours alone, of the latent's size
        done = run(*paint, "--preview", path, "--preview_method", "vae", "--preview_every", "5")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(png_pixels(path)[:2], (64, 64))
        for method, sentence in (("tiny", "no small autoencoder"), ("best", "--preview_method")):
            done = run(*paint, "--preview", path, "--preview_method", method)
            self.assertIn(sentence, done.stderr)
            self.assertEqual(done.returncode, 2 if method == "best" else 0)

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

    def test_sdxl_and_its_refiner(self):
        self.assertIn("family:      Stable Diffusion XL, diffusers", run(INFO, XL / "tiny-xl").stdout)
        told = run(INFO, XL / "tiny-xl-refiner.safetensors").stdout
        self.assertIn("family:      Stable Diffusion XL refiner, original", told)
        self.assertIn("a text as 64 numbers, and 5 of the picture, an aesthetic score", told)
        pictures = set()
        for flags in ([], ["--refiner", XL / "tiny-xl-refiner", "--refiner_start", "0.5"],
                      ["--negative", ""], ["--original_width", "16"]):
            done = self.paint(*flags, ckpt=XL / "tiny-xl")
            self.assertEqual(done.returncode, 0, done.stderr)
            pictures.add(b"".join(png_pixels(done.stdout.strip())[2]))
        self.assertEqual(len(pictures), 4)
        done = self.paint("--refiner_start", "0.5", ckpt=XL / "tiny-xl")
        self.assertIn("refiner is NULL", done.stderr)

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
