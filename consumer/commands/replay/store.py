"""Stores each user's last change for a fold: in memory, and above a limit on disk."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager

import msgspec

from consumer.commands.replay.last import Last
from consumer.errors import ServerError

# Bytes that a user takes in memory besides the records: version, times, text and containers.
_OVERHEAD = 700
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Last).decode
_MEMORY_LEVEL = 5


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
    """The last changes of one table; a :class:`consumer.commands.replay.last.Store`.

    Each method raises ServerError if the file can't be written or read, for example because the disk is full.
    """

    def __init__(self, budget: MemoryLimit) -> None:
        self._budget = budget
        self._in_memory: dict[str, Last] = {}
        self._file: sqlite3.Connection | None = None
        self._example = b""
        """The first record that was moved to disk. The others are like it, and are compressed as what differs."""
        self._window = 0

    def get(self, user: str) -> Last | None:
        last = self._in_memory.get(user)
        if last is None and self._file is not None:
            with _translated():
                row = self._file.execute("SELECT last FROM users WHERE user = ?", (user,)).fetchone()
            last = None if row is None else self._read(row[0])
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
        with _translated(), closing(self._file.cursor()) as cursor:
            for user, data in cursor.execute("SELECT user, last FROM users"):
                yield user, self._read(data)

    def users(self) -> Iterator[str]:
        """All users."""
        yield from self._in_memory
        if self._file is not None:
            with _translated():
                rows = self._file.execute("SELECT user FROM users")
                yield from (user for (user,) in rows if user not in self._in_memory)

    def spill(self) -> None:
        """Move everything from memory to the file."""
        with _translated():
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            # A temporary file without a name: the system deletes it when this process ends.
            self._file = sqlite3.connect("", isolation_level=None)
            # Large pages hold many users; a row that does not fit into a page takes pages of its own.
            for pragma in ("page_size = 32768", "journal_mode = OFF", "cache_size = -24000"):
                self._file.execute(f"PRAGMA {pragma}")
            self._file.execute("CREATE TABLE users (user TEXT PRIMARY KEY, last BLOB NOT NULL)")
        self._file.execute("BEGIN")
        rows = ((user, self._encoded(last)) for user, last in sorted(self._in_memory.items()))
        self._file.executemany("INSERT OR REPLACE INTO users VALUES (?, ?)", rows)
        self._file.execute("COMMIT")
        self._in_memory.clear()

    def close(self) -> None:
        """Close the file, which deletes it."""
        if self._file is not None:
            self._file.close()

    def _encoded(self, last: Last) -> bytes:
        data = _encode(last)
        if not self._example:
            # The window holds the example and one record. Preparing a larger one costs more than the compression.
            self._example, self._window = data, -min(15, max(9, (2 * len(data)).bit_length()))
        compress = zlib.compressobj(1, zlib.DEFLATED, self._window, _MEMORY_LEVEL, zdict=self._example)
        return compress.compress(data) + compress.flush()

    def _read(self, data: bytes) -> Last:
        return _decode(zlib.decompressobj(self._window, zdict=self._example).decompress(data))


@contextmanager
def _translated() -> Iterator[None]:
    """Translates SQLite's exceptions in the block to this program's error."""
    try:
        yield
    except sqlite3.Error as error:
        problem = f"the temporary file for users can't be used: {error}"
        advice = "free space in the folder that SQLITE_TMPDIR or TMPDIR names, name another one, or raise --memory"
        raise ServerError("replay", problem, advice) from None


def _size(last: Last) -> int:
    records = last.records
    return _OVERHEAD + (len(records[0][-1]) if len(records) == 1 else sum(len(each[-1]) for each in records))
