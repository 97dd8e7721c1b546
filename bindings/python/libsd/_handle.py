"""What the library's handles have in common, and callbacks that may raise."""

import contextlib
import signal
import threading

from . import _ffi
from .errors import StateError


class Handle:
    """Owns one handle of the library: free it with close(), `with`, or by letting it go."""

    _free = None  # the library's function, set by the subclass

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    @property
    def _address(self) -> int:
        pointer = getattr(self, "_pointer", None)
        if not pointer:
            raise StateError(f"the {type(self).__name__} is closed")
        return pointer

    @property
    def closed(self) -> bool:
        return not getattr(self, "_pointer", None)

    def close(self) -> None:
        """Gives the handle back. Closing twice does nothing."""
        pointer, self._pointer = getattr(self, "_pointer", None), None
        if pointer:
            type(self)._free(pointer)

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class Guard:
    """Keeps what a callback raised until the library has returned.

    The C code between cannot carry an exception: the callback reports "cancel", and leave() raises
    what happened in its place.
    """

    def __init__(self) -> None:
        self.exception = None
        self.calling = False

    def call(self, function, *arguments) -> bool:
        """Whether the callback wants to end the run."""
        if self.exception is not None:
            return True
        try:
            self.calling = True
            return bool(function(*arguments))
        except BaseException as exception:
            self.exception = exception
            return True
        finally:
            self.calling = False

    def leave(self, status: int, context: "int | None") -> None:
        exception, self.exception = self.exception, None
        if exception is not None:
            raise exception
        _ffi.check(status, context)

    @contextlib.contextmanager
    def interruptible(self):
        """Ctrl-C ends the run at the next callback.

        Python handles signals between two instructions of the main thread, in a run thus at the
        first instruction of a callback, where nothing can catch the exception: ctypes would print
        and drop it. So the signal is noted instead while the library runs, unless the program has a
        handler of its own.
        """
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def note(_number, _frame):
            if self.calling:
                raise KeyboardInterrupt
            self.exception = KeyboardInterrupt()

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
