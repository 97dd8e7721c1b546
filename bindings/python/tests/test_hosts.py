"""What a program does beside its calls: it closes handles in callbacks and from other threads, lets
several threads use one sampler, and is interrupted."""

import contextlib
import os
import signal
import sys
import threading
import time
import unittest

from tiny import FILE, FOLDER, RUN, SIDE, ctx, main, model  # first: may skip

import numpy as np

import libsd

COND, UNCOND = model.encode_text("a red boat"), model.encode_text("")
LATENT = ctx.randn((1, 4, 8, 8), seed=1)
PIXELS = np.zeros((1, 3, SIDE, SIDE), np.float32)
IMAGE = np.zeros((SIDE, SIDE, 3), np.uint8)

# Calls of a model, and of a sampler.
OF_MODEL = {
    "info": lambda m: m.info,
    "unexpected": lambda m: m.unexpected,
    "tokenize": lambda m: m.tokenize("a"),
    "token_text": lambda m: m.token_text(5),
    "encode_text": lambda m: m.encode_text(["a"] * 3),
    "encode_tokens": lambda m: m.encode_tokens(np.zeros(77, np.int32)),
    "vae_encode": lambda m: m.vae_encode(PIXELS),
    "vae_decode": lambda m: m.vae_decode(LATENT),
    "tiled": lambda m: m.vae_decode(LATENT, tile=4),
    "to_images": lambda m: m.to_images(PIXELS),
    "to_pixels": lambda m: m.to_pixels(IMAGE),
    "add_noise": lambda m: m.add_noise(LATENT, LATENT, 5),
    "unet_predict": lambda m: m.unet_predict(LATENT, 5, COND),
    "training_loss": lambda m: m.training_loss(LATENT, LATENT, 5, COND),
    "alphas_cumprod": lambda m: m.alphas_cumprod,
    "memory_estimate": lambda m: m.memory_estimate(**RUN),
    "work_estimate": lambda m: m.work_estimate(**RUN),
    "sampler": lambda m: m.sampler(**RUN),
    "txt2img": lambda m: m.txt2img("a", **RUN),
    "img2img": lambda m: m.img2img("a", IMAGE, **RUN),
    "inpaint": lambda m: m.inpaint("a", IMAGE, IMAGE, **RUN),
}
OF_SAMPLER = {
    "sample": lambda s: s.sample(COND, UNCOND),
    "begin": lambda s: s.begin(COND, UNCOND),
    "steps": lambda s: list(s.steps(COND, UNCOND)),
    "last steps": lambda s: s.sample(COND, UNCOND, LATENT, last_steps=2),
    "encode": lambda s: s.stochastic_encode(LATENT, 1),
    "remaining": lambda s: s.remaining,
    "timesteps": lambda s: s.timesteps,
    "set_mask": lambda s: s.begin(COND, UNCOND) or s.set_mask(None),
}


