"""Searches the topic itself for changes that were sent before the current records."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from consumer.events.event import ChangeEvent
from consumer.events.position import Origin
from consumer.events.record import Partition
from consumer.guard.memory import Run
from consumer.guard.open_transaction import OpenTransaction
from consumer.guard.streamed_change import Key, Number, StreamedChange, streamed_change

_SEARCHED = 1_000_000
_RUN = 4096
ALWAYS = -(2**63)
NEVER = 2**62
"""A time that no record has, in UTC milliseconds: records of any age may be missing."""


class Coverage(NamedTuple):
    """The times since which a partition contains every change of its users: record timestamps, UTC milliseconds.

    ``laid_out_ms``: since then no user was moved here from another partition, and the topic was not created again.
    ``kept_ms``: since then no record was removed by compaction or retention.
    """

    laid_out_ms: int
    kept_ms: int


class EarlierRecords(Protocol):
    """Reads records of a topic that are before the current ones."""

    def offset_at(self, partition: Partition, since_ms: int) -> int:
        """The offset of the first record that was written at ``since_ms`` or later.

        Raises:
            ServerUnavailable: Kafka can't be asked now.
        """
        ...

    def changes(self, partition: Partition, begin: int, end: int) -> Iterator[tuple[Sequence[ChangeEvent], int]]:
        """The changes from offset ``begin`` up to ``end``, in groups, each with the offset after the group.

        Records that can't be read are left out.

        Raises:
            ServerUnavailable: as :meth:`offset_at`.
        """
        ...

    def coverage(self, partition: Partition) -> Coverage:
        """Since when the partition contains every change.

        Raises:
            ServerUnavailable: as :meth:`offset_at`.
        """
        ...


class HighestNumbers:
    """The highest number and the latest time of each server or domain among the changes written since ``since_ms``."""

    def __init__(self) -> None:
        self.since_ms = ALWAYS
        self._have_fallen = False
        self._highest: dict[str, tuple[Number, int]] = {}

    def count(self, change: StreamedChange) -> None:
        """Count a change."""
        number, ts_ms = change.number, change.ts_ms
        known = self._highest.get(change.numbered_by)
        if known is not None:
            highest, latest = known
            if number < highest:
                self._have_fallen, number = True, highest
            ts_ms = max(ts_ms, latest)
        self._highest[change.numbered_by] = number, ts_ms

    def are_of_one_log(self, change: StreamedChange, clock_ms: int) -> bool:
        """Whether all numbers are of one server, never fell, and neither number nor time falls with this change.

        Then the change is taken as newer than every change seen, wherever it may have been sent before. The time counts
        too: in MySQL's group replication each member takes GTIDs from a block of its own, so a higher number may be
        older. A time that is lower by up to ``clock_ms`` does not count as fallen: transactions of one server overlap.
        """
        if not self._highest:
            return True
        known = self._highest.get(change.numbered_by)
        if len(self._highest) > 1 or known is None or self._have_fallen:
            return False
        highest, latest = known
        return bool(change.number >= highest) and change.ts_ms + clock_ms >= latest

    def is_surely_new(self, change: StreamedChange) -> bool:
        """Whether the change is surely new: if it had been sent before, its number would have been seen."""
        if not change.is_number_exact:
            return False
        known = self._highest.get(change.numbered_by)
        return known is None or (change.number > known[0] and (not change.is_timed or change.ts_ms > known[1]))


class LogOrder(NamedTuple):
    """What orders two changes: the number, whose number it is, and the source's time in UTC milliseconds."""

    numbered_by: str
    number: Number
    ts_ms: int

    @classmethod
    def of(cls, change: StreamedChange) -> LogOrder:
        """The order of ``change``."""
        return cls(change.numbered_by, change.number, change.ts_ms)

    def is_surely_newer(self, other: LogOrder) -> bool:
        """Whether this change is surely newer than ``other``."""
        return self.numbered_by == other.numbered_by and self.number > other.number and self.ts_ms >= other.ts_ms

    def may_be_older(self, other: LogOrder, clock_ms: int) -> bool:
        """Whether this change may be older than ``other``, if clocks differ by up to ``clock_ms``."""
        if self.numbered_by == other.numbered_by:
            return self.number < other.number or self.ts_ms + clock_ms < other.ts_ms
        return self.ts_ms - clock_ms < other.ts_ms


class MaybeOlderChanges:
    """Changes that were accepted, and may be older than a change before them. By user: offset and order of each."""

    def __init__(self) -> None:
        self._of: dict[Key, dict[int, LogOrder | None]] = {}

    def add(self, change: StreamedChange) -> None:
        """Note that ``change``, which may be older, was accepted."""
        self._of.setdefault(change.key, {})[change.offset] = LogOrder.of(change)

    def add_lone_tombstone(self, key: Key, offset: int) -> None:
        """Note that the tombstone at ``offset`` deleted the user ``key``. The order of the delete is not known."""
        self._of.setdefault(key, {})[offset] = None

    def update(self, others: MaybeOlderChanges) -> None:
        """Add all of ``others``."""
        for key, changes in others._of.items():
            self._of.setdefault(key, {}).update(changes)

    def was_accepted_since(self, change: StreamedChange, first: int) -> bool:
        """Whether a change that may be older than ``change`` was accepted after ``first``, the first offset of
        ``change``.

        ``change`` itself counts too: if its record is read again, the answer must be the same.
        """
        order = LogOrder.of(change)
        return any(
            first < offset <= change.offset and not (accepted is not None and accepted.is_surely_newer(order))
            for offset, accepted in self._of.get(change.key, {}).items()
        )


