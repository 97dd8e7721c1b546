"""The Python package on the tiny random model: loading, stages, errors, handles."""

import ctypes
import gc
import json
import os
import pathlib
import re
import tempfile
import threading
import unittest

from tiny import FILE, FOLDER, RUN, SIDE, ctx, conditioning, main, model  # first: may skip

import numpy as np

import libsd
from libsd import _ffi
from libsd._call import call


class ModelTest(unittest.TestCase):
    def test_library(self):
        self.assertRegex(libsd.version(), r"^\d+\.\d+\.\d+$")
        self.assertEqual(libsd.__version__, libsd.version())
        self.assertIn("openblas", libsd.build_info())
        self.assertIn("ddim", libsd.sampling_methods())
        self.assertIn("cpu", ctx.device)
        self.assertTrue(os.path.samefile(libsd.library_path(), os.environ["LIBSD_LIBRARY"]))

    def test_info(self):
        info = model.info
        self.assertEqual(info.layout, "diffusers")
        self.assertGreater(info.n_parameters, 1000)
        self.assertIs(info.has_vocabulary, True)
        self.assertEqual(model.unexpected, [])
        with ctx.load(FILE) as other:
            self.assertEqual(other.info.layout, "original")
            self.assertEqual(other.info.n_parameters, info.n_parameters)
            self.assertEqual(other.info.text_width, info.text_width)

    def test_checkpoint(self):
        tensors = ctx.list_checkpoint(FILE)
        self.assertGreater(len(tensors), 50)
        weights = {t.name: t for t in tensors}
        conv = weights["model.diffusion_model.input_blocks.0.0.weight"]
        self.assertEqual(conv.shape[1:], (4, 3, 3))
        self.assertIn(conv.type, ("F32", "F16", "BF16"))
        self.assertGreaterEqual(conv.n_bytes, 2 * int(np.prod(conv.shape)))

    def test_progress_and_cancel(self):
        calls = []
        model_again = ctx.load(FOLDER, progress=lambda done, total: calls.append((done, total)))
        model_again.close()
        self.assertEqual(calls[-1][0], calls[-1][1])
        self.assertGreater(len(calls), 10)
        with self.assertRaises(libsd.CancelledError) as caught:
            ctx.load(FOLDER, progress=lambda done, total: True)
        self.assertEqual(caught.exception.status, libsd.Status.CANCELLED)
        with self.assertRaisesRegex(ZeroDivisionError, "division"):
            ctx.load(FOLDER, progress=lambda done, total: 1 // 0)

    def test_load_forms(self):
        with libsd.Model.load(FOLDER, precision="full", strict=True) as own:
            self.assertEqual(own.info, model.info)
        vocab = os.path.join(FOLDER, "tokenizer")
        with libsd.Model.load(pathlib.Path(FILE), context=ctx, vocab=vocab) as file:
            np.testing.assert_array_equal(file.tokenize("a cat").ids, model.tokenize("a cat").ids)
        for use_ema in (None, False):
            ctx.load(FILE, use_ema=use_ema).close()
        with self.assertRaisesRegex(libsd.ModelError, "model_ema"):
            ctx.load(FILE, use_ema=True)

    def test_parts(self):
        with ctx.load(FILE, vae=FOLDER, unet=pathlib.Path(FOLDER) / "unet") as mixed:
            self.assertEqual(mixed.info.layout, "diffusers")
            self.assertEqual(mixed.unexpected, [])
        with self.assertRaisesRegex(libsd.ModelError, "no VAE"):
            ctx.load(FILE, vae=os.path.join(FOLDER, "unet"))

    def test_files(self):
        root = pathlib.Path(FOLDER)
        files = {
            "m/" + str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }
        with ctx.load("m", files=files) as inside:
            files.clear()
            self.assertEqual(inside.info, model.info)
            np.testing.assert_array_equal(
                inside.tokenize("a cat").ids, model.tokenize("a cat").ids
            )
        with self.assertRaisesRegex(libsd.FileError, "no such file"):
            ctx.load(FILE, files={"x": b""})

    def test_combine(self):
        with ctx.load(FILE) as other:
            both = model.combine(vae=other, unet=other)
            with self.assertRaisesRegex(libsd.ArgumentError, '"text_encoder"'):
                model.combine(clip=other)
        with both:
            self.assertEqual(both.info.layout, "original")
            self.assertEqual(both.info.n_parameters, model.info.n_parameters)
            np.testing.assert_array_equal(both.tokenize("a cat").ids, model.tokenize("a cat").ids)

    def test_adapters(self):
        golden = pathlib.Path(__file__).resolve().parents[3] / "tests" / "golden" / "data" / "adapters"
        lora, loha = golden / "lora-kohya.safetensors", golden / "loha.safetensors"
        with libsd.Adapter(ctx, lora) as adapter:
            self.assertEqual(adapter.info.kind, "LoRA")
            self.assertEqual(adapter.info.trigger_words, "golden style")
            adapted = model.adapt({adapter: 0.5, loha: (1, 0)})
        with adapted, ctx.load(FOLDER, adapters={lora: 0.5, loha: (1, 0)}) as loaded:
            self.assertEqual(adapted.info.n_adapters, 2)
            a, b = (m.encode_text(["a cat"]).tensor() for m in (adapted, loaded))
            np.testing.assert_array_equal(a, b)
            self.assertGreater(np.abs(a - model.encode_text(["a cat"]).tensor()).max(), 1e-3)
        with self.assertRaisesRegex(libsd.FileError, "nowhere"):
            model.adapt(["nowhere.safetensors"])

    def test_estimates(self):
        small = model.memory_estimate(**RUN)
        large = model.memory_estimate(**{**RUN, "batch": 3})
        self.assertGreater(small.weights, 0)
        parts = small.weights + max(small.text, small.unet, small.decode) + small.host
        self.assertEqual(small.peak, parts)  # on a CPU
        self.assertGreater(large.unet, small.unet)
        work = model.work_estimate(**RUN)
        self.assertGreater(work.step, 0)
        self.assertAlmostEqual(model.work_estimate(**RUN, batch=3).step / work.step, 3, delta=0.2)


def context(texts, **options):
    return model.encode_text(texts, **options).tensor("context")


class StagesTest(unittest.TestCase):
    def test_tokenize(self):
        info = model.info
        tokens = model.tokenize("a red boat")
        self.assertEqual((tokens.ids.dtype, tokens.ids.shape), (np.int32, (info.text_tokens,)))
        words = [model.token_text(int(i)) for i in tokens.ids[1 : tokens.n_used - 1]]
        self.assertEqual("".join(words), "a</w>red</w>boat</w>")
        self.assertIsNone(model.token_text(-1))
        long = model.tokenize("cat " * 200)
        self.assertEqual(long.n_used, 202)
        self.assertGreater(long.n_used, len(long.ids))

    def test_encode_text(self):
        info = model.info
        cond = model.encode_text(["a red boat", "Кот 🐈"])
        both = cond.tensor("context")
        self.assertEqual(both.dtype, np.float32)
        self.assertEqual(both.shape, (2, info.text_tokens, info.text_width))
        np.testing.assert_array_equal(both, context(["a red boat", "Кот 🐈"]))
        np.testing.assert_allclose(both[:1], context("a red boat"), atol=1e-5)
        self.assertEqual((len(cond), len(cond[1]), len(cond[:2])), (2, 1, 2))
        np.testing.assert_array_equal(cond[-1].tensor(), both[1:])
        np.testing.assert_array_equal(ctx.cond({"context": both}).tensor(), both)
        for rows in (2, slice(1, 1), slice(0, 2, 2)):
            with self.assertRaises(IndexError):
                cond[rows]
        with self.assertRaisesRegex(libsd.UnsupportedError, 'depth.*knows "context"'):
            cond.tensor("depth")
        with self.assertRaisesRegex(TypeError, "cond is ndarray"):
            model.unet_predict(np.zeros((1, 4, 8, 8)), 1, both)
        self.assertGreater(np.abs(both[0] - both[1]).max(), 1e-3)
        ids = model.tokenize("a red boat").ids
        np.testing.assert_array_equal(model.encode_tokens(ids).tensor(), context("a red boat"))
        long = context(["a (red:1.3) BREAK boat", "a"], weighted=True)
        self.assertEqual(long.shape, (2, 154, model.info.text_width))
        skipped = context("a red boat", clip_skip=2)
        self.assertFalse(np.allclose(skipped, context("a red boat"), atol=1e-3))
        np.testing.assert_array_equal(model.encode_tokens(ids, clip_skip=2).tensor(), skipped)
        twice = model.encode_tokens(np.stack([ids, ids])).tensor()
        np.testing.assert_allclose(twice[1], both[0], atol=1e-5)

    def test_vae(self):
        info = model.info
        r = np.random.default_rng(1)
        images = r.integers(0, 256, (2, SIDE, 96, 3), dtype=np.uint8)
        pixels = model.to_pixels(images)
        self.assertEqual((pixels.dtype, pixels.shape), (np.float32, (2, 3, SIDE, 96)))
        np.testing.assert_allclose(
            pixels, images.transpose(0, 3, 1, 2) / 127.5 - 1, rtol=0, atol=2e-7
        )
        np.testing.assert_array_equal(model.to_images(pixels), images)
        np.testing.assert_array_equal(model.to_pixels(images[0]), pixels[:1])
        latent = model.vae_encode(pixels)
        scale = info.latent_downscale
        shape = (2, info.latent_channels, SIDE // scale, 96 // scale)
        self.assertEqual(latent.shape, shape)
        np.testing.assert_array_equal(latent, model.vae_encode(pixels))
        noise = ctx.randn(shape, seed=3)
        sampled = model.vae_encode(pixels, noise)
        self.assertGreater(np.abs(sampled - latent).max(), 0)
        np.testing.assert_array_equal(model.vae_encode(pixels, 0 * noise), latent)
        decoded = model.vae_decode(latent)
        self.assertEqual(decoded.shape, pixels.shape)
        self.assertTrue(np.isfinite(decoded).all())
        # Strided and double arrays are taken as they read.
        twice = np.repeat(latent.astype(np.float64), 2, axis=3)[..., ::2]
        np.testing.assert_array_equal(model.vae_decode(twice), decoded)
        # One tile is the plain call; several are of the same shape and not the same numbers.
        np.testing.assert_array_equal(model.vae_decode(latent, tile=16), decoded)
        np.testing.assert_array_equal(model.vae_encode(pixels, noise, tile=64, overlap=1), sampled)
        tiled = model.vae_decode(latent, tile=6, overlap=2)
        self.assertEqual(tiled.shape, decoded.shape)
        self.assertGreater(np.abs(tiled - decoded).max(), 0)
        self.assertEqual(model.vae_encode(pixels, tile=8).shape, latent.shape)
        with self.assertRaisesRegex(libsd.ArgumentError, "overlap is 6"):
            model.vae_decode(latent, tile=6, overlap=6)

    def test_randn(self):
        # torch.manual_seed(0); torch.randn(4)
        expected = [1.5409960746765137, -0.293428897857666, -2.1787893772125244, 0.5684312582015991]
        np.testing.assert_allclose(ctx.randn([4], seed=0), expected, rtol=0, atol=1e-6)
        self.assertEqual(ctx.randn((2, 3, 4), seed=2**64 - 1, rng="cuda").shape, (2, 3, 4))

    def test_blocks(self):
        info = model.info
        alphas = model.alphas_cumprod
        self.assertEqual(alphas.shape, (info.train_timesteps,))
        self.assertTrue((np.diff(alphas) < 0).all())
        x0, noise = (ctx.randn((2, info.latent_channels, 8, 8), seed=s) for s in (1, 2))
        mixed = model.add_noise(x0, noise, 300)
        wanted = np.sqrt(alphas[300]) * x0 + np.sqrt(1 - alphas[300]) * noise
        np.testing.assert_allclose(mixed, wanted, atol=1e-6)
        cond = model.encode_text(["a", "b"])
        eps = model.unet_predict(x0, 300, cond)
        self.assertEqual(eps.shape, x0.shape)
        np.testing.assert_array_equal(eps, model.unet_predict(x0, [300, 300], cond))
        self.assertGreater(np.abs(eps - model.unet_predict(x0, [300, 5.5], cond))[1].max(), 0)

    def test_training_loss(self):
        info, a = model.info, model.alphas_cumprod[300]
        x0, noise = (ctx.randn((2, info.latent_channels, 8, 8), seed=s) for s in (1, 2))
        cond = model.encode_text(["a", "b"])
        loss = model.training_loss(x0, noise, 300, cond)
        x = np.sqrt(a) * x0 + np.sqrt(1 - a) * noise
        eps = model.unet_predict(x.astype(np.float32), 300, cond)
        simple = ((eps - noise) ** 2).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(loss.samples[:, 0], simple, rtol=1e-5)
        np.testing.assert_allclose(loss.total, simple.mean(), rtol=1e-5)
        options = dict(loss_type="l1", logvar=np.full(info.train_timesteps, 0.5), l_simple_weight=2)
        other = model.training_loss(x0, noise, [300, 300], cond, **options)
        l1 = np.abs(eps - noise).mean()
        np.testing.assert_allclose(other.total, 2 * (l1 / np.exp(0.5) + 0.5), rtol=1e-5)
        with self.assertRaisesRegex(libsd.ArgumentError, "timesteps.*1000"):
            model.training_loss(x0, noise, 1000, cond)


class CodebookTest(unittest.TestCase):
    """A VQ model of random weights, with a config and names of the golden tests."""

    @classmethod
    def setUpClass(cls):
        data = pathlib.Path(__file__).resolve().parents[3] / "tests" / "golden" / "data" / "ldm"
        header, offset, random = {}, 0, np.random.default_rng(1)
        values = []
        for line in (data / "celeba.tsv").read_text().splitlines():
            name, _, sizes = line.split("\t")
            shape = [int(size) for size in sizes.split(",") if size]
            values.append(random.uniform(-0.1, 0.1, shape).astype(np.float32).tobytes())
            end = offset + len(values[-1])
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
            offset = end
        text = json.dumps(header).encode()
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
            file.write(len(text).to_bytes(8, "little") + text + b"".join(values))
            file.flush()
            cls.vq = ctx.load(file.name, config=data / "celeba.yaml")
        cls.addClassCleanup(cls.vq.close)

    def test_ids(self):
        vq = self.vq
        self.assertEqual(vq.info.n_codes, 64)
        pixels = np.random.default_rng(2).uniform(-1, 1, (2, 3, 16, 32)).astype(np.float32)
        ids = vq.vae_encode_ids(pixels)
        self.assertEqual((ids.dtype, ids.shape), (np.int32, (2, 4, 8)))
        found, rows = vq.vae_quantize(vq.vae_encode(pixels))
        np.testing.assert_array_equal(found, ids)
        self.assertEqual(rows.shape, (2, 3, 4, 8))
        decoded = vq.vae_decode_ids(ids)
        np.testing.assert_array_equal(decoded, vq.vae_decode(rows))
        np.testing.assert_array_equal(decoded, vq.vae_decode_ids(ids.astype(np.int64)))
        sampled = vq.sampler(steps=2, method="ddim", quantize_denoised=True)
        with sampled as sampler:
            sampler.sample()
            x0 = sampler.pred_x0
        np.testing.assert_array_equal(vq.vae_quantize(x0)[1], x0)

    def test_errors(self):
        for ids, words in (
            (np.zeros((1, 2, 2)), "integers"),
            (np.zeros((2, 2), np.int32), "n, h, w"),
            (np.full((1, 1, 1), 64), "0 to 63"),
            (np.full((1, 1, 1), 2**40), "no index"),
        ):
            with self.assertRaisesRegex(libsd.ArgumentError, words):
                self.vq.vae_decode_ids(ids)
        with self.assertRaisesRegex(libsd.ArgumentError, "latent"):
            self.vq.vae_quantize(np.zeros((1, 4, 2, 2)))
        self.assertEqual(model.info.n_codes, 0)
        defaults = (model.info.default_method, model.info.default_spacing, model.info.default_steps)
        self.assertEqual(defaults, ("ddim", "leading", 50))
        self.assertEqual((model.info.default_guidance, model.info.guidance_embedding), (7.5, False))
        with self.assertRaisesRegex(libsd.UnsupportedError, "codebook"):
            model.vae_encode_ids(np.zeros((1, 3, SIDE, SIDE)))


class ErrorTest(unittest.TestCase):
    """Failures become exceptions with a sentence that names what was wrong."""

    def fails(self, cls, words, function, *args, **kwargs):
        with self.assertRaises(cls) as caught:
            function(*args, **kwargs)
        self.assertRegex(str(caught.exception), words)
        return caught.exception

    def test_load(self):
        error = self.fails(libsd.FileError, "/nowhere/model", ctx.load, "/nowhere/model")
        self.assertEqual(error.status, libsd.Status.IO)
        self.assertIsInstance(error, libsd.Error)
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
            file.write(b"\x08\0\0\0\0\0\0\0{\"a\": 1")
            file.flush()
            self.fails(libsd.FormatError, re.escape(file.name), ctx.load, file.name)
        self.fails(libsd.FileError, "/nowhere", ctx.load, FILE, vocab="/nowhere")
        self.fails(libsd.ArgumentError, "auto, full, autocast", ctx.load, FILE, precision="x")
        self.fails(libsd.BackendError, "abacus", libsd.Context, "abacus")

    def test_no_older_sentence(self):
        """A failure that has no handle is told, and not what failed before it on one."""
        self.fails(libsd.FileError, "/nowhere/model", ctx.load, "/nowhere/model")
        with ctx._use() as context:
            arguments = context, _ffi.lib.sd_model_get_info, None, _ffi.ModelInfo()
            self.fails(libsd.ArgumentError, "model is NULL", call, *arguments)

    def test_arguments(self):
        fails, bad = self.fails, libsd.ArgumentError
        fails(bad, "steps is -1", model.sampler, **{**RUN, "steps": -1})
        fails(bad, "width is 65", model.sampler, width=65)
        fails(bad, "elsewhere.*near it", model.sampler, method="elsewhere")
        fails(bad, "steps is 4294967300", model.sampler, steps=2**32 + 4)
        fails(bad, "seed is -1", model.sampler, seed=-1)
        fails(bad, "seeds has 1", model.sampler, batch=2, seeds=[1])
        fails(bad, "batch is 0", model.sampler, batch=0)
        fails(bad, "batch", model.txt2img, "a", batch=2000)
        fails(bad, "uniform, quad, linspace, trailing, karras", model.sampler, spacing="cubic")
        fails(bad, "cpu, cuda", model.sampler, rng="tpu")
        fails(bad, "eta", model.sampler, eta=float("nan"))
        fails(TypeError, "steps is float", model.sampler, steps=4.0)
        fails(TypeError, "stepz", model.txt2img, "a", stepz=4)
        fails(TypeError, "prompt is bytes", model.txt2img, b"a")
        fails(bad, "prompt has a zero", model.txt2img, "a\0b")
        fails(TypeError, "a text is int", model.encode_text, [1])
        fails(bad, "n_texts", model.encode_text, [])
        self.assertIsInstance(bad("x"), ValueError)

    def test_shapes(self):
        fails, bad = self.fails, libsd.ArgumentError
        fails(bad, "latent", model.vae_decode, np.zeros((1, 3, 8, 8)))
        fails(bad, "pixels", model.vae_encode, np.zeros((1, 3, 60, 64)))
        fails(bad, "latent has 0 dimensions", model.vae_decode, 1.0)
        fails(bad, "pixels has 6 dimensions", model.vae_encode, np.zeros((1,) * 6))
        fails(ValueError, "float", model.vae_decode, "text")
        fails(bad, "init is float64", model.img2img, "a", np.zeros((64, 64, 3)))
        fails(bad, "uint8", libsd.save_image, "/nowhere.png", np.zeros(5, np.uint8))
        fails(bad, "ids is float", model.encode_tokens, np.zeros(77))
        fails(bad, "ids", model.encode_tokens, np.full(77, 2**40))
        cond, _ = conditioning()
        fails(bad, "timesteps", model.unet_predict, np.zeros((1, 4, 8, 8)), [1, 2], cond)
        with model.sampler(**RUN) as sampler:
            fails(bad, "uncond", sampler.sample, cond)
            short = ctx.cond({"context": cond.tensor()[:, :5]})
            fails(bad, "uncond is", sampler.sample, cond, short)
            fails(bad, "noise", sampler.sample, cond, cond, noise=np.zeros((1, 4, 9, 9)))

    def test_states(self):
        cond, uncond = conditioning()
        sampler = model.sampler(**RUN)
        self.fails(libsd.StateError, "before", sampler.step)
        self.fails(libsd.StateError, "latent", lambda: sampler.latent)
        sampler.close()
        sampler.close()
        self.assertTrue(sampler.closed)
        self.fails(libsd.StateError, "Sampler is closed", sampler.sample, cond, uncond)
        self.fails(libsd.StateError, "Sampler is closed", lambda: sampler.remaining)
        with libsd.Context(threads=1) as gone:
            pass
        self.fails(libsd.StateError, "Context is closed", lambda: gone.device)
        self.fails(libsd.StateError, "Context is closed", gone.load, FOLDER)

    def test_no_vocabulary(self):
        if "built-in vocabulary: yes" in libsd.build_info():
            self.skipTest("a vocabulary is built in")
        with ctx.load(FILE) as file:
            if file.info.has_vocabulary:
                self.skipTest("there is a vocabulary beside the tiny file")
            self.fails(libsd.Error, "vocab.json", file.encode_text, "a cat")
            ids = model.tokenize("a cat").ids
            self.assertEqual(len(file.encode_tokens(ids)), 1)

    def test_log(self):
        lines = []
        log = {"log": lambda *line: lines.append(line), "log_level": "debug"}
        with libsd.Context("cpu", 1, **log) as own:
            with self.assertRaises(libsd.FileError):
                own.load("/nowhere/model")
        self.assertTrue(any("/nowhere/model" in text for _, text in lines), lines)
        self.assertLessEqual({level for level, _ in lines}, {"error", "warn", "info", "debug"})


class HandleTest(unittest.TestCase):
    """Nothing leaks: all memory of a context comes from an allocator that counts."""

    def setUp(self):
        self.blocks = blocks = {}
        lock = threading.Lock()
        libc = ctypes.CDLL(None)
        libc.aligned_alloc.restype = ctypes.c_void_p
        libc.aligned_alloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
        libc.free.argtypes = [ctypes.c_void_p]

        def alloc(_user, size, alignment):
            address = libc.aligned_alloc(alignment, -(-size // alignment) * alignment)
            with lock:
                blocks[address] = size
            return address

        def free(_user, address, _size):
            with lock:
                del blocks[address]
            libc.free(address)

        params = _ffi.ContextParams(
            backend=b"cpu", n_threads=2, allocate=_ffi.ALLOC_FN(alloc), deallocate=_ffi.FREE_FN(free)
        )
        self.context = libsd.Context._from_params(params)

    def work(self, own):
        cond, uncond = own.encode_text("a cat"), own.encode_text("")
        own.txt2img("a", **RUN)
        own.img2img("a", np.zeros((SIDE, SIDE, 3), np.uint8), steps=2)
        own.vae_encode(own.vae_decode(own.sampler(**RUN).sample(cond, uncond)))
        own.to_images(own.to_pixels(np.zeros((1, 8, 8, 3), np.uint8)))
        sampler = own.sampler(**RUN)
        for p in sampler.steps(cond, uncond):
            sampler.preview()
            sampler.latent = sampler.latent
            if p.step == 2:
                break
        for call in (
            lambda: own.sampler(steps=-1),
            lambda: sampler.sample(cond, own.encode_text(["a", "b", "c"])),
            lambda: own.vae_decode(np.zeros((1, 3, 8, 8))),
            lambda: own.txt2img("a", **RUN, progress=lambda p: True),
            lambda: own.img2img("a", np.zeros((64, 64, 3), np.uint8), steps=-1),
            lambda: own.context.load("/nowhere"),
            lambda: own.context.load(FOLDER, progress=lambda d, t: d > 5),
        ):
            with self.assertRaises(libsd.Error):
                call()

    def test_closed(self):
        with self.context:
            with self.context.load(FOLDER) as own:
                self.work(own)  # the first time fills caches
                gc.collect()
                before = len(self.blocks)
                self.assertGreater(before, 0)
                self.work(own)
                gc.collect()
                self.assertEqual(len(self.blocks), before)
        gc.collect()
        self.assertEqual(len(self.blocks), 0)

    def test_let_go(self):
        own = self.context.load(FOLDER)
        sampler = own.sampler(**RUN)
        cond = own.encode_text("a")
        # Any order: a handle keeps what it was made from alive.
        self.context.close()
        own.close()
        self.assertEqual(sampler.sample(cond, cond).shape[0], 1)
        self.assertGreater(len(self.blocks), 0)
        del sampler, own, cond
        gc.collect()
        self.assertEqual(len(self.blocks), 0)


if __name__ == "__main__":
    main()