class ClosingTest(unittest.TestCase):
    def test_in_the_progress_callback(self):
        expected = model.txt2img("a", **RUN)
        for closed in ("context", "model", "both"):
            with self.subTest(closed):
                context = libsd.Context("cpu", threads=1)
                own = context.load(FOLDER)

                def close(_progress):
                    if closed != "context":
                        own.close()
                    if closed != "model":
                        context.close()

                images = own.txt2img("a", **RUN, progress=close)
                np.testing.assert_array_equal(images, expected)
                self.assertEqual(own.closed, closed != "context")
                self.assertEqual(context.closed, closed != "model")
                own.close()
                with self.assertRaisesRegex(libsd.StateError, "the Model is closed"):
                    own.txt2img("a", **RUN)

    def test_a_sampler_in_its_callback(self):
        ways = {
            "sample": lambda s: s.sample(COND, UNCOND),
            "steps": lambda s: list(s.steps(COND, UNCOND)),
            "last steps": lambda s: s.sample(COND, UNCOND, LATENT, last_steps=2),
        }
        for name, way in ways.items():
            with self.subTest(name):
                seen = []

                def close(progress):
                    seen.append(progress.step)
                    sampler.close()
                    sampler.close()
                    self.assertEqual(progress.latent().shape, LATENT.shape)
                    with self.assertRaisesRegex(libsd.StateError, "the Sampler is closed"):
                        sampler.latent

                sampler = model.sampler(**RUN, progress=close)
                with self.assertRaisesRegex(libsd.CancelledError, "closed while it sampled"):
                    way(sampler)
                self.assertEqual(seen, [1])
                self.assertTrue(sampler.closed)

    def test_in_other_callbacks(self):
        context = libsd.Context("cpu", threads=1)
        own = context.load(FOLDER)

        def correct(e_t, _x, _t):
            own.close()
            context.close()
            return e_t

        self.assertEqual(len(own.txt2img("a", **RUN, score_corrector=correct)), 1)
        context = libsd.Context("cpu", threads=1)
        with context.load(FOLDER, progress=lambda _done, _total: context.close()) as loaded:
            self.assertEqual(len(loaded.encode_text("a")), len(COND))
        told = []

        def log(_level, message):
            told.append(message)
            context.close()

        context = libsd.Context("cpu", threads=1)  # the first lines come before it is there
        context = libsd.Context("cpu", threads=1, log=log, log_level="debug")
        with self.assertRaisesRegex(libsd.FileError, "/nonexistent"):
            context.list_checkpoint("/nonexistent")
        self.assertTrue(any("/nonexistent" in line for line in told))

    def until_closed(self, handle, function):
        """Calls in a thread until the handle is closed here; what the thread ended with."""
        calls, ended = [], []

        def work():
            try:
                while True:
                    function(handle)
                    calls.append(1)
            except Exception as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        while not calls and not ended:
            time.sleep(0.001)
        handle.close()
        thread.join()
        return ended[0]

    def test_a_model_beside_its_calls(self):
        for name, function in OF_MODEL.items():
            with self.subTest(name), libsd.Context("cpu", threads=1) as context:
                own = context.load(FOLDER)
                error = self.until_closed(own, function)
                self.assertIsInstance(error, libsd.StateError)
                self.assertRegex(str(error), "the Model is closed")

    def test_a_sampler_beside_its_calls(self):
        for name, function in OF_SAMPLER.items():
            with self.subTest(name):
                error = self.until_closed(model.sampler(**RUN), function)
                self.assertIsInstance(error, (libsd.StateError, libsd.CancelledError))
                self.assertRegex(str(error), "the Sampler (is closed|was closed while it sampled)")

    def test_a_context_beside_its_calls(self):
        for function in (
            lambda c: c.randn((1000,), seed=1),
            lambda c: c.device,
            lambda c: c.cancel(),
            lambda c: c.list_checkpoint(FILE),
            lambda c: c.load(FOLDER),
        ):
            error = self.until_closed(libsd.Context("cpu", threads=1), function)
            self.assertRegex(str(error), "the Context is closed")

    def test_with_ends_while_a_thread_samples(self):
        begun, results = threading.Event(), []

        def sample():
            try:
                results.append(sampler.sample(COND, UNCOND))
            except libsd.Error as error:
                results.append(error)

        with libsd.Context("cpu", threads=1) as context, context.load(FOLDER) as own:
            options = {**RUN, "steps": 1000, "progress": lambda _progress: begun.set()}
            with own.sampler(**options) as sampler:
                thread = threading.Thread(target=sample)
                thread.start()
                begun.wait()
        thread.join()
        self.assertIsInstance(results[0], libsd.CancelledError)

    def test_closed_handles_tell_no_older_sentence(self):
        context = libsd.Context("cpu", threads=1)
        own = context.load(FOLDER)
        sampler = own.sampler(**RUN)
        with self.assertRaises(libsd.FileError):
            context.load("/nonexistent")
        for handle, calls in ((sampler, OF_SAMPLER), (own, OF_MODEL)):
            handle.close()
            for name, function in calls.items():
                with self.subTest(name), self.assertRaisesRegex(libsd.StateError, "is closed"):
                    function(handle)