class Search:
    """Searches a partition from ``begin`` on, only as far as needed.

    Debezium sends changes again in their first order. So the next change is found at the offset of the last one, or a
    little after it. The oldest changes are dropped, to limit the memory.

    Another member may have accepted these records. So each record up to the end is judged once. The partition contains
    every change only since ``complete_since_ms``. For an older record nobody knows whether it was sent before.
    ``clock_ms``: how much clocks may differ.
    """

    def __init__(
        self,
        partition: Partition,
        begin: int,
        since_ms: int,
        highest_numbers: HighestNumbers,
        clock_ms: int,
        complete_since_ms: int,
    ) -> None:
        self.begin = begin
        self.since_ms = since_ms
        self.is_at_end = False
        self.has_dropped = False
        self._partition = partition
        self._next = begin
        self._highest_numbers = highest_numbers
        self._runs: deque[Run] = deque()
        self._newest: dict[int, int] = {}
        self._newest_begins = (begin, since_ms)
        self.maybe_older = MaybeOlderChanges()
        self.open = OpenTransaction()
        """The transaction that was open at the end of the searched records."""
        self.unknown_since_ms: int | None = None
        """The first record of a maybe older change may be before ``begin``, from this time on; None: no such change."""
        self._clock_ms = clock_ms
        self._complete_since_ms = complete_since_ms
        self._judged = begin
        self._latest: dict[Key, LogOrder] = {}
        self._firsts: dict[int, int] = {}

    def find(self, identity: int, earlier: EarlierRecords, end: int) -> int | None:
        """The first offset of the change; None if it is neither in memory nor in the records from there to ``end``.

        Raises:
            ServerUnavailable: from ``earlier``; a later call continues the search.
        """
        for run in self._runs:
            if (first := run.get(identity)) is not None:
                return first
        if (first := self._newest.get(identity)) is not None:
            return first
        for changes, reached in earlier.changes(self._partition, self._next, end):
            found = None
            for change in _streamed(changes):
                self._judge(change)
                self._hold(change)
                if found is None and change.identity == identity:
                    found = change.offset
            self._next = reached
            if found is not None:
                self._judge_rest(earlier, end)
                return found
        self._judged = max(self._judged, end)
        self.is_at_end = True
        return None

    def _judge_rest(self, earlier: EarlierRecords, end: int) -> None:
        """Judge the records between the found record and ``end``."""
        begin = max(self._next, self._judged)
        if begin < end:
            for changes, _ in earlier.changes(self._partition, begin, end):
                for change in _streamed(changes):
                    self._judge(change)
            self._judged = end

    def _judge(self, change: StreamedChange) -> None:
        """Judge one record, once.

        A record may be older if it was accepted although an earlier record may be newer. A change that was sent again
        and applied because of such a record may be older too.
        """
        if change.offset < self._judged:
            return
        self._judged = change.offset + 1
        is_before_latest = self.open.is_before_latest(change)
        self.open.add_unless_copy(change)
        order, before = LogOrder.of(change), self._latest.get(change.key)
        self._latest[change.key] = order
        is_old = change.ts_ms < self._complete_since_ms
        if is_old:
            self._firsts.setdefault(change.identity, change.offset)
        first = self._firsts.get(change.identity, change.offset)
        if first < change.offset:
            if self.maybe_older.was_accepted_since(change, first):
                self.maybe_older.add(change)
        elif is_old and (is_before_latest or (before is not None and order.may_be_older(before, self._clock_ms))):
            self.maybe_older.add(change)
            since_ms = change.ts_ms - self._clock_ms
            if since_ms < self.since_ms:
                known = self.unknown_since_ms
                self.unknown_since_ms = since_ms if known is None else min(since_ms, known)

    def runs(self) -> deque[Run]:
        """All changes in memory."""
        return deque([*self._runs, Run(self._newest, *self._newest_begins)])

    def _hold(self, change: StreamedChange) -> None:
        self._highest_numbers.count(change)
        if len(self._newest) >= _RUN:
            self._runs.append(Run(self._newest, *self._newest_begins))
            self._newest, self._newest_begins = {}, (change.offset, change.written_ms)
            if len(self._runs) * _RUN > _SEARCHED:
                self._runs.popleft()
                self.has_dropped = True
        self._newest.setdefault(change.identity, change.offset)


def _streamed(changes: Sequence[ChangeEvent]) -> Iterator[StreamedChange]:
    return (streamed_change(event) for event in changes if event.position.origin is Origin.STREAMED)
