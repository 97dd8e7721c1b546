"""multiprocessing with fork: children paint with the parent's model, close it, and end."""

import multiprocessing
import os
import sys
import threading
import unittest

from tiny import FOLDER, RUN, ctx, main, model  # first: may skip

import numpy as np

import libsd

SECONDS = 120  # of a child; it needs a hundredth
ONE_STEP = {**RUN, "steps": 1}


def paint(seed):
    return model.txt2img("a red boat", **{**ONE_STEP, "seed": seed})


def check(seed, expected):
    assert np.array_equal(paint(seed), expected)


def check_and_close(seed, expected):
    check(seed, expected)
    model.close()
    ctx.close()


def close_first(seed, expected):
    model.close()
    ctx.close()
    with libsd.Context("cpu", threads=2) as other, other.load(FOLDER) as again:
        image = again.txt2img("a red boat", **{**ONE_STEP, "seed": seed})
    assert np.array_equal(image, expected)


class Painter(threading.Thread):
    """Paints until it is told to stop."""

    def __init__(self):
        super().__init__()
        self.quit = False

    def run(self):
        while not self.quit:
            paint(0)


@unittest.skipUnless("fork" in multiprocessing.get_all_start_methods(), "no fork here")
class ForkTest(unittest.TestCase):
    def setUp(self):
        self.fork = multiprocessing.get_context("fork")

    def run_child(self, function, *arguments):
        child = self.fork.Process(target=function, args=arguments)
        child.start()
        child.join(SECONDS)
        code = child.exitcode
        if code is None:
            child.kill()
            child.join()
        self.assertEqual(code, 0, "None is a child that hung")

    def test_pool(self):
        expected = [paint(seed) for seed in range(4)]
        with self.fork.Pool(2) as pool:
            found = pool.map_async(paint, range(4)).get(timeout=SECONDS)
        for ours, theirs in zip(expected, found):
            self.assertTrue(np.array_equal(ours, theirs))

    def test_close(self):
        expected = paint(1)
        self.run_child(check_and_close, 1, expected)
        self.run_child(close_first, 1, expected)
        check(1, expected)

    def test_beside_a_thread(self):
        expected = paint(2)
        painter = Painter()
        painter.start()
        try:
            for _ in range(3):
                self.run_child(check, 2, expected)
                self.run_child(check_and_close, 2, expected)
        finally:
            painter.quit = True
            painter.join()

    def test_os_fork(self):
        expected = paint(3)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                check_and_close(3, expected)
                code = 0
            finally:
                os._exit(code)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)


if __name__ == "__main__":
    sys.stdout.flush()
    main()
