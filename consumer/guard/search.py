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
from consumer.guard.sent import Key, Number, SentChange, sent_change

_SEARCHED = 1_000_000
_RUN = 4096
ALWAYS = -(2**63)


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


class Numbers:
    """The highest number and the latest time of each server or domain among the changes written since ``since_ms``."""

    def __init__(self) -> None:
        self.since_ms = ALWAYS
        self._have_fallen = False
        self._highest: dict[str, Number] = {}
        self._latest: dict[str, int] = {}

    def count(self, sent: SentChange) -> None:
        """Count a change."""
        highest = self._highest.get(sent.numbered_by)
        if highest is None or sent.number > highest:
            self._highest[sent.numbered_by] = sent.number
        elif sent.number < highest:
            self._have_fallen = True
        if sent.ts_ms > self._latest.get(sent.numbered_by, ALWAYS):
            self._latest[sent.numbered_by] = sent.ts_ms

    def are_of_one_log(self, sent: SentChange, clock_ms: int) -> bool:
        """Whether all numbers are of one server, never fell, and neither number nor time falls with this change.

        Then the change is taken as newer than every change seen, wherever it may have been sent before. The time counts
        too: in MySQL's group replication each member takes GTIDs from a block of its own, so a higher number may be
        older. A time that is lower by up to ``clock_ms`` does not count as fallen: transactions of one server overlap.
        """
        highest = self._highest
        if not highest:
            return True
        if len(highest) > 1 or sent.numbered_by not in highest or self._have_fallen:
            return False
        is_rising = sent.number >= highest[sent.numbered_by]
        return is_rising and sent.ts_ms + clock_ms >= self._latest[sent.numbered_by]

    def are_below(self, sent: SentChange) -> bool:
        """Whether the change is surely new: if it had been sent before, its number would have been seen."""
        highest = self._highest.get(sent.numbered_by)
        is_above = sent.is_number_exact and (highest is None or sent.number > highest)
        return is_above and (not sent.is_timed or sent.ts_ms > self._latest.get(sent.numbered_by, ALWAYS))


class LogOrder(NamedTuple):
    """What orders two changes: the number, whose number it is, and the source's time in UTC milliseconds."""

    numbered_by: str
    number: Number
    ts_ms: int

    @classmethod
    def of(cls, sent: SentChange) -> LogOrder:
        """The order of ``sent``."""
        return cls(sent.numbered_by, sent.number, sent.ts_ms)

    def is_surely_newer(self, other: LogOrder) -> bool:
        """Whether this change is surely newer than ``other``."""
        return self.numbered_by == other.numbered_by and self.number > other.number and self.ts_ms >= other.ts_ms

    def may_be_older(self, other: LogOrder, clock_ms: int) -> bool:
        """Whether this change may be older than ``other``, if clocks differ by up to ``clock_ms``."""
        if self.numbered_by == other.numbered_by:
            return self.number < other.number or self.ts_ms + clock_ms < other.ts_ms
        return self.ts_ms - clock_ms < other.ts_ms


class Doubts:
    """Doubtful changes: accepted, but maybe older than a change sent before them. By user: offset and order of each."""

    def __init__(self) -> None:
        self._of: dict[Key, dict[int, LogOrder | None]] = {}

    def add(self, sent: SentChange) -> None:
        """Note that the doubtful change ``sent`` was accepted."""
        self._of.setdefault(sent.key, {})[sent.offset] = LogOrder.of(sent)

    def add_orphan(self, key: Key, offset: int) -> None:
        """Note that the tombstone at ``offset`` deleted the user ``key``. The order of the delete is not known."""
        self._of.setdefault(key, {})[offset] = None

    def update(self, others: Doubts) -> None:
        """Add all of ``others``."""
        for key, changes in others._of.items():
            self._of.setdefault(key, {}).update(changes)

    def must_apply_again(self, sent: SentChange, first: int) -> bool:
        """Whether a change that may be older than ``sent`` was accepted after ``first``, the first offset of ``sent``.

        ``sent`` itself counts too: if its record is read again, the answer must be the same.
        """
        order = LogOrder.of(sent)
        return any(
            first < offset <= sent.offset and not (doubtful is not None and doubtful.is_surely_newer(order))
            for offset, doubtful in self._of.get(sent.key, {}).items()
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
        numbers: Numbers,
        clock_ms: int,
        complete_since_ms: int,
    ) -> None:
        self.begin = begin
        self.since_ms = since_ms
        self.is_at_end = False
        self.has_dropped = False
        self._partition = partition
        self._next = begin
        self._numbers = numbers
        self._runs: deque[Run] = deque()
        self._newest: dict[int, int] = {}
        self._newest_begins = (begin, since_ms)
        self.doubts = Doubts()
        self.open = OpenTransaction()
        """The transaction that was open at the end of the searched records."""
        self.unknown_since_ms: int | None = None
        """The first record of a doubtful change may be before ``begin``, from this time on; None: no such change."""
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
            for sent in _streamed(changes):
                self._judge(sent)
                self._hold(sent)
                if found is None and sent.identity == identity:
                    found = sent.offset
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
                for sent in _streamed(changes):
                    self._judge(sent)
            self._judged = end

    def _judge(self, sent: SentChange) -> None:
        """Judge one record, once.

        The record is doubtful if it was accepted although it may be older than an earlier record. A change that was
        sent again and applied because of a doubtful record is doubtful too.
        """
        if sent.offset < self._judged:
            return
        self._judged = sent.offset + 1
        is_before_latest = self.open.is_before_latest(sent)
        self.open.add_unless_copy(sent)
        order, before = LogOrder.of(sent), self._latest.get(sent.key)
        self._latest[sent.key] = order
        is_old = sent.ts_ms < self._complete_since_ms
        if is_old:
            self._firsts.setdefault(sent.identity, sent.offset)
        first = self._firsts.get(sent.identity, sent.offset)
        if first < sent.offset:
            if self.doubts.must_apply_again(sent, first):
                self.doubts.add(sent)
        elif is_old and (is_before_latest or (before is not None and order.may_be_older(before, self._clock_ms))):
            self.doubts.add(sent)
            since_ms = sent.ts_ms - self._clock_ms
            if since_ms < self.since_ms:
                known = self.unknown_since_ms
                self.unknown_since_ms = since_ms if known is None else min(since_ms, known)

    def runs(self) -> deque[Run]:
        """All changes in memory."""
        return deque([*self._runs, Run(self._newest, *self._newest_begins)])

    def _hold(self, sent: SentChange) -> None:
        self._numbers.count(sent)
        if len(self._newest) >= _RUN:
            self._runs.append(Run(self._newest, *self._newest_begins))
            self._newest, self._newest_begins = {}, (sent.offset, sent.written_ms)
            if len(self._runs) * _RUN > _SEARCHED:
                self._runs.popleft()
                self.has_dropped = True
        self._newest.setdefault(sent.identity, sent.offset)


def _streamed(changes: Sequence[ChangeEvent]) -> Iterator[SentChange]:
    return (sent_change(event) for event in changes if event.position.origin is Origin.STREAMED)
