"""The progress of a replay in a file, so that it can be resumed: a SQLite database, written in transactions."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from consumer.commands.replay.summary import Summary
from consumer.errors import ConfigError, ServerError
from consumer.events.record import Partition
from consumer.mapping.keys import UserId
from consumer.source.bounds import Span

_TABLES = (
    "CREATE TABLE IF NOT EXISTS replay (wanted BLOB NOT NULL, target TEXT NOT NULL, spans BLOB NOT NULL, is_over INT)",
    "CREATE TABLE IF NOT EXISTS steps (number INTEGER PRIMARY KEY, reached BLOB, summary BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS users (number INTEGER, type TEXT, ids BLOB, PRIMARY KEY (number, type))",
    "CREATE TABLE IF NOT EXISTS published (topic TEXT, number INTEGER, below INTEGER, PRIMARY KEY (topic, number))",
)
_PUBLISH = (
    "INSERT INTO published VALUES (?, ?, ?)"
    " ON CONFLICT (topic, number) DO UPDATE SET below = max(below, excluded.below)"
)
_APPLICATION = 0x43444352  # "CDCR", as SQLite's application_id
_NEW = "a file of a replay, or a new file"
_wanted = msgspec.json.Decoder(dict[str, str])
_spans = msgspec.json.Decoder(list[Span])
_summary = msgspec.json.Decoder(Summary)
_reached = msgspec.json.Decoder(dict[str, int])


class ReplayState:
    """The finished steps of one replay, by partition number. Only this process may use the file until it is closed.

    Each method raises ConfigError if the file is damaged, and ServerError if it can't be written.
    """

    def __init__(self, file: Path | None) -> None:
        """Without a file, the progress is lost when the process ends.

        Raises:
            ConfigError: the file is not of a replay, or another replay is using it.
        """
        self._name = str(file or "")
        with self._translated():
            try:
                self._file = sqlite3.connect(file or ":memory:", isolation_level=None, timeout=0)
            except sqlite3.OperationalError:
                raise ConfigError("--resume", f"{file}: can't be opened or created", allowed=_NEW) from None
        try:
            with self._translated():
                self._lock()
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        self._execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            self._execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise ConfigError(
                    "--resume", f"another replay is using {self._name}", fix="name a file of its own for each"
                ) from None
            raise
        (application,) = self._execute("PRAGMA application_id").fetchone()
        (tables,) = self._execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != _APPLICATION and (application or tables):
            raise ConfigError("--resume", f"{self._name} is another program's file", allowed=_NEW)
        self._execute(f"PRAGMA application_id = {_APPLICATION}")
        for each in _TABLES:
            self._execute(each)
        self._execute("COMMIT")

    def target(self, wanted: Mapping[str, str]) -> str:
        """The target of the replay, as given to :meth:`begin`; "" if it has not begun.

        ``wanted``: the parts that must be equal to resume a replay, with names that an operator knows.

        Raises:
            ConfigError: the file is of a replay with other parts, or of a finished one.
        """
        with self._translated():
            row = self._execute("SELECT wanted, target, is_over FROM replay").fetchone()
            if row is None:
                return ""
            before = _wanted.decode(row[0])
        for name in sorted({*before, *wanted}):
            was, now = before.get(name, ""), wanted.get(name, "")
            if was != now:
                differs = f"{name} was {was or 'not given'}, now {now or 'not given'}"
                problem = f"{self._name} is of another replay: {differs}"
                raise ConfigError("--resume", problem, fix="give the same options and settings, or a new file")
        if row[2]:
            raise ConfigError("--resume", f"the replay of {self._name} is finished", fix="name a new file")
        return str(row[1])

    def begin(self, wanted: Mapping[str, str], target: str, spans: list[Span]) -> None:
        """Begin a replay of ``spans``, or begin it again. ``target``: what it writes to."""
        with self._transaction():
            for table in ("replay", "steps", "users"):
                self._execute(f"DELETE FROM {table}")  # noqa: S608  # a fixed name
            parts = (msgspec.json.encode(wanted), target, msgspec.json.encode(spans))
            self._execute("INSERT INTO replay VALUES (?, ?, ?, 0)", parts)

    def spans(self) -> list[Span]:
        """The ranges of the replay."""
        with self._translated():
            return _spans.decode(self._execute("SELECT spans FROM replay").fetchone()[0])

    def end(self) -> None:
        """The replay is finished; the file can't be used again."""
        with self._translated():
            self._execute("UPDATE replay SET is_over = 1")

    def summary(self, number: int) -> Summary | None:
        """The summary of a partition number; None if it is not finished."""
        with self._translated():
            row = self._execute("SELECT summary FROM steps WHERE number = ? AND reached IS NULL", (number,)).fetchone()
            return None if row is None else _summary.decode(row[0])

    def reached(self, number: int) -> tuple[dict[str, int], Summary]:
        """The next offset of each topic, and the summary up to there."""
        with self._translated():
            row = self._execute("SELECT reached, summary FROM steps WHERE number = ?", (number,)).fetchone()
            return ({}, Summary()) if row is None else (_reached.decode(row[0]), _summary.decode(row[1]))

    def reach(self, number: int, offsets: dict[str, int], summary: Summary) -> None:
        """Store that everything before these offsets is done."""
        parts = (number, msgspec.json.encode(offsets), msgspec.json.encode(summary))
        with self._transaction():
            self._execute("INSERT OR REPLACE INTO steps VALUES (?, ?, ?)", parts)
            for topic, offset in offsets.items():
                self._execute(_PUBLISH, (topic, number, offset))

    def published(self) -> dict[Partition, int]:
        """The offset of each partition below which everything was done once, also before the replay began again."""
        with self._translated():
            rows = self._execute("SELECT topic, number, below FROM published")
            return {Partition(topic, number): below for topic, number, below in rows}

    def finish(self, number: int, summary: Summary, users: dict[str, bytes] | None = None) -> None:
        """Store that a partition number is finished. ``users``: its users in the log, as :func:`packed`."""
        with self._transaction():
            self._execute("INSERT OR REPLACE INTO steps VALUES (?, NULL, ?)", (number, msgspec.json.encode(summary)))
            for user_type, ids in (users or {}).items():
                self._execute("INSERT OR REPLACE INTO users VALUES (?, ?, ?)", (number, user_type, ids))

    def users(self) -> dict[str, array[int]]:
        """The sorted ids of all users in the log, by user type."""
        found: dict[str, array[int]] = {}
        with self._translated():
            for user_type, ids in self._execute("SELECT type, ids FROM users"):
                found.setdefault(user_type, array("Q")).frombytes(ids)
        return {user_type: array("Q", sorted(ids)) for user_type, ids in found.items()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _execute(self, statement: str, parts: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        return self._file.execute(statement, parts)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._execute("BEGIN")
            yield
            self._execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise ServerError("replay", f"{self._name}: {error}", "check the file's disk and its permissions") from None
        except (sqlite3.Error, msgspec.MsgspecError, ValueError, TypeError):
            raise ConfigError("--resume", f"{self._name} is no replay file, or is damaged", allowed=_NEW) from None


def packed(users: Iterable[UserId]) -> dict[str, bytes]:
    """The ids by user type, 8 bytes each, to save memory with millions of users; larger ids are left out."""
    found: dict[str, array[int]] = {}
    for user in users:
        if user.id < 2**64:
            found.setdefault(user.user_type, array("Q")).append(user.id)
    return {user_type: ids.tobytes() for user_type, ids in found.items()}
