"""What the tests share: the tiny random model on the CPU.

Needs LIBSD_LIBRARY, SD_TEST_TINY_FOLDER and SD_TEST_TINY_FILE in the environment, and NumPy."""

import os
import sys
import unittest

try:
    import numpy as np  # noqa: F401
except ImportError:
    print("skipped: NumPy is not installed")
    sys.exit(77)

import libsd

FOLDER = os.environ["SD_TEST_TINY_FOLDER"]
FILE = os.environ["SD_TEST_TINY_FILE"]

SIDE = 64
RUN = {"steps": 4, "width": SIDE, "height": SIDE, "seed": 7}

ctx = libsd.Context("cpu", threads=2)
model = ctx.load(FOLDER)


def conditioning():
    return model.encode_text("a red boat"), model.encode_text("")


def main():
    """Runs the tests of the program that calls it."""
    program = unittest.main(verbosity=2, exit=False)
    model.close()
    ctx.close()
    sys.exit(not program.result.wasSuccessful())
