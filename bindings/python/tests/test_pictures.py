"""Pictures in one call, and images, on the tiny random model."""

import os
import pathlib
import tempfile
import unittest

from tiny import FOLDER, RUN, SIDE, ctx, main, model  # first: may skip

import numpy as np

import libsd


class PictureTest(unittest.TestCase):
    def test_txt2img(self):
        images = model.txt2img("a red boat", "rain", **RUN, batch=2)
        self.assertEqual([image.shape for image in images], [(SIDE, SIDE, 3)] * 2)
        self.assertEqual(images[0].numpy().dtype, np.uint8)
        np.testing.assert_array_equal(images, model.txt2img("a red boat", "rain", **RUN, batch=2))
        weighted = model.txt2img("a (red:2) BREAK boat", weighted_prompts=True, clip_skip=2, **RUN)
        both = model.encode_text(["a (red:2) BREAK boat", ""], weighted=True, clip_skip=2)
        with model.sampler(**RUN) as sampler:
            latent = sampler.sample(both[0], both[1])
        again = model.to_images(model.vae_decode(latent))
        np.testing.assert_array_equal(weighted, again)
        cond, uncond = model.encode_text("a red boat"), model.encode_text("rain")
        with model.sampler(**RUN, batch=2) as sampler:
            staged = model.to_images(model.vae_decode(sampler.sample(cond, uncond)))
        np.testing.assert_array_equal(images, staged)

    def test_a_prompt_for_each_picture(self):
        prompts = ["a red boat", "a cat", "a lake"]
        init = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        mask = np.full((SIDE, SIDE), 255, np.uint8)
        run = {"steps": 4, "seed": 9, "width": SIDE, "height": SIDE}
        for paint in (
            lambda text, **more: model.txt2img(text, **run, **more),
            lambda text, **more: model.img2img(text, init, **run, strength=0.5, **more),
            lambda text, **more: model.inpaint(text, init, mask, **run, **more),
        ):
            together = np.stack(paint(prompts))
            self.assertEqual(together.shape, (3, SIDE, SIDE, 3))
            for i, prompt in enumerate(prompts):
                alone = paint(prompt, batch=3)[i].numpy()
                self.assertLessEqual(np.abs(alone.astype(int) - together[i]).max(), 1)
            self.assertFalse(np.array_equal(together[0], paint(prompts[1:])[0]))
            with self.assertRaisesRegex(libsd.ArgumentError, "3 texts; batch is 2"):
                paint(prompts, batch=2)
            with self.assertRaisesRegex(libsd.ArgumentError, "batch"):
                paint([])
        unguided = model.txt2img(prompts, guidance_scale=1, **run)
        self.assertEqual(len(unguided), 3)

    def test_conditioning_in_place_of_prompts(self):
        cond, uncond = model.encode_text(["a red boat", "rain"])[:1], model.encode_text("rain")
        want = model.txt2img("a red boat", "rain", **RUN)
        for given in (
            {"cond": cond, "uncond": uncond},
            {"cond": cond, "negative_prompt": "rain"},
            {"prompt": "a red boat", "uncond": uncond},
        ):
            differences = np.abs(np.stack(model.generate(**given, **RUN)).astype(int) - want)
            self.assertLessEqual(differences.max(), 1)
        run = {**RUN, "guidance_scale": 1}
        np.testing.assert_array_equal(
            model.generate(cond=cond, **run), model.generate("a red boat", **run)
        )
        with self.assertRaisesRegex(libsd.ArgumentError, "cond and prompt"):
            model.generate("a red boat", cond=cond, **RUN)
        with self.assertRaisesRegex(TypeError, "cond is ndarray"):
            model.generate(cond=cond.tensor(), **RUN)

    def test_seeds_say_how_many(self):
        images = model.generate("a", seeds=[5, 6], steps=2, width=SIDE, height=SIDE)
        self.assertEqual(len(images), 2)
        for seed, image in zip((5, 6), images):
            alone = model.generate("a", seed=seed, steps=2, width=SIDE, height=SIDE)[0].numpy()
            self.assertLessEqual(np.abs(alone.astype(int) - image).max(), 1)
        with self.assertRaisesRegex(libsd.ArgumentError, "seeds has 2 entries; batch is 3"):
            model.generate("a", seeds=[5, 6], batch=3, **RUN)

    def test_stop(self):
        latent = ctx.randn((1, 4, 8, 8), seed=1)
        with libsd.Stop(ctx) as stop:
            calls = (
                lambda: model.generate("a", stop=stop, **RUN),
                lambda: model.txt2img("a", stop=stop, **RUN),
                lambda: model.encode_text("a", stop=stop),
                lambda: model.vae_decode(latent, stop=stop),
                lambda: model.vae_encode(np.zeros((1, 3, 64, 64)), stop=stop),
                lambda: ctx.load(FOLDER, stop=stop).close(),
            )
            self.assertFalse(stop.is_set)
            stop.set()
            for call in calls:  # set before they begin
                with self.assertRaises(libsd.CancelledError):
                    call()
            stop.clear()
            for call in calls:
                call()
            with self.assertRaises(libsd.CancelledError):
                model.generate("a", stop=stop, progress=lambda p: stop.set(), **RUN)
            self.assertTrue(stop.is_set)
        with self.assertRaisesRegex(TypeError, "stop is str"):
            model.encode_text("a", stop="now")

    def test_a_random_seed_is_told(self):
        seen = []
        images = model.txt2img("a", **{**RUN, "seed": -1}, progress=seen.append)
        seeds = {p.seed for p in seen}
        self.assertEqual(len(seeds), 1)
        again = model.txt2img("a", **{**RUN, "seed": seeds.pop()})
        np.testing.assert_array_equal(images, again)
        model.txt2img("a", **RUN, batch=2, seeds=[5, 6], progress=seen.append)
        self.assertEqual(seen[-1].seed, 5)

    def test_img2img(self):
        r = np.random.default_rng(2)
        init = r.integers(0, 256, (SIDE + 20, SIDE + 50, 3), dtype=np.uint8)
        seen = []
        images = model.img2img("a red boat", init, steps=4, strength=0.5, progress=seen.append)
        self.assertEqual([image.shape for image in images], [(SIDE, SIDE, 3)])
        self.assertEqual([p.step for p in seen], [1, 2])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "init.png")
            libsd.save_image(path, init)
            again = model.img2img("a red boat", path, steps=4, strength=0.5)
        np.testing.assert_array_equal(images, again)
        large = model.img2img("a", init, steps=2, width=128, height=64)
        self.assertEqual([(i.width, i.height) for i in large], [(128, 64)])

    def test_inpaint(self):
        """In one call, and by its stages: the posterior's noise is the seed's first, then x_T."""
        r = np.random.default_rng(4)
        picture = r.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[16:, 24:] = 255
        hole = (mask == 255)[..., None]
        with ctx.load(os.environ["SD_TEST_INPAINT_FOLDER"]) as wide:
            image = wide.inpaint("a red boat", picture, mask, **RUN)[0].numpy()
            draws = ctx.randn((2, 4, SIDE // 8, SIDE // 8), RUN["seed"])
            pixels = wide.to_pixels(picture[None])
            concat = wide.inpaint_concat(pixels, (hole[None, None, ..., 0]), draws[:1])
            cond, uncond = wide.encode_text("a red boat"), wide.encode_text("")
            with wide.sampler(**RUN) as sampler:
                with self.assertRaisesRegex(libsd.ArgumentError, "sd_generate"):
                    sampler.sample(cond, uncond)
                latent = sampler.sample(cond, uncond, noise=draws[1:], concat=concat)
            staged = wide.to_images(wide.vae_decode(latent))[0].numpy()
            np.testing.assert_array_equal(image, np.where(hole, staged, picture))
        image = model.inpaint("a red boat", picture, mask, tile=4, strength=0.5, **RUN)[0].numpy()
        np.testing.assert_array_equal(image * ~hole, picture * ~hole)
        with self.assertRaisesRegex(libsd.ArgumentError, "mask is 64x32; 64x64"):
            model.inpaint("a", picture, mask[:32], **RUN)

    def test_masks(self):
        picture = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[16:48, 16:48] = 255
        hard = model.inpaint("a", picture, mask, **RUN)[0].numpy()
        alpha = np.zeros((SIDE, SIDE, 4), np.uint8)
        alpha[..., 3] = mask
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "mask.png")
            libsd.save_image(path, alpha)
            for form in (alpha, path):
                np.testing.assert_array_equal(model.inpaint("a", picture, form, **RUN)[0], hard)
        inverted = model.inpaint("a", picture, 255 - mask, mask_invert=True, **RUN)[0].numpy()
        np.testing.assert_array_equal(inverted, hard)
        soft = model.inpaint("a", picture, mask, mask_blur=2, **RUN)[0].numpy()
        np.testing.assert_array_equal(soft[:8], picture[:8])
        self.assertTrue((soft[12:16, 20:40] != picture[12:16, 20:40]).any())
        wide = np.tile(picture, (1, 2, 1))[:50]
        part = model.inpaint("a", wide, np.tile(mask, (1, 2))[:50], only_masked=True, mask_padding=3,
                             mask_any_pixel=True, **RUN)[0].numpy()
        self.assertEqual(part.shape, wide.shape)
        np.testing.assert_array_equal(part[:16], wide[:16])
        self.assertTrue((part[16:48, 16:48] != wide[16:48, 16:48]).mean() > 0.9)
        with self.assertRaisesRegex(libsd.ArgumentError, "sd_mask_params.blur is -1"):
            model.inpaint("a", picture, mask, mask_blur=-1, **RUN)

    def test_tiles(self):
        whole = model.memory_estimate(width=1024, height=1024)
        tiled = model.memory_estimate(width=1024, height=1024, tile=16)
        self.assertLess(tiled.decode, whole.decode)
        self.assertLess(tiled.peak, whole.peak)
        images = model.txt2img("a red boat", **RUN)
        np.testing.assert_array_equal(images, model.txt2img("a red boat", tile=8, **RUN))
        self.assertFalse(np.array_equal(images, model.txt2img("a red boat", tile=4, **RUN)))

    def test_images(self):
        pixels = np.random.default_rng(6).integers(0, 256, (20, 30, 4), dtype=np.uint8)
        image = libsd.Image(pixels)
        self.assertEqual((image.width, image.height, image.shape), (30, 20, (20, 30, 4)))
        self.assertEqual(repr(image), "<libsd.Image 30 x 20, RGBA>")
        self.assertIs(libsd.Image(image).numpy(), image.numpy())
        shown = image._repr_png_()
        self.assertEqual(shown, image.encode("png"))
        np.testing.assert_array_equal(libsd.load_image(shown, keep_alpha=True), pixels)
        self.assertIn(b"Steps: 4", image.encode(parameters="Steps: 4"))
        self.assertLess(len(image.encode("jpeg", quality=5)), len(image.encode("jpeg")))
        with self.assertRaisesRegex(libsd.ArgumentError, "format is 'gif'"):
            image.encode("gif")
        with self.assertRaisesRegex(libsd.ArgumentError, "quality is 101"):
            image.encode("jpeg", quality=101)
        # Rows at any distance, and from the bottom up; columns that are not side by side.
        for view in (pixels[2:9, 3:12], pixels[::-1], pixels[::-2, 1:], pixels[:, ::2], pixels[..., :3]):
            shown = libsd.load_image(libsd.Image(view).encode(), keep_alpha=True)
            np.testing.assert_array_equal(shown, view)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "plain")
            image.save(path, format="jpeg", quality=50)
            self.assertEqual(pathlib.Path(path).read_bytes()[:3], b"\xff\xd8\xff")
        for wrong in (np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4), np.uint8)):
            with self.assertRaises(libsd.ArgumentError):
                libsd.Image(wrong)

    def test_pillow(self):
        """Both ways, in modes that have our channels and in others."""
        try:
            import PIL.Image
        except ImportError:
            self.skipTest("Pillow is not installed")
        pixels = np.random.default_rng(7).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        theirs = libsd.Image(pixels).pil()
        self.assertEqual((theirs.mode, theirs.size), ("RGB", (9, 8)))
        np.testing.assert_array_equal(libsd.Image(theirs), pixels)
        np.testing.assert_array_equal(PIL.Image.fromarray(libsd.Image(pixels)), pixels)
        self.assertEqual(libsd.Image(pixels[..., 0]).pil().mode, "L")
        self.assertEqual(libsd.Image(theirs.convert("P")).shape, (8, 9, 3))
        self.assertEqual(libsd.Image(theirs.convert("LA")).shape, (8, 9, 4))
        self.assertEqual(libsd.Image(theirs.convert("1")).shape, (8, 9, 3))
        np.testing.assert_array_equal(model.to_pixels(theirs), model.to_pixels(pixels))

    def test_files(self):
        r = np.random.default_rng(3)
        image = r.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            png = pathlib.Path(folder) / "ä b.png"
            libsd.save_image(png, image, parameters="a red boat\nSteps: 4")
            self.assertIn(b"parameters\0a red boat\nSteps: 4", png.read_bytes())
            np.testing.assert_array_equal(libsd.load_image(png), image)
            np.testing.assert_array_equal(libsd.load_image(png.read_bytes()), image)
            jpeg = str(pathlib.Path(folder) / "b.jpg")
            smooth = np.full((16, 24, 3), 100, dtype=np.uint8)
            libsd.save_image(jpeg, smooth)
            self.assertLess(np.abs(libsd.load_image(jpeg).numpy().astype(int) - 100).max(), 4)
            with self.assertRaisesRegex(libsd.StateError, "b.jpg"):
                libsd.save_image(jpeg, image[:9], overwrite=False)
            self.assertEqual(libsd.load_image(jpeg).shape, smooth.shape)
            with self.assertRaisesRegex(libsd.UnsupportedError, "[.]webp files are not written"):
                libsd.save_image(os.path.join(folder, "a.webp"), image)
            self.assertEqual(sorted(os.listdir(folder)), ["b.jpg", "ä b.png"])
            held = jpeg_with_orientation(pathlib.Path(jpeg).read_bytes(), 6)
            self.assertEqual(libsd.load_image(held).shape, (24, 16, 3))
            self.assertEqual(libsd.load_image(held, as_stored=True).shape, (16, 24, 3))
            alpha = r.integers(0, 256, (5, 7, 4), dtype=np.uint8)
            libsd.save_image(png, alpha)
            np.testing.assert_array_equal(libsd.load_image(png, keep_alpha=True), alpha)
            np.testing.assert_array_equal(libsd.load_image(png), alpha[..., :3])
            with self.assertRaisesRegex(libsd.FileError, "nowhere.png"):
                libsd.load_image(os.path.join(folder, "nowhere.png"))
            with self.assertRaises(libsd.FileError):
                libsd.save_image(os.path.join(folder, "nowhere", "a.png"), image)
        self.assertEqual(libsd.resize_image(image, 7, 9).shape, (9, 7, 3))
        with self.assertRaises(libsd.FormatError):
            libsd.load_image(b"not a picture")


def jpeg_with_orientation(data, orientation):
    entry = b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0" + bytes((orientation, 0, 0, 0))
    return data[:2] + b"\xff\xe1" + bytes((0, len(entry) + 8)) + b"Exif\0\0" + entry + data[2:]


if __name__ == "__main__":
    main()