class SharedSamplerTest(unittest.TestCase):
    def test_three_threads(self):
        with model.sampler(**RUN) as sampler:
            expected = sampler.sample(COND, UNCOND)
            good, refused = [], []

            def work():
                for _ in range(8):
                    try:
                        good.append(sampler.sample(COND, UNCOND))
                    except libsd.StateError as error:
                        refused.append(str(error))

            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(len(good) + len(refused), 24)
            for latent in good:
                np.testing.assert_array_equal(latent, expected)
            for sentence in refused:
                self.assertRegex(sentence, "another thread is using this sampler")

    def test_another_thread_is_refused_in_a_callback(self):
        errors = []

        def other(progress):
            for function in (lambda: sampler.latent, progress.latent, lambda: sampler.preview()):
                try:
                    function()
                except libsd.StateError as error:
                    errors.append(str(error))

        def ask(progress):
            thread = threading.Thread(target=other, args=(progress,))
            thread.start()
            thread.join()

        with model.sampler(**RUN, progress=ask) as sampler:
            sampler.sample(COND, UNCOND)
        self.assertEqual(len(errors), 3 * RUN["steps"])

    def test_an_exception_stays_in_its_thread(self):
        """A callback's exception is raised by the call that it was called from."""
        begun, go_on, caught = threading.Event(), threading.Event(), []

        def raise_late(_progress):
            begun.set()
            go_on.wait()
            raise KeyError("mine")

        def work():
            try:
                sampler.sample(COND, UNCOND)
            except KeyError as error:
                caught.append(error)

        with model.sampler(**RUN, progress=raise_late) as sampler:
            thread = threading.Thread(target=work)
            thread.start()
            begun.wait()
            with self.assertRaisesRegex(libsd.StateError, "another thread"):
                sampler.sample(COND, UNCOND)
            go_on.set()
            thread.join()
        self.assertEqual(len(caught), 1)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


