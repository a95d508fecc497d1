"""Standard output and error as the program finds them: of any encoding, closed, or a pipe whose reader has gone."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO, cast

GONE = 141
"""The exit code if the reader of the output has gone, as in ``| head``: 128 and the number of SIGPIPE."""

_ESCAPED = "cdc.escaped"
_PLANES = 0x10000
_STDERR = 2
# Errors of writing the output that are no bugs: a full disk, a quota or a limit. Not errors of the network.
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Closed(OSError):
    """Standard output is closed (``>&-``), and something was written to it."""


class _ClosedOutput(io.TextIOBase):
    """Stands in for a standard output that is closed: Python would lose what is printed, and say nothing."""

    encoding = "utf-8"
    errors = "strict"

    def write(self, text: str) -> int:
        raise Closed(errno.EBADF, "it is closed")


def prepare() -> None:
    r"""Make both streams take every character, and a closed standard output report itself.

    A character that the encoding of the terminal or the locale lacks is written as ``\u2026``, which JSON reads back.
    """
    codecs.register_error(_ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)
    if sys.stdout is None:
        _keep_standard_descriptors()
        sys.stdout = cast("TextIO", _ClosedOutput())


def is_write_error(error: OSError) -> bool:
    """Whether the output could not be written; otherwise the error is about something else."""
    return isinstance(error, Closed) or error.errno in _WRITE_ERRORS


def drop() -> None:
    """Let what is still in the buffer go nowhere: Python would write it at exit, and fail again."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _keep_standard_descriptors() -> None:
    """Else a connection could get the number of standard output, and what a library prints would be sent over it."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(opened)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = (unit for each in error.object[error.start : error.end] for unit in _utf16(ord(each)))
    return "".join(f"\\u{unit:04x}" for unit in units), error.end


def _utf16(number: int) -> Iterator[int]:
    if number < _PLANES:
        yield number
        return
    yield 0xD800 + ((number - _PLANES) >> 10)
    yield 0xDC00 + ((number - _PLANES) & 0x3FF)
