"""Calls of the library: failures as exceptions, callbacks that may raise, and Ctrl-C.

While the library computes, Python runs no code in that thread, and so no handler of a signal. A
call that the main thread makes therefore has two helpers for its time. A handler of SIGINT that
stands in for the program's own keeps what that one raises until the library has returned, since
ctypes would print and drop it. And where that one is Python's, which raises KeyboardInterrupt, a
thread of this package hears of the signal at once (signal.set_wakeup_fd) and cancels the call's
context. Both are undone when the call returns. Calls of other threads leave the signals alone, as
Python does.
"""

import contextlib
import os
import signal
import socket
import threading

from . import _ffi
from ._ffi import lib

_STEP = 0.02  # seconds between two cancellations: one that comes before the call began is no use


class _Thread(threading.local):
    def __init__(self) -> None:
        self.calls = []  # that this thread is in: a callback may make others


_thread = _Thread()


class Call:
    """One call of the library, and what ended it: from Python's side, and from the library's."""

    def __init__(self, context: "int | None") -> None:
        self.context = context
        self.exception = None
        self.failure = None  # what the library returned, as an exception
        self.calling = False  # a function of the user's, which may raise as it likes
        self.told = False  # that function of a signal

    def __enter__(self) -> "Call":
        main = threading.current_thread() is threading.main_thread()
        calls = _thread.calls
        try:
            calls.append(self)
            if main and len(calls) == 1:
                _interrupts.install()
            if main:
                _interrupts.watch(self)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception) -> None:
        main = threading.current_thread() is threading.main_thread()
        calls = _thread.calls
        try:
            if main:
                _interrupts.watch(calls[-2] if len(calls) > 1 else None)
            if main and len(calls) == 1:
                _interrupts.remove()
        finally:
            if self in calls:  # not where a signal came before it was
                calls.remove(self)

    def end(self, exception: BaseException) -> None:
        """Ends the call with an exception; the first counts."""
        if self.exception is None:
            self.exception = exception
        if self.context:
            lib.sd_context_cancel(self.context)

    def callback(self, function, *arguments) -> bool:
        """What a callback returns to the library: whether the call is to end."""
        if self.exception is not None:
            return True
        try:
            try:
                self.calling = True
                return bool(function(*arguments))
            finally:
                if self.told:
                    self.told = False
                    _interrupts.settle()
                self.calling = False
        except BaseException as exception:
            self.calling = False
            self.exception = exception
            return True

    def result(self) -> None:
        """Raises what went wrong: Python's side first."""
        exception, self.exception, self.failure = self.exception or self.failure, None, None
        try:
            if exception is not None:
                raise exception
        finally:
            del exception  # its traceback has this frame


def call(context: "int | None", function, *arguments) -> None:
    """Calls a function of the library that returns a status, and raises what went wrong."""
    with Call(context) as this:
        if this.exception is None:
            this.failure = _ffi.failure(function(*arguments))
    this.result()


def callback(function, *arguments) -> bool:
    """Calls a function of the user's from a callback of the library."""
    return _thread.calls[-1].callback(function, *arguments)


# --- SIGINT


class _Interrupts:
    """Of the process: signals belong to its main thread."""

    def __init__(self) -> None:
        self.program = signal.default_int_handler  # the handler that relay stands in for
        self.seen = False  # a signal came since the outermost call began
        self.waker = None

    def install(self) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):  # ignored, the system's, or not Python's
            return
        if handler is not _relay:
            self.program = handler
        self.seen = False
        with contextlib.suppress(ValueError):  # not the main interpreter
            signal.signal(signal.SIGINT, _relay)
            if self.program is signal.default_int_handler:
                self.waker = _waker()
        if self.waker:
            self.waker.install()

    def watch(self, call: "Call | None") -> None:
        if self.waker:
            self.waker.watch(call)

    def settle(self) -> None:
        """A signal was seen, so that its byte must not end what comes next."""
        if self.waker:
            self.waker.settle()

    def remove(self) -> None:
        waker, self.waker = self.waker, None
        if waker:
            waker.remove()
            if self.seen:
                waker.settle()
        if signal.getsignal(signal.SIGINT) is _relay:
            signal.signal(signal.SIGINT, self.program)


_interrupts = _Interrupts()


def _relay(number, frame) -> None:
    """Stands in for the program's handler of SIGINT while the library runs."""
    _interrupts.seen = True
    try:
        _interrupts.program(number, frame)
    except BaseException as exception:
        call = _thread.calls[-1] if _thread.calls else None
        if call and not call.calling:
            call.end(exception)
            return
        if call:
            call.told = True
        raise


class _Waker:
    """A thread that is told of signals as they come."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.call = None
        self.program_fd = -1
        self.emptied = threading.Event()
        self.reader, self.writer = socket.socketpair()
        self.writer.setblocking(False)
        threading.Thread(target=self._run, name="libsd signals", daemon=True).start()

    def install(self) -> None:
        fd = self.writer.fileno()
        found = signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
        if found != fd:
            self.program_fd = found

    def remove(self) -> None:
        found = signal.set_wakeup_fd(self.program_fd)
        if found != self.writer.fileno():  # a callback set another
            signal.set_wakeup_fd(found)

    def settle(self) -> None:
        """Waits until all that was written is read."""
        self.emptied.clear()
        with contextlib.suppress(OSError):
            self.writer.send(b"\0")
            self.emptied.wait(1.0)

    def watch(self, call: "Call | None") -> None:
        with self.lock:
            self.call = call

    def _run(self) -> None:
        while True:
            for number in self.reader.recv(1):
                if number == 0:
                    self.emptied.set()
                    continue
                if self.program_fd != -1:
                    with contextlib.suppress(OSError):
                        os.write(self.program_fd, bytes([number]))
                if number == signal.SIGINT:
                    self._cancel(self.call)

    def _cancel(self, call: "Call | None") -> None:
        while call:
            with self.lock:  # the context is there while the call is
                if self.call is not call or call.calling:
                    return
                if call.context:
                    lib.sd_context_cancel(call.context)
            threading.Event().wait(_STEP)


_the_waker = None


def _waker() -> "_Waker | None":
    global _the_waker
    if _the_waker is None:
        with contextlib.suppress(OSError, RuntimeError):  # no descriptor or thread is left
            _the_waker = _Waker()
    return _the_waker


def _after_fork() -> None:
    """The child has no thread that listens, and the parent's must not hear of its signals."""
    global _the_waker
    waker, _the_waker = _the_waker, None
    if waker and _interrupts.waker:
        _interrupts.waker = None
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(waker.program_fd)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
