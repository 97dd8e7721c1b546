"""Samplers of the Python package, on the tiny random model."""

import os
import signal
import threading
import unittest

from tiny import FOLDER, RUN, SIDE, ctx, conditioning, main, model  # first: may skip

import numpy as np

import libsd


class SamplerTest(unittest.TestCase):
    def test_whole_and_steps_agree(self):
        cond, uncond = conditioning()
        info = model.info
        seen = []
        with model.sampler(**RUN, batch=2, eta=0.5, progress=seen.append) as sampler:
            self.assertEqual(sampler.remaining, 0)
            whole = sampler.sample(cond, uncond)
            n = SIDE // info.latent_downscale
            self.assertEqual(whole.dtype, np.float32)
            self.assertEqual(whole.shape, (2, info.latent_channels, n, n))
            self.assertEqual([p.step for p in seen], [1, 2, 3, 4])
            self.assertEqual({p.total for p in seen}, {4})
            self.assertTrue(all(p.seconds >= 0 for p in seen))
            times = [p.timestep for p in seen]
            self.assertEqual(times, sorted(times, reverse=True))

            left = []
            for done in sampler.steps(cond, uncond):
                self.assertEqual(done.timestep, times[done.step - 1])
                left.append(sampler.remaining)
                self.assertEqual(sampler.pred_x0.shape, whole.shape)
            self.assertEqual(left, [3, 2, 1, 0])
            np.testing.assert_array_equal(sampler.latent, whole)
            np.testing.assert_array_equal(sampler.sample(cond, uncond), whole)
        with model.sampler(**RUN, batch=2, eta=0.5) as other:
            np.testing.assert_array_equal(other.sample(cond, uncond), whole)

    def test_names_and_times_of_ones_own(self):
        self.assertEqual(libsd.find_sampler("DPM++ 2M Karras"), ("dpmpp_2m", "karras"))
        self.assertEqual(libsd.find_sampler("Euler a"), ("euler_a", "auto"))
        with self.assertRaisesRegex(libsd.ArgumentError, "near it are"):
            libsd.find_sampler("DPM+- 9M")
        self.assertIn("sgm_uniform", libsd.sampling_spacings())
        with model.sampler(method="Euler SGM Uniform", steps=4, width=SIDE, height=SIDE) as sampler:
            np.testing.assert_allclose(sampler.timesteps, [249.75, 499.5, 749.25, 999])
        with model.sampler(method="euler", timesteps=[900, 300], ancestral_eta=0.5) as sampler:
            self.assertEqual(sampler.timesteps.tolist(), [300, 900])
        with model.sampler(method="euler", sigmas=[14, 2, 0]) as sampler:
            self.assertEqual(len(sampler.timesteps), 2)
        with self.assertRaisesRegex(libsd.ArgumentError, "n_timesteps is 0|they go downward"):
            model.sampler(method="euler", timesteps=[1, 2])

    def test_threads_agree(self):
        cond, uncond = conditioning()
        results = []
        for threads in (1, 3):
            with libsd.Context("cpu", threads=threads) as one, one.load(FOLDER) as same:
                with same.sampler(**RUN) as sampler:
                    results.append(sampler.sample(cond, uncond))
        np.testing.assert_array_equal(*results)

    def test_two_samplers_at_once(self):
        cond, uncond = conditioning()
        with model.sampler(**RUN) as first, model.sampler(**RUN) as second:
            expected = first.sample(cond, uncond)
            results = {}

            def run(name, sampler):
                results[name] = sampler.sample(cond, uncond)

            threads = [threading.Thread(target=run, args=a) for a in (("a", first), ("b", second))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            np.testing.assert_array_equal(results["a"], expected)
            np.testing.assert_array_equal(results["b"], expected)

    def test_seeds(self):
        cond, uncond = conditioning()

        def run(**options):
            with model.sampler(**{**RUN, **options}) as sampler:
                return sampler.sample(cond, uncond)

        pair = run(batch=2)
        np.testing.assert_allclose(pair[1:], run(seed=8), atol=2e-5)
        np.testing.assert_array_equal(run(batch=2, seeds=[7, 8]), pair)
        self.assertGreater(np.abs(run(rng="cuda") - pair[:1]).max(), 1e-2)
        self.assertGreater(np.abs(run(batch=2, one_stream=True)[1] - pair[1]).max(), 1e-2)
        self.assertGreater(np.abs(run(seed=2**64 - 1) - pair[:1]).max(), 1e-2)
        self.assertGreater(np.abs(run(skip_draws=1) - pair[:1]).max(), 1e-2)

    def test_noise_and_init(self):
        cond, uncond = conditioning()
        with model.sampler(**RUN) as sampler:
            usual = sampler.sample(cond, uncond)
            noise = ctx.randn(usual.shape, seed=7)
            np.testing.assert_array_equal(sampler.sample(cond, uncond, noise=noise), usual)
            self.assertEqual(sampler.sample(cond, uncond, init=usual).shape, usual.shape)
            half = list(sampler.steps(cond, uncond, init=usual, strength=0.5))
            self.assertEqual(len(half), 2)
        with model.sampler(**RUN, guidance_scale=1.0) as sampler:
            self.assertEqual(sampler.sample(cond).shape, usual.shape)

    def test_replace_latent(self):
        cond, uncond = conditioning()
        with model.sampler(**RUN) as sampler:
            whole = sampler.sample(cond, uncond)
            sampler.begin(cond, uncond)
            sampler.step()
            kept = sampler.latent
            sampler.latent = kept
            np.testing.assert_array_equal(sampler.latent, kept)
            while sampler.remaining:
                sampler.step()
            np.testing.assert_array_equal(sampler.latent, whole)
            sampler.begin(cond, uncond)
            sampler.step()
            sampler.latent = 0 * kept
            self.assertEqual(np.abs(sampler.latent).max(), 0)
            sampler.step()
            self.assertGreater(np.abs(sampler.latent - whole).max(), 1e-3)

    def test_mask(self):
        cond, uncond = conditioning()
        with model.sampler(**RUN, method="euler", spacing="karras") as sampler:
            free = sampler.sample(cond, uncond)
            x0 = 0 * free
            mask = np.zeros((1, 1, *free.shape[2:]), np.float32)
            with self.assertRaises(libsd.StateError):
                model.sampler(**RUN).set_mask(mask, x0)
            given = {"mask": mask, "mask_x0": x0}
            np.testing.assert_array_equal(sampler.sample(cond, uncond, **given), free)
            mask[..., :4] = 1
            held = sampler.sample(cond, uncond, **given)
            self.assertGreater(np.abs(held - free).max(), 1e-3)
            sampler.begin(cond, uncond)
            sampler.set_mask(mask, x0)
            while sampler.remaining:
                sampler.step()
            np.testing.assert_array_equal(sampler.latent, held)
            sampler.begin(cond, uncond, **given)
            sampler.set_mask(None)
            while sampler.remaining:
                sampler.step()
            np.testing.assert_array_equal(sampler.latent, free)
            with self.assertRaises(libsd.ArgumentError):
                sampler.set_mask(mask)
            with self.assertRaisesRegex(libsd.ArgumentError, "mask_x0 is NULL"):
                sampler.sample(cond, uncond, mask=mask)

    def test_preview(self):
        cond, uncond = conditioning()
        pictures = []

        def progress(p):
            pictures.append((p.preview(method="vae"), p.latent()))

        with model.sampler(**RUN, progress=progress) as sampler:
            latent = sampler.sample(cond, uncond)
            np.testing.assert_array_equal(pictures[-1][1], latent)
            self.assertEqual(pictures[0][0].shape, (SIDE, SIDE, 3))
            np.testing.assert_array_equal(sampler.preview(0, "vae"), pictures[-1][0])
            expected = model.to_images(model.vae_decode(sampler.pred_x0))[0]
            np.testing.assert_array_equal(sampler.preview(method="vae"), expected)
            self.assertEqual(model.info.default_preview, "matrix")
            self.assertEqual(sampler.preview().shape, (SIDE // 8, SIDE // 8, 3))
            with self.assertRaisesRegex(libsd.UnsupportedError, "no small autoencoder"):
                sampler.preview(method="tiny")
            with self.assertRaisesRegex(libsd.ArgumentError, "method is 'best'"):
                sampler.preview(method="best")
            last = sampler._watch.last[0]
            with self.assertRaisesRegex(libsd.StateError, "inside the progress callback"):
                last.latent()


class OriginalTest(unittest.TestCase):
    """Arguments and methods of the original's DDIMSampler."""

    def setUp(self):
        self.cond, self.uncond = conditioning()

    def test_intermediates(self):
        with model.sampler(**RUN, eta=1, log_every_t=2) as sampler:
            with self.assertRaisesRegex(libsd.StateError, "no run was begun"):
                sampler.intermediates
            latent = sampler.sample(self.cond, self.uncond)
            x_inter, pred_x0 = sampler.intermediates
            self.assertEqual(x_inter.shape, (4, *latent.shape))  # x_T, steps 3, 2 and 0
            np.testing.assert_array_equal(x_inter[-1], latent)
            np.testing.assert_array_equal(pred_x0[-1], sampler.pred_x0)
            np.testing.assert_array_equal(x_inter[0], pred_x0[0])
        with model.sampler(**RUN) as sampler:
            sampler.sample(self.cond, self.uncond)
            with self.assertRaisesRegex(libsd.StateError, "log_every_t is 0"):
                sampler.intermediates

    def test_encode_and_decode(self):
        options = {"eta": 0.5, "original_encode": True}
        with model.sampler(**RUN, **options) as sampler:
            self.assertEqual(sampler.timesteps.tolist(), [1, 251, 501, 751])
            init = sampler.sample(self.cond, self.uncond)
            painted = sampler.sample(self.cond, self.uncond, init=init)
            noisy = sampler.stochastic_encode(init, 3)
            np.testing.assert_array_equal(
                sampler.sample(self.cond, self.uncond, noisy, last_steps=3), painted
            )
            sampler.begin(self.cond, self.uncond, noisy, last_steps=3)
            self.assertEqual([sampler.step().timestep for _ in range(3)], [501, 251, 1])
            np.testing.assert_array_equal(sampler.latent, painted)
            given = sampler.stochastic_encode(init, 0, np.zeros_like(init))
            scale = np.sqrt(model.alphas_cumprod[1])
            np.testing.assert_allclose(given, init * scale, rtol=1e-6)
            with self.assertRaisesRegex(libsd.ArgumentError, "last_steps is 5; 0 to 4"):
                sampler.sample(self.cond, self.uncond, noisy, last_steps=5)
            with self.assertRaisesRegex(libsd.ArgumentError, "t is 4; 0 to 3"):
                sampler.stochastic_encode(init, 4)
        with model.sampler(**RUN, use_original_steps=True) as sampler:
            self.assertEqual(sampler.timesteps.tolist(), list(range(1000)))

    def test_strength(self):
        """Python's own int(strength * steps); the library's rule noises to the first step."""
        init = np.zeros((1, 4, 8, 8), np.float32)
        for strength in (5 / 6, 1 / 3, 7 / 12, 0.29, 0.57):
            for steps in (5, 10, 20, 25, 50, 100):  # of 1000: as many are made
                with model.sampler(
                    steps=steps, width=64, height=64, guidance_scale=1
                ) as sampler:
                    sampler.begin(self.cond, None, init, strength=strength)
                    self.assertEqual(sampler.remaining, int(strength * steps))
        with model.sampler(**RUN) as sampler:
            sampler.begin(self.cond, self.uncond, init + 1, strength=0.5)
            np.testing.assert_array_equal(sampler.latent, sampler.stochastic_encode(init + 1, 1))

    def test_numbers_that_are_none(self):
        with self.assertRaisesRegex(libsd.ArgumentError, "context has nan"):
            ctx.cond({"context": np.full((1, 77, 8), np.nan)})
        with self.assertRaisesRegex(libsd.ModelError, "step . of 4 .*not finite"):
            model.txt2img("a boat", **RUN, guidance_scale=3e38)

    def test_corrector(self):
        seen = []

        def corrector(e_t, x, t):
            seen.append(t)
            self.assertEqual(e_t.shape, x.shape)
            return 2 * e_t

        with model.sampler(**RUN) as sampler:
            plain = sampler.sample(self.cond, self.uncond)
        with model.sampler(**RUN, score_corrector=lambda e_t, x, t: e_t) as sampler:
            np.testing.assert_array_equal(sampler.sample(self.cond, self.uncond), plain)
        with model.sampler(**RUN, score_corrector=corrector) as sampler:
            doubled = sampler.sample(self.cond, self.uncond)
        self.assertEqual(seen, [751, 501, 251, 1])
        self.assertFalse(np.array_equal(doubled, plain))
        images = model.txt2img("a", **RUN, score_corrector=corrector)
        self.assertEqual((len(images), len(seen)), (1, 8))

    def test_corrector_raises(self):
        def corrector(e_t, x, t):
            raise KeyError("mine")

        with model.sampler(**RUN, score_corrector=corrector) as sampler:
            with self.assertRaisesRegex(KeyError, "mine"):
                sampler.sample(self.cond, self.uncond)
        wrong = lambda e_t, x, t: np.zeros(3)  # noqa: E731
        with model.sampler(**RUN, score_corrector=wrong) as sampler:
            with self.assertRaisesRegex(ValueError, "broadcast"):
                sampler.sample(self.cond, self.uncond)

    def test_dropout(self):
        def sample(**options):
            with model.sampler(**RUN, eta=1, **options) as sampler:
                return sampler.sample(self.cond, self.uncond)

        np.testing.assert_array_equal(sample(noise_dropout=1), sample(temperature=0))
        self.assertFalse(np.array_equal(sample(noise_dropout=0.5), sample()))
        with self.assertRaisesRegex(libsd.ArgumentError, "noise_dropout"):
            sample(noise_dropout=1.5)
        with self.assertRaisesRegex(libsd.UnsupportedError, "codebook"):
            sample(quantize_denoised=True)


class CallbackTest(unittest.TestCase):
    """What ends a run, and that the sampler stays usable after."""

    def setUp(self):
        self.cond, self.uncond = conditioning()
        self.act = lambda p: None
        self.calls = 0

        def progress(p):
            self.calls += 1
            return self.act(p)

        self.sampler = model.sampler(**RUN, progress=progress)
        self.addCleanup(self.sampler.close)
        self.whole = self.sampler.sample(self.cond, self.uncond)
        self.calls = 0

    def still_works(self):
        self.act = lambda p: None
        np.testing.assert_array_equal(self.sampler.sample(self.cond, self.uncond), self.whole)

    def test_true_cancels(self):
        self.act = lambda p: p.step == 2
        with self.assertRaisesRegex(libsd.CancelledError, "after step 2 of 4") as caught:
            self.sampler.sample(self.cond, self.uncond)
        self.assertEqual(caught.exception.status, libsd.Status.CANCELLED)
        self.assertEqual(self.calls, 2)
        self.still_works()

    def test_exception_propagates(self):
        def act(p):
            raise KeyError("mine")

        self.act = act
        with self.assertRaisesRegex(KeyError, "mine"):
            self.sampler.sample(self.cond, self.uncond)
        self.assertEqual(self.calls, 1)
        with self.assertRaisesRegex(KeyError, "mine"):
            list(self.sampler.steps(self.cond, self.uncond))
        with self.assertRaisesRegex(KeyError, "mine"):
            model.txt2img("a", **RUN, progress=act)
        self.still_works()

    def test_cancel_from_elsewhere(self):
        self.act = lambda p: ctx.cancel()
        with self.assertRaises(libsd.CancelledError):
            self.sampler.sample(self.cond, self.uncond)
        self.still_works()

    def test_interrupt(self):
        before = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.act = lambda p: os.kill(os.getpid(), signal.SIGINT)
            with self.assertRaises(KeyboardInterrupt):
                self.sampler.sample(self.cond, self.uncond)
            self.assertEqual(self.calls, 1)

            # From outside, while C code runs: most likely not in the callback.
            self.act = lambda p: None
            self.calls = 0
            with model.sampler(**{**RUN, "steps": 1000}) as long:
                timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
                timer.start()
                with self.assertRaises(KeyboardInterrupt):
                    for _ in range(50):
                        long.sample(self.cond, self.uncond)
                timer.join()
            self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)
        finally:
            signal.signal(signal.SIGINT, before)
        self.still_works()

    def test_no_calls_within(self):
        caught = []

        def act(p):
            for call in (
                lambda: self.sampler.step(),
                lambda: self.sampler.sample(self.cond, self.uncond),
                lambda: self.sampler.begin(self.cond, self.uncond),
            ):
                try:
                    call()
                except libsd.StateError as error:
                    caught.append(str(error))

        self.act = act
        np.testing.assert_array_equal(self.sampler.sample(self.cond, self.uncond), self.whole)
        self.assertEqual(len(caught), 3 * 4, caught)
        self.still_works()


if __name__ == "__main__":
    main()
