"""Files of saved decisions: written by ``plan --save``, and read by ``plan --against-recording``.

The first line says which version of the program decided. Files without it are read too, such as the output of
``plan --json``.
"""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from consumer import __version__
from consumer.errors import DECODE_ERRORS, ConfigError, Undecodable
from consumer.planning.saved_decision import SavedDecision, from_line, to_line
from consumer.source import recording

OPTION = "--against-recording"


class _Head(msgspec.Struct):
    """The first line."""

    decided_by: str


@contextmanager
def writer(path: Path) -> Iterator[Callable[[SavedDecision], None]]:
    """Create a file, with gzip if its name ends with .gz; the block writes decisions to it.

    If the block fails, an earlier file of this name is as it was: another version may have written it.

    Raises:
        ConfigError: the file can't be created.
    """
    with _replaced(path) as raw:
        # No time and no name in the gzip header, so that the same decisions give the same file.
        out: IO[bytes] = (
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0)  # type: ignore[assignment]
            if path.suffix == ".gz"
            else raw
        )
        out.write(msgspec.json.encode(_Head(__version__)) + b"\n")
        yield lambda decision: _write(out, decision)
        if out is not raw:
            out.close()


@contextmanager
def _replaced(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside ``path`` that takes its place after the block; a device or a pipe is written as it is."""
    try:
        is_file = path.is_file() or not path.exists()
        target = path.resolve() if is_file else path
        part = target.with_name(f"{target.name}.part") if is_file else target
        opened = part.open("wb")
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other, before Python 3.13
        problem = error.strerror if isinstance(error, OSError) else os.strerror(errno.ELOOP)
        raise ConfigError("--save", f"{path}: {problem}", allowed="a file that can be written") from None
    try:
        with opened:
            yield opened
        if is_file:
            part.replace(target)
    except BaseException:
        if is_file:
            part.unlink(missing_ok=True)
        raise


def _write(out: IO[bytes], decision: SavedDecision) -> None:
    out.write(to_line(decision).encode() + b"\n")


class SavedFile:
    """The decisions of a file, one after the other. ``decided_by``: the version that decided, or ""."""

    def __init__(self, path: Path) -> None:
        """Open the file, and read its first line.

        Raises:
            ConfigError: the file can't be read.
        """
        self._path = path
        self._lines = enumerate(recording.lines(path, OPTION, "a file that plan --save wrote"), start=1)
        self._first: tuple[int, bytes] | None = next(self._lines, None)
        self.decided_by = ""
        if self._first is not None:
            try:
                self.decided_by = msgspec.json.decode(self._first[1], type=_Head).decided_by
                self._first = None
            except DECODE_ERRORS:
                pass  # a decision, or no file of this kind: that is found out later

    def of(self, places: Iterable[str]) -> Iterator[tuple[bytes, SavedDecision]]:
        """The next decisions, each with its line; ``places``: of the records that they are about.

        Raises:
            ConfigError: the file has another form, or its decisions are about other records.
        """
        for place in places:
            number, line = self._next(place)
            try:
                found = from_line(line)
            except Undecodable as error:
                raise ConfigError(
                    OPTION, f"{self._path}, line {number}: {error.problem}", allowed="lines that plan --save wrote"
                ) from None
            if found.place != place:
                problem = f"{self._path}, line {number}: about {found.place}, but the record is {place}"
                raise ConfigError(OPTION, problem, fix="give the recording from which the decisions were saved")
            yield line, found

    def check_end(self) -> None:
        """Raise an error if decisions are left.

        Raises:
            ConfigError: there are more decisions than records.
        """
        if self._first is not None or next(self._lines, None) is not None:
            problem = f"{self._path}: more decisions than there are records"
            raise ConfigError(OPTION, problem, fix="give the recording from which the decisions were saved")

    def _next(self, place: str) -> tuple[int, bytes]:
        found, self._first = self._first or next(self._lines, None), None
        if found is None:
            problem = f"{self._path}: ends before the decision about {place}"
            raise ConfigError(OPTION, problem, fix="give the recording from which the decisions were saved")
        return found
