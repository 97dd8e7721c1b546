"""Statuses of the library as exceptions."""

import enum


class Status(enum.IntEnum):
    """sd_status. The numbers are part of the ABI."""

    OK = 0
    ARGUMENT = 1
    MEMORY = 2
    IO = 3
    FORMAT = 4
    MODEL = 5
    UNSUPPORTED = 6
    BACKEND = 7
    STATE = 8
    CANCELLED = 9
    INTERNAL = 10


class Error(Exception):
    """A call failed. `status` is its Status (a plain int where the library is newer than this
    package); str() is the library's sentence."""

    status: int = Status.INTERNAL

    def __init__(self, sentence: str, status: "int | None" = None) -> None:
        super().__init__(sentence)
        if status is not None:
            self.status = status


class ArgumentError(Error, ValueError):
    """An argument is out of range, or does not fit another."""

    status = Status.ARGUMENT


class OutOfMemoryError(Error, MemoryError):
    """The allocator, or the device, has no memory left."""

    status = Status.MEMORY


class FileError(Error):
    """A file cannot be opened, read or written."""

    status = Status.IO


class FormatError(Error):
    """A file's content is damaged or not of the expected format."""

    status = Status.FORMAT


class ModelError(Error):
    """A tensor is missing, of another shape, or unexpected."""

    status = Status.MODEL


class UnsupportedError(Error):
    """A well-formed file or request that this build cannot serve."""

    status = Status.UNSUPPORTED


class BackendError(Error):
    """The processor backend is absent or failed."""

    status = Status.BACKEND


class StateError(Error):
    """The call does not fit the handle's state: a step before begin, a handle that is closed."""

    status = Status.STATE


class CancelledError(Error):
    """Context.cancel() or a callback ended the run. The handles stay usable."""

    status = Status.CANCELLED


class InternalError(Error):
    """A bug in libsd; please report the sentence."""

    status = Status.INTERNAL


_classes = {int(cls.status): cls for cls in Error.__subclasses__()}


def from_status(status: int, sentence: str) -> Error:
    cls = _classes.get(status)
    return cls(sentence) if cls else Error(sentence, status)
