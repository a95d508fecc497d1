"""How far a replay is, in a file that outlives it: a SQLite database, where a step is there whole or not at all."""

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
from consumer.mapping.keys import UserId
from consumer.source.bounds import Span

_TABLES = (
    "CREATE TABLE IF NOT EXISTS replay (wanted BLOB NOT NULL, target TEXT NOT NULL, spans BLOB NOT NULL, is_over INT)",
    "CREATE TABLE IF NOT EXISTS steps (number INTEGER PRIMARY KEY, reached BLOB, summary BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS users (number INTEGER, type TEXT, ids BLOB, PRIMARY KEY (number, type))",
)
_APPLICATION = 0x43444352  # "CDCR": what SQLite keeps of whose file it is
_NEW = "a file that a replay made, or a new one"
_wanted = msgspec.json.Decoder(dict[str, str])
_spans = msgspec.json.Decoder(list[Span])
_summary = msgspec.json.Decoder(Summary)
_reached = msgspec.json.Decoder(dict[str, int])


class ReplayState:
    """The steps of one replay that are done, by partition number; the file is this process's alone until it is closed.

    Each method raises ConfigError where the file is damaged, and ServerError where it can't be written.
    """

    def __init__(self, file: Path | None) -> None:
        """Without a file nothing outlives the process.

        Raises:
            ConfigError: the file is none of a replay, or another replay is at work with it.
        """
        self._name = str(file or "")
        with self._translated():
            try:
                self._file = sqlite3.connect(file or ":memory:", isolation_level=None, timeout=0)
            except sqlite3.OperationalError:
                raise ConfigError("--resume", f"{file}: can't be opened or made", allowed=_NEW) from None
        try:
            with self._translated():
                self._take()
        except BaseException:
            self._file.close()
            raise

    def _take(self) -> None:
        self._ask("PRAGMA locking_mode = EXCLUSIVE")
        try:
            self._ask("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise ConfigError(
                    "--resume", f"another replay is at work with {self._name}", fix="name a file of its own for each"
                ) from None
            raise
        (application,) = self._ask("PRAGMA application_id").fetchone()
        (tables,) = self._ask("SELECT count(*) FROM sqlite_master").fetchone()
        if application != _APPLICATION and (application or tables):
            raise ConfigError("--resume", f"{self._name} is another program's file", allowed=_NEW)
        self._ask(f"PRAGMA application_id = {_APPLICATION}")
        for each in _TABLES:
            self._ask(each)
        self._ask("COMMIT")

    def target(self, wanted: Mapping[str, str]) -> str:
        """What the replay writes to, as given to :meth:`begin`; "" of one that has not begun.

        ``wanted`` is what must be the same for a replay to go on, by the name that an operator knows it by.

        Raises:
            ConfigError: the file is of a replay that wanted something else, or that is finished.
        """
        with self._translated():
            row = self._ask("SELECT wanted, target, is_over FROM replay").fetchone()
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
        """A replay of ``spans`` of which nothing is done; ``target`` is what it writes to."""
        with self._transaction():
            for table in ("replay", "steps", "users"):
                self._ask(f"DELETE FROM {table}")  # noqa: S608  # a name of ours
            parts = (msgspec.json.encode(wanted), target, msgspec.json.encode(spans))
            self._ask("INSERT INTO replay VALUES (?, ?, ?, 0)", parts)

    def spans(self) -> list[Span]:
        """The ranges it began with."""
        with self._translated():
            return _spans.decode(self._ask("SELECT spans FROM replay").fetchone()[0])

    def end(self) -> None:
        """All is done: the file is of no more use."""
        with self._translated():
            self._ask("UPDATE replay SET is_over = 1")

    def summary(self, number: int) -> Summary | None:
        """What was done of a partition number; None if it is not finished."""
        with self._translated():
            row = self._ask("SELECT summary FROM steps WHERE number = ? AND reached IS NULL", (number,)).fetchone()
            return None if row is None else _summary.decode(row[0])

    def reached(self, number: int) -> tuple[dict[str, int], Summary]:
        """The next offset of each topic, and what was done up to there."""
        with self._translated():
            row = self._ask("SELECT reached, summary FROM steps WHERE number = ?", (number,)).fetchone()
            return ({}, Summary()) if row is None else (_reached.decode(row[0]), _summary.decode(row[1]))

    def reach(self, number: int, offsets: dict[str, int], summary: Summary) -> None:
        """Everything before these offsets is done."""
        parts = (number, msgspec.json.encode(offsets), msgspec.json.encode(summary))
        with self._translated():
            self._ask("INSERT OR REPLACE INTO steps VALUES (?, ?, ?)", parts)

    def finish(self, number: int, summary: Summary, users: dict[str, bytes] | None = None) -> None:
        """The whole partition number is done; ``users`` are those the log tells there, as :func:`packed`."""
        with self._transaction():
            self._ask("INSERT OR REPLACE INTO steps VALUES (?, NULL, ?)", (number, msgspec.json.encode(summary)))
            for user_type, ids in (users or {}).items():
                self._ask("INSERT OR REPLACE INTO users VALUES (?, ?, ?)", (number, user_type, ids))

    def users(self) -> dict[str, array[int]]:
        """The ids of all users that the log tells, in order, by type."""
        found: dict[str, array[int]] = {}
        with self._translated():
            for user_type, ids in self._ask("SELECT type, ids FROM users"):
                found.setdefault(user_type, array("Q")).frombytes(ids)
        return {user_type: array("Q", sorted(ids)) for user_type, ids in found.items()}

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _ask(self, question: str, parts: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        return self._file.execute(question, parts)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._ask("BEGIN")
            yield
            self._ask("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise ServerError("replay", f"{self._name}: {error}", "see to the file's disk and its rights") from None
        except (sqlite3.Error, msgspec.MsgspecError, ValueError, TypeError):
            raise ConfigError("--resume", f"{self._name} is no file of a replay, or damaged", allowed=_NEW) from None


def packed(users: Iterable[UserId]) -> dict[str, bytes]:
    """The ids by type, eight bytes each, so that millions of users are not much; larger ids are left out."""
    found: dict[str, array[int]] = {}
    for user in users:
        if user.id < 2**64:
            found.setdefault(user.user_type, array("Q")).append(user.id)
    return {user_type: ids.tobytes() for user_type, ids in found.items()}