@contextlib.contextmanager
def interrupted(after=0.1):
    timer = threading.Timer(after, interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.join()


class InterruptTest(unittest.TestCase):
    def setUp(self):
        before = signal.getsignal(signal.SIGINT)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def check_signals(self):
        self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)
        self.assertEqual(signal.set_wakeup_fd(-1), -1)
        with self.assertRaises(KeyboardInterrupt):
            interrupt()
            time.sleep(5)

    def ends(self, function):
        """Ctrl-C ends a function that would go on for long."""
        with self.assertRaises(KeyboardInterrupt), interrupted():
            for _ in range(100000):
                function()
        self.check_signals()

    def test_every_stage(self):
        with model.sampler(**{**RUN, "steps": 1000}) as sampler:
            stages = {
                "load": lambda: ctx.load(FOLDER),
                "list": lambda: ctx.list_checkpoint(FILE),
                "text": lambda: model.encode_text(["a"] * 100),
                "vae_encode": lambda: model.vae_encode(PIXELS),
                "vae_decode": lambda: model.vae_decode(LATENT),
                "unet_predict": lambda: model.unet_predict(LATENT, 5, COND),
                "training_loss": lambda: model.training_loss(LATENT, LATENT, 5, COND),
                "sample": lambda: sampler.sample(COND, UNCOND),
                "begin": lambda: sampler.begin(COND, UNCOND),
                "steps": lambda: list(sampler.steps(COND, UNCOND)),
                "txt2img": lambda: model.txt2img("a", **RUN),
                "preview": lambda: model.txt2img("a", **RUN, progress=lambda p: p.preview()),
                "callback": lambda: model.txt2img("a", **RUN, progress=lambda p: time.sleep(9)),
            }
            for name, function in stages.items():
                with self.subTest(name):
                    self.ends(function)
            again = model.encode_text("a red boat")
            np.testing.assert_array_equal(again.tensor(), COND.tensor())

    def test_within_one_call(self):
        """A call that calls nothing back is cancelled, not waited for."""
        texts = ["a"] * 2000
        begin = time.monotonic()
        model.encode_text(texts)
        whole = time.monotonic() - begin
        for _ in range(5):  # other programs take their time too
            begin = time.monotonic()
            with self.assertRaises(KeyboardInterrupt), interrupted(whole / 10):
                model.encode_text(texts)
                time.sleep(whole)
            if time.monotonic() - begin < 0.6 * whole:
                break
        else:
            self.fail("the call went on to its end")
        self.check_signals()

    def test_only_the_main_thread_is_interrupted(self):
        results, begun = [], threading.Event()

        def work():
            results.append(model.txt2img("a", **RUN, progress=lambda _progress: begun.set()))

        thread = threading.Thread(target=work)
        thread.start()
        begun.wait()
        with self.assertRaises(KeyboardInterrupt):
            interrupt()
            time.sleep(5)
        thread.join()
        np.testing.assert_array_equal(results[0], model.txt2img("a", **RUN))

    def test_a_handler_of_the_program(self):
        """It is called, once, in the main thread; what it raises ends the run."""
        called = []
        signal.signal(signal.SIGINT, lambda *_: called.append(threading.current_thread()))
        images = model.txt2img("a", **RUN, progress=lambda p: p.step == 2 and interrupt())
        self.assertEqual(called, [threading.main_thread()])
        self.assertEqual(len(images), 1)

        def stop(_number, _frame):
            raise TimeoutError("the program's")

        signal.signal(signal.SIGINT, stop)
        seen = []
        with model.sampler(**{**RUN, "steps": 1000}, progress=seen.append) as sampler:
            with self.assertRaisesRegex(TimeoutError, "the program's"), interrupted():
                for _ in range(1000):
                    sampler.sample(COND, UNCOND)
        self.assertIs(signal.getsignal(signal.SIGINT), stop)

    def test_an_ignored_signal(self):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        images = model.txt2img("a", **RUN, progress=lambda p: interrupt())
        self.assertEqual(len(images), 1)
        self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_IGN)

    def test_a_callback_that_catches_it(self):
        caught = []

        def progress(_progress):
            try:
                interrupt()
                time.sleep(5)
            except KeyboardInterrupt:
                caught.append(1)

        images = model.txt2img("a", **RUN, progress=progress)
        self.assertEqual(len(caught), RUN["steps"])
        np.testing.assert_array_equal(images, model.txt2img("a", **RUN))
        self.check_signals()

    def test_a_callback_that_sets_a_handler(self):
        def mine(_number, _frame):
            pass

        model.txt2img("a", **RUN, progress=lambda p: signal.signal(signal.SIGINT, mine) and None)
        self.assertIs(signal.getsignal(signal.SIGINT), mine)

    def test_the_wakeup_descriptor_of_the_program(self):
        """asyncio's, for one: it still hears of every signal."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        before = signal.set_wakeup_fd(writer)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        try:
            with self.assertRaises(KeyboardInterrupt):
                model.txt2img("a", **RUN, progress=lambda p: interrupt() or time.sleep(5))
            self.assertEqual(os.read(reader, 10), bytes([signal.SIGINT]))
            model.txt2img(
                "a", **RUN, progress=lambda p: os.kill(os.getpid(), signal.SIGUSR1) and None
            )
            self.assertEqual(signal.set_wakeup_fd(before), writer)
            self.assertIn(signal.SIGUSR1, os.read(reader, 10))
        finally:
            signal.set_wakeup_fd(before)
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
            os.close(reader)
            os.close(writer)

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_a_child_leaves_its_parent_alone(self):
        """A signal of a child that was forked in a callback is the child's."""

        def progress(p):
            if p.step > 1:
                return
            child = os.fork()
            if child == 0:
                with contextlib.suppress(KeyboardInterrupt):
                    interrupt()
                    time.sleep(5)
                os._exit(7)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 7)

        self.assertEqual(len(model.txt2img("a", **RUN, progress=progress)), 1)
        self.check_signals()


if __name__ == "__main__":
    sys.setswitchinterval(0.001)
    main()
