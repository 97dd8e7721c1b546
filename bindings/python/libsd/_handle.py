"""What the library's handles have in common."""

import _thread
import threading

from .errors import StateError


class Handle:
    """Owns one handle of the library: free it with close(), `with`, or by letting it go.

    Any thread may close it at any time, also in a callback: calls that use it go on, and the memory
    goes when the last of them returns.
    """

    _free = None  # the library's function, set by the subclass

    def __init__(self, pointer: int) -> None:
        # Reentrant, since a signal's handler may come in between and close or use the handle: it
        # finds the count as it was before or after, and whoever takes the pointer frees it.
        self._lock = threading.RLock()
        self._uses = 0
        self._closed = False
        self._pointer = pointer

    def _use(self) -> "_Use":
        """`with self._use() as address`: the handle is there until the block ends."""
        return _Use(self)

    @property
    def closed(self) -> bool:
        return getattr(self, "_closed", True)

    def close(self) -> None:
        """Gives the handle back. Closing twice does nothing."""
        if self.closed:
            return
        with self._lock:
            self._closed = True
            self._free_unused()

    def _free_unused(self) -> None:
        if self._closed and self._uses == 0:
            pointer = self.__dict__.pop("_pointer", None)
            if pointer:
                type(self)._free(pointer)

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except KeyboardInterrupt:
            # Python drops what __del__ raises, and to free a model takes long enough for Ctrl-C to
            # come just then: it is said once more, after this.
            threading.Timer(0.01, _thread.interrupt_main).start()


class _Use:
    def __init__(self, handle: Handle) -> None:
        self.handle = handle

    def __enter__(self) -> int:
        handle = self.handle
        if handle.closed:
            raise StateError(f"the {type(handle).__name__} is closed")
        with handle._lock:
            handle._uses += 1
            if not handle._closed:
                return handle._pointer
        self.__exit__()
        raise StateError(f"the {type(handle).__name__} is closed")

    def __exit__(self, *exception) -> None:
        handle = self.handle
        with handle._lock:
            handle._uses -= 1
            handle._free_unused()
