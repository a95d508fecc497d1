"""Where a fold keeps each user's last change: in memory, and beyond a budget on disk."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing

import msgspec

from consumer.commands.replay.fold import Last
from consumer.guard.version import Version

# What a user takes in memory beside the bytes of their records: version, times, text and containers.
_OVERHEAD = 900
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(
    tuple[str, tuple[tuple[int, bytes | None, bytes], ...], bool, bool, tuple[int, ...], str]
).decode


class MemoryLimit:
    """Bytes that the stores of one fold may hold in memory together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._stores: list[SpillingStore] = []

    def store(self) -> SpillingStore:
        """A store for one more table of the fold."""
        store = SpillingStore(self)
        self._stores.append(store)
        return store

    def spill(self) -> None:
        """What is in memory goes to disk."""
        for store in self._stores:
            store.spill()
        self.used = 0

    def close(self) -> None:
        """Forget everything."""
        for store in self._stores:
            store.close()


class SpillingStore:
    """The last changes of one table, as a :class:`consumer.commands.replay.fold.Store`."""

    def __init__(self, budget: MemoryLimit) -> None:
        self._budget = budget
        self._held: dict[str, Last] = {}
        self._file: sqlite3.Connection | None = None

    def get(self, user: str) -> Last | None:
        last = self._held.get(user)
        if last is None and self._file is not None:
            row = self._file.execute("SELECT last FROM users WHERE user = ?", (user,)).fetchone()
            last = None if row is None else _read(row[0])
        return last

    def put(self, user: str, last: Last) -> None:
        before = self._held.get(user)
        self._held[user] = last
        self._budget.used += _size(last) - (0 if before is None else _size(before))
        if self._budget.used > self._budget.limit:
            self._budget.spill()

    def items(self) -> Iterator[tuple[str, Last]]:
        if self._file is None:
            yield from self._held.items()
            return
        self.spill()
        with closing(self._file.cursor()) as cursor:
            for user, data in cursor.execute("SELECT user, last FROM users"):
                yield user, _read(data)

    def users(self) -> Iterator[str]:
        """The users alone."""
        yield from self._held
        if self._file is not None:
            rows = self._file.execute("SELECT user FROM users")
            yield from (user for (user,) in rows if user not in self._held)

    def spill(self) -> None:
        """Move what is in memory to the file."""
        if self._file is None:
            # A file without a name, in the folder for temporary ones: it is gone with this process, however that ends.
            self._file = sqlite3.connect("", isolation_level=None)
            # Pages hold many users, for each that does not fit in one takes a page of its own.
            for pragma in ("page_size = 32768", "journal_mode = OFF", "cache_size = -24000"):
                self._file.execute(f"PRAGMA {pragma}")
            self._file.execute("CREATE TABLE users (user TEXT PRIMARY KEY, last BLOB NOT NULL)")
        self._file.execute("BEGIN")
        rows = ((user, _written(last)) for user, last in sorted(self._held.items()))
        self._file.executemany("INSERT OR REPLACE INTO users VALUES (?, ?)", rows)
        self._file.execute("COMMIT")
        self._held.clear()

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()


def _size(last: Last) -> int:
    size = _OVERHEAD
    for _, _, value in last.records:
        size += len(value)
    return size


def _written(last: Last) -> bytes:
    deletion = last.deletion.to_text() if last.deletion else ""
    parts = last.version.to_text(), last.records, last.is_delete, last.is_whole, last.times, deletion
    # Rows say much twice; a third of the bytes is a third of the disk's time.
    return zlib.compress(_encode(parts), 1)


def _read(data: bytes) -> Last:
    version, records, is_delete, is_whole, times, deletion = _decode(zlib.decompress(data))
    before = Version.from_text(deletion) if deletion else None
    return Last(Version.from_text(version), records, is_delete, is_whole, times, before)
