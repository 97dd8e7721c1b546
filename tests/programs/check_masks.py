#!/usr/bin/env python3
"""sd-inpaint as a user runs it, and the VAE in tiles."""
import os
import pathlib
import sys
import unittest

from programs import (
    DATA, FOLDER, IMG2IMG, INFO, INPAINT, NINE, ProgramsCase, TXT2IMG, parameters, png_pixels,
    run, write_masked_model, write_png,
)


class Masks(ProgramsCase):
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
        self.assertIn("this is an inpainting model: use sd-inpaint (sd_generate with a mask)", done.stderr)

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


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
