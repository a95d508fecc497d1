"""The identities of changes that were sent, each with the offset of its first record, in little memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping

_RUN = 4096


class Run:
    """Neighbouring changes of a partition: the identity of each, with its first offset.

    A change takes 16 bytes here, and about a hundred in a dict. They are sorted at the first look-up: most runs are
    forgotten before it.
    """

    __slots__ = ("_identities", "_is_sorted", "_offsets", "begin_offset", "since_ms")

    def __init__(self, found: Mapping[int, int], begin_offset: int, since_ms: int) -> None:
        self._identities = array("q", found)
        self._offsets = array("q", found.values())
        self._is_sorted = False
        self.begin_offset = begin_offset
        self.since_ms = since_ms

    def __len__(self) -> int:
        return len(self._identities)

    def get(self, identity: int) -> int | None:
        """The first offset of a change, or None."""
        if not self._is_sorted:
            self._sort()
        at = bisect_left(self._identities, identity)
        if at < len(self._identities) and self._identities[at] == identity:
            return self._offsets[at]
        return None

    def _sort(self) -> None:
        ordered = sorted(zip(self._identities, self._offsets, strict=True))
        self._identities = array("q", [identity for identity, _ in ordered])
        self._offsets = array("q", [offset for _, offset in ordered])
        self._is_sorted = True


class Memory:
    """All changes of a partition that were written since ``since_ms``; the first one has the offset ``begin_offset``.

    Holds at most ``limit`` changes; the oldest are forgotten first.
    """

    def __init__(self, begin_offset: int, since_ms: int, limit: int) -> None:
        self.begin_offset = begin_offset
        self.since_ms = since_ms
        self._limit = limit
        self._newest: dict[int, int] = {}
        self._newest_begins = (begin_offset, since_ms)
        self._runs: deque[Run] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count + len(self._newest)

    def get(self, identity: int) -> int | None:
        """The offset of the first record of a change, or None."""
        for run in self._runs:  # the oldest first
            if (found := run.get(identity)) is not None:
                return found
        return self._newest.get(identity)

    def put(self, identity: int, offset: int, written_ms: int) -> None:
        """Add a change. If records are read again from an earlier offset, the earlier offset is stored."""
        if offset < self.begin_offset:
            self.begin_offset, self.since_ms = offset, min(self.since_ms, written_ms)
        newest = self._newest
        if not newest:
            self._newest_begins = (offset, written_ms) if self._runs else (self.begin_offset, self.since_ms)
        before = newest.get(identity)
        if before is None or offset < before:
            newest[identity] = offset
        if len(newest) >= _RUN:
            self._runs.append(Run(newest, *self._newest_begins))
            self._count += len(newest)
            self._newest = {}
            self._forget()

    def reach_back(self, runs: deque[Run], begin_offset: int, since_ms: int) -> None:
        """Add ``runs``, which hold all changes from ``begin_offset`` up to the changes in memory.

        A look-up needed changes this old and may need them again, so the limit becomes at least twice the new size.
        """
        self._runs.extendleft(reversed(runs))
        self._count += sum(map(len, runs))
        self.begin_offset, self.since_ms = begin_offset, since_ms
        self._limit = max(self._limit, 2 * len(self))

    def _forget(self) -> None:
        while self._count > self._limit and len(self._runs) > 1:
            self._count -= len(self._runs.popleft())
            first = self._runs[0]
            self.begin_offset, self.since_ms = first.begin_offset, first.since_ms


class NewestReads:
    """The latest records of snapshot reads, recognised by the bytes of their values.

    A read has no number. But Kafka Connect's producer may write a batch of records twice. Then the second copy of a
    read is older than the changes between the two copies. Such copies are close together and have the same bytes. If
    Debezium reads the row again, the record contains another time.
    """

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._offsets: dict[int, int] = {}

    def first_offset(self, value: bytes, offset: int) -> int | None:
        """The offset of the same read before ``offset``, or None."""
        offsets, identity = self._offsets, hash(value)
        first = offsets.get(identity)
        if first is not None and first < offset:
            return first
        offsets[identity] = offset
        if len(offsets) > self._limit:
            del offsets[next(iter(offsets))]
        return None
