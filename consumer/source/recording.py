"""Recordings: files with source records. They can be written, read, and used as a source."""

from __future__ import annotations

import errno
import gzip
import sys
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

import msgspec

from consumer.errors import DECODE_ERRORS, ConfigError, Undecodable
from consumer.events.record import Partition, SourceRecord, from_line, to_line
from consumer.pipeline.protocols import BegunCommit, Start

_GZIP_MAGIC = b"\x1f\x8b"
_MOST_LINE_BYTES = 512 << 20
"""Kafka's own limit of a record is 1 MB unless it is raised; in a line it takes a third more."""
_ALLOWED = "a recording, or - for standard input"


def read(path: Path) -> Iterator[SourceRecord]:
    """The records of a recording, with gzip or without; ``-`` is standard input.

    Raises:
        ConfigError: the file can't be read, or a line is not a record; the error names the line.

    """
    for number, line in enumerate(lines(path, "FILE", _ALLOWED), start=1):
        if not line.strip():
            continue
        try:
            yield from_line(line)
        except Undecodable as error:
            raise ConfigError("FILE", f"{shown(path)}, line {number}: {error}", allowed=_ALLOWED) from None


def lines(path: Path, option: str, allowed: str) -> Iterator[bytes]:
    """The lines of a file, with gzip or without; ``-`` is standard input. ``option``: its name in an error.

    Raises:
        ConfigError: the file can't be read. The error says which file is ``allowed``.

    """
    with _opened(path, option, allowed) as opened:
        while line := opened.readline(_MOST_LINE_BYTES + 1):
            if len(line) > _MOST_LINE_BYTES:  # a small file with gzip may have more than fits into memory
                problem = f"{shown(path)}: a line of more than {_MOST_LINE_BYTES >> 20} MB"
                raise ConfigError(option, problem, allowed=allowed)
            yield line


def read_schemas(path: Path) -> dict[int, str]:
    """The Avro schemas for a recording: a JSON object with schema texts by id.

    Raises:
        ConfigError: the file can't be read, or has other content.

    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[int, str])
    except (OSError, *DECODE_ERRORS) as error:
        problem = (error.strerror if isinstance(error, OSError) else "") or "not a file of this form"
        raise ConfigError("--schemas", f"{path}: {problem}", allowed="a JSON object of schema texts by id") from None


@contextmanager
def _opened(path: Path, option: str, allowed: str) -> Iterator[IO[bytes]]:
    try:
        with _raw(path) as raw:
            begin = raw.peek(2)[:2]
            if not begin and path.suffix == ".gz":  # a whole file has a head, also if it has no line
                raise EOFError
            if begin == _GZIP_MAGIC:
                with gzip.open(raw) as unpacked:
                    yield unpacked  # type: ignore[misc]  # a GzipFile is a binary stream
            else:
                yield raw
    except (OSError, EOFError, zlib.error) as error:
        problem = (error.strerror if isinstance(error, OSError) else "") or "a damaged or incomplete gzip file"
        raise ConfigError(option, f"{shown(path)}: {problem}", allowed=allowed) from None


@contextmanager
def _raw(path: Path) -> Iterator[BufferedReader]:
    if str(path) == "-":
        if sys.stdin is None:
            raise OSError(errno.EBADF, "it is closed")
        yield cast("BufferedReader", sys.stdin.buffer)
        return
    with path.open("rb") as opened:
        yield opened


def shown(path: Path) -> str:
    """The name of a file in a text."""
    return "standard input" if str(path) == "-" else str(path)


def write(records: Iterable[SourceRecord], path: Path) -> int:
    """Write a recording, with gzip if the name ends with .gz; answers the number of records.

    The same records always give the same bytes.

    Raises:
        ConfigError: the file can't be created.
    """
    count = 0
    try:
        opened = path.open("wb")
    except OSError as error:
        raise ConfigError("--to", f"{path}: {error.strerror}", allowed="a file that can be written") from None
    with opened as raw:
        # No time and no name in the gzip header, so that the same records give the same file.
        out: IO[bytes] = (
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0)  # type: ignore[assignment]
            if path.suffix == ".gz"
            else raw
        )
        for record in records:
            out.write(to_line(record).encode() + b"\n")
            count += 1
        if out is not raw:
            out.close()
    return count


class RecordedSource:
    """A recording as a source. ``step``: records per poll. ``offsets``: the committed offsets."""

    def __init__(self, records: Iterable[SourceRecord], step: int = 500) -> None:
        self._records = list(records)
        self._step = step
        self._next = 0
        self._partitions = frozenset(Partition(each.topic, each.partition) for each in self._records)
        self.offsets: dict[Partition, int] = {}

    @property
    def is_at_end(self) -> bool:
        """Whether every record was polled."""
        return self._next >= len(self._records)

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        taken = self._records[self._next : self._next + self._step]
        self._next += len(taken)
        return taken

    def begin_commit(self, offsets: Mapping[Partition, int]) -> BegunCommit:
        is_done = self.commit(offsets)
        return lambda: is_done

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        self.offsets.update(offsets)
        return True

    def assignment(self) -> Mapping[Partition, int]:
        return dict.fromkeys(self._partitions, 1)

    def starts(self, partitions: Collection[Partition]) -> Mapping[Partition, Start]:
        oldest: dict[Partition, int] = {}
        for record in self._records:
            oldest.setdefault(Partition(record.topic, record.partition), record.offset)
        return {
            each: Start(self.offsets.get(each, oldest[each]), oldest[each], each not in self.offsets)
            for each in partitions
        }

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        where = (Partition(record.topic, record.partition) for record in self._records)
        first = next(
            (
                at
                for at, (partition, record) in enumerate(zip(where, self._records, strict=True))
                if record.offset >= offsets.get(partition, record.offset + 1)
            ),
            self._next,
        )
        self._next = min(first, self._next)

    def idle(self, seconds: float) -> None:
        """Does nothing: a recording has no group membership."""

    def lag(self) -> Mapping[Partition, int | None]:
        return {}

    def close(self) -> None:
        """Does nothing: no file is open."""
