"""NumPy arrays as the library's tensors and back. Both ways copy."""

import contextlib
import ctypes

import numpy as np

from ._call import call
from ._ffi import c_float, c_int64, c_void_p, lib
from .errors import ArgumentError

MAX_DIMS = 5


@contextlib.contextmanager
def as_tensor(context: int, name: str, array):
    """A tensor with the values of an array (anything that NumPy makes float32 of), freed on
    leaving; None for None."""
    if array is None:
        yield None
        return
    values = np.ascontiguousarray(array, dtype=np.float32)
    if not 1 <= np.ndim(array) <= MAX_DIMS:
        raise ArgumentError(
            f"{name} has {np.ndim(array)} dimensions; 1 to {MAX_DIMS} were expected"
        )
    dims = (c_int64 * values.ndim)(*values.shape)
    pointer = c_void_p()
    data = values.ctypes.data_as(ctypes.POINTER(c_float)) if values.size else None
    try:
        call(context, lib.sd_tensor_new, context, values.ndim, dims, data, ctypes.byref(pointer))
        yield pointer
    finally:
        lib.sd_tensor_free(pointer)


def call_tensor(context: int, function, *arguments) -> np.ndarray:
    """Calls a function whose last parameter gets a tensor: the array of that."""
    pointer = c_void_p()
    try:
        call(context, function, *arguments, ctypes.byref(pointer))
        dims = lib.sd_tensor_dims(pointer)
        shape = tuple(dims[i] for i in range(lib.sd_tensor_n_dims(pointer)))
        return np.ctypeslib.as_array(lib.sd_tensor_data(pointer), shape=shape).copy()
    finally:
        lib.sd_tensor_free(pointer)
