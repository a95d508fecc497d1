"""Stores each user's last change for a fold: in memory, and above a limit on disk."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing

import msgspec

from consumer.commands.replay.fold import Last
from consumer.guard.version import Version

# Bytes that a user takes in memory besides the records: version, times, text and containers.
_OVERHEAD = 900
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(
    tuple[str, tuple[tuple[int, bytes | None, bytes], ...], bool, bool, tuple[int, ...], str]
).decode


class MemoryLimit:
    """The number of bytes that all stores of one fold may keep in memory together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._stores: list[SpillingStore] = []

    def store(self) -> SpillingStore:
        """Create a store for one more table."""
        store = SpillingStore(self)
        self._stores.append(store)
        return store

    def spill(self) -> None:
        """Move everything from memory to disk."""
        for store in self._stores:
            store.spill()
        self.used = 0

    def close(self) -> None:
        """Delete all stored changes."""
        for store in self._stores:
            store.close()


class SpillingStore:
    """The last changes of one table; a :class:`consumer.commands.replay.fold.Store`."""

    def __init__(self, budget: MemoryLimit) -> None:
        self._budget = budget
        self._in_memory: dict[str, Last] = {}
        self._file: sqlite3.Connection | None = None

    def get(self, user: str) -> Last | None:
        last = self._in_memory.get(user)
        if last is None and self._file is not None:
            row = self._file.execute("SELECT last FROM users WHERE user = ?", (user,)).fetchone()
            last = None if row is None else _read(row[0])
        return last

    def put(self, user: str, last: Last) -> None:
        before = self._in_memory.get(user)
        self._in_memory[user] = last
        self._budget.used += _size(last) - (0 if before is None else _size(before))
        if self._budget.used > self._budget.limit:
            self._budget.spill()

    def items(self) -> Iterator[tuple[str, Last]]:
        if self._file is None:
            yield from self._in_memory.items()
            return
        self.spill()
        with closing(self._file.cursor()) as cursor:
            for user, data in cursor.execute("SELECT user, last FROM users"):
                yield user, _read(data)

    def users(self) -> Iterator[str]:
        """All users."""
        yield from self._in_memory
        if self._file is not None:
            rows = self._file.execute("SELECT user FROM users")
            yield from (user for (user,) in rows if user not in self._in_memory)

    def spill(self) -> None:
        """Move everything from memory to the file."""
        if self._file is None:
            # A temporary file without a name: the system deletes it when this process ends.
            self._file = sqlite3.connect("", isolation_level=None)
            # Large pages hold many users; a row that does not fit into a page takes pages of its own.
            for pragma in ("page_size = 32768", "journal_mode = OFF", "cache_size = -24000"):
                self._file.execute(f"PRAGMA {pragma}")
            self._file.execute("CREATE TABLE users (user TEXT PRIMARY KEY, last BLOB NOT NULL)")
        self._file.execute("BEGIN")
        rows = ((user, _encoded(last)) for user, last in sorted(self._in_memory.items()))
        self._file.executemany("INSERT OR REPLACE INTO users VALUES (?, ?)", rows)
        self._file.execute("COMMIT")
        self._in_memory.clear()

    def close(self) -> None:
        """Close the file, which deletes it."""
        if self._file is not None:
            self._file.close()


def _size(last: Last) -> int:
    size = _OVERHEAD
    for _, _, value in last.records:
        size += len(value)
    return size


def _encoded(last: Last) -> bytes:
    deletion = last.deletion.to_text() if last.deletion else ""
    parts = last.version.to_text(), last.records, last.is_delete, last.is_whole, last.times, deletion
    # Rows repeat themselves: compression saves two thirds of the bytes, and of the disk's time.
    return zlib.compress(_encode(parts), 1)


def _read(data: bytes) -> Last:
    version, records, is_delete, is_whole, times, deletion = _decode(zlib.decompress(data))
    before = Version.from_text(deletion) if deletion else None
    return Last(Version.from_text(version), records, is_delete, is_whole, times, before)
