"""Stable Diffusion XL through the package, on the tiny random base and refiner."""

import os
import unittest

from tiny import RUN, ctx, main  # first: may skip

import numpy as np

import libsd

base = ctx.load(os.environ["SD_TEST_XL_FOLDER"])
refiner = ctx.load(os.environ["SD_TEST_XL_REFINER"])


class XLTest(unittest.TestCase):
    def test_what_a_model_is(self):
        info = base.info
        self.assertEqual((info.family, info.n_encoders), ("Stable Diffusion XL", 2))
        self.assertEqual((info.text_width, info.pooled_width, info.n_sizes), (192, 64, 6))
        self.assertEqual((refiner.info.n_encoders, refiner.info.n_sizes), (1, 5))

    def test_conditioning(self):
        cond = base.encode_text(["a lake", "a boat"], original_width=300, crop_left=5)
        self.assertEqual(cond.tensor("pooled").shape, (2, 64))
        np.testing.assert_array_equal(cond.tensor("sizes")[1], [0, 300, 0, 5, 0, 0])
        ids = [[base.tokenize(t, encoder=e).ids for t in ("a lake", "a boat")] for e in range(2)]
        of_ids = base.encode_tokens(np.array(ids), original_width=300, crop_left=5)
        for name in ("context", "pooled", "sizes"):
            np.testing.assert_array_equal(of_ids.tensor(name), cond.tensor(name))
        np.testing.assert_array_equal(cond[1].tensor("pooled"), cond.tensor("pooled")[1:])
        made = ctx.cond({name: cond.tensor(name) for name in ("context", "pooled")})
        self.assertEqual(len(made), 2)
        scored = refiner.encode_text("a lake", aesthetic_score=7)
        np.testing.assert_array_equal(scored.tensor("sizes"), [[0, 0, 0, 0, 7]])
        with self.assertRaisesRegex(TypeError, "width: one of original_width"):
            base.encode_text("a lake", width=3)
        with self.assertRaisesRegex(libsd.ArgumentError, r"integers \[2, n, 77\]"):
            base.encode_tokens(np.zeros((1, 77), int))

    def test_pictures(self):
        plain = base.generate("a lake", **RUN)[0].numpy()
        others = (
            base.generate("a lake", "", **RUN),
            base.generate("a lake", target_width=1024, **RUN),
            base.generate("a lake", refiner=refiner, **RUN),
            base.generate("a lake", refiner=refiner, refiner_start=0.3, **RUN),
        )
        for images in others:
            self.assertFalse(np.array_equal(images[0], plain))
        np.testing.assert_array_equal(base.generate("a lake", **RUN)[0], plain)

    def test_a_run_in_two_parts(self):
        cond, uncond = base.encode_text("a lake"), base.encode_text("")
        with base.sampler(**RUN) as sampler:
            whole = sampler.sample(cond, uncond)
            half = sampler.sample(cond, uncond, denoising_end=0.5)
            both = sampler.sample(cond, uncond, half, denoising_start=0.5)
        self.assertGreater(np.abs(whole - half).max(), 1e-3)
        np.testing.assert_allclose(both, whole, atol=1e-4)


if __name__ == "__main__":
    main()
