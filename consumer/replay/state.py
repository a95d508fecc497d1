"""How far a replay is, in a file that outlives it: a SQLite database, where a step is there whole or not at all."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable
from pathlib import Path

import msgspec

from consumer.errors import ConfigError
from consumer.keys import UserId
from consumer.replay.bounds import Span
from consumer.replay.summary import Summary

_TABLES = (
    "CREATE TABLE IF NOT EXISTS replay (wanted TEXT NOT NULL, server TEXT NOT NULL, spans BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS steps (number INTEGER PRIMARY KEY, reached BLOB, summary BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS users (number INTEGER, type TEXT, ids BLOB, PRIMARY KEY (number, type))",
)
_spans = msgspec.json.Decoder(list[Span])
_summary = msgspec.json.Decoder(Summary)
_reached = msgspec.json.Decoder(dict[str, int])


class ReplayState:
    """The steps of one replay that are done, by partition number."""

    def __init__(self, file: Path | None) -> None:
        """Without a file nothing outlives the process.

        Raises:
            ConfigError: the file is none of a replay.
        """
        self._name = str(file or "")
        try:
            self._file = sqlite3.connect(file or ":memory:", isolation_level=None)
            for each in _TABLES:
                self._file.execute(each)
        except sqlite3.Error as error:
            raise ConfigError("--resume", f"{file}: {error}", "a file that a replay made, or a new one") from None

    def begin(self, wanted: str, server: str, spans: list[Span]) -> list[Span]:
        """The ranges of the replay: ``spans``, or those it began with if it goes on.

        ``server`` is the run of Redis that is written: of another one nothing is known, so all is done again.

        Raises:
            ConfigError: the file is of a replay that wanted something else.
        """
        row = self._file.execute("SELECT wanted, server, spans FROM replay").fetchone()
        if row is None:
            self._file.execute("INSERT INTO replay VALUES (?, ?, ?)", (wanted, server, msgspec.json.encode(spans)))
            return spans
        if row[0] != wanted:
            raise ConfigError(
                "--resume", f"{self._name} is of another replay: {row[0]}", "the same options, or a new file"
            )
        if row[1] != server:
            self.forget(server)
        return _spans.decode(row[2])

    def forget(self, server: str) -> None:
        """Nothing is done: Redis is another one, or has lost what it had."""
        self._file.execute("BEGIN")
        self._file.execute("DELETE FROM steps")
        self._file.execute("DELETE FROM users")
        self._file.execute("UPDATE replay SET server = ?", (server,))
        self._file.execute("COMMIT")

    def summary(self, number: int) -> Summary | None:
        """What was done of a partition number; None if it is not finished."""
        row = self._file.execute("SELECT summary FROM steps WHERE number = ? AND reached IS NULL", (number,)).fetchone()
        return None if row is None else _summary.decode(row[0])

    def reached(self, number: int) -> tuple[dict[str, int], Summary]:
        """The next offset of each topic, and what was done up to there."""
        row = self._file.execute("SELECT reached, summary FROM steps WHERE number = ?", (number,)).fetchone()
        return ({}, Summary()) if row is None else (_reached.decode(row[0]), _summary.decode(row[1]))

    def reach(self, number: int, offsets: dict[str, int], summary: Summary) -> None:
        """Everything before these offsets is done."""
        self._file.execute(
            "INSERT OR REPLACE INTO steps VALUES (?, ?, ?)",
            (number, msgspec.json.encode(offsets), msgspec.json.encode(summary)),
        )

    def finish(self, number: int, summary: Summary, users: dict[str, bytes] | None = None) -> None:
        """The whole partition number is done; ``users`` are those the log tells there, as :func:`packed`."""
        self._file.execute("BEGIN")
        self._file.execute("INSERT OR REPLACE INTO steps VALUES (?, NULL, ?)", (number, msgspec.json.encode(summary)))
        for user_type, ids in (users or {}).items():
            self._file.execute("INSERT OR REPLACE INTO users VALUES (?, ?, ?)", (number, user_type, ids))
        self._file.execute("COMMIT")

    def users(self) -> dict[str, array[int]]:
        """The ids of all users that the log tells, in order, by type."""
        found: dict[str, array[int]] = {}
        for user_type, ids in self._file.execute("SELECT type, ids FROM users"):
            found.setdefault(user_type, array("Q")).frombytes(ids)
        return {user_type: array("Q", sorted(ids)) for user_type, ids in found.items()}

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


def packed(users: Iterable[UserId]) -> dict[str, bytes]:
    """The ids by type, eight bytes each, so that millions of users are not much; larger ids are left out."""
    found: dict[str, array[int]] = {}
    for user in users:
        if user.id < 2**64:
            found.setdefault(user.user_type, array("Q")).append(user.id)
    return {user_type: ids.tobytes() for user_type, ids in found.items()}
