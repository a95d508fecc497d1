"""The history of a partition: which changes were sent before.

Debezium sends the latest part of its log again after a restart, after a failover, or if its offsets are set back.

The usual case: the change's number is above all numbers seen of the same server, so the change is new. Any other
change is looked up by its identity: first in memory. If the memory does not reach back to the change's source time,
the topic itself is searched. A change is never sent before it is committed. So a memory that reaches back to the source
time also proves that a change was not sent before. A change that was sent before is not applied again. A change that
was not sent before is new, whatever its source position.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from consumer.events.event import ChangeEvent
from consumer.events.position import Origin
from consumer.events.record import Partition, SourceRecord
from consumer.guard.memory import Memory, NewestReads
from consumer.guard.open_transaction import OpenTransaction
from consumer.guard.search import ALWAYS, EarlierRecords, HighestNumbers, MaybeOlderChanges, Search
from consumer.guard.streamed_change import Key, StreamedChange, streamed_change

_STREAMED = Origin.STREAMED  # looked up once (decision 29)
_REMEMBERED = 40_000
_BEFORE = 100
"""How many offsets before a tombstone its delete is searched."""


class History(Protocol):
    """Finds changes that were sent before. The caller passes the records of each partition in the order of their
    offsets, and may begin again at an earlier offset.
    """

    def first_sent(self, event: ChangeEvent, value: bytes | None = None) -> int | None:
        """The offset of the first record in the same partition with this change; None if the change is new.

        ``value``: the record's value, which identifies a second copy of a snapshot read. Without it every read is new.

        Raises:
            ServerUnavailable: the topic must be read and can't be read now; the caller may pass the same records again.
        """
        ...

    def see_other(self, record: SourceRecord) -> None:
        """Note a record of a database that is not consumed. The next tombstone with its key may be of its delete."""
        ...

    def is_delete_missing(self, tombstone: SourceRecord, key: Mapping[str, object]) -> bool:
        """Whether the delete of a tombstone is no longer in the topic, as after compaction.

        Raises:
            ServerUnavailable: as :meth:`first_sent`.
        """
        ...

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Forget ``partitions``: they are no longer read, or are read from another offset."""
        ...


class _NoHistory:
    """Treats every change as new, and every tombstone as one whose delete is in the topic."""

    def first_sent(self, event: ChangeEvent, value: bytes | None = None) -> int | None:
        return None

    def see_other(self, record: SourceRecord) -> None:
        pass

    def is_delete_missing(self, tombstone: SourceRecord, key: Mapping[str, object]) -> bool:
        return False

    def forget(self, partitions: Iterable[Partition]) -> None:
        pass


NO_HISTORY: History = _NoHistory()


class PartitionHistory:
    """The history of one partition.

    ``earlier`` reads the records before the first change that was passed here; None: there are no such records.
    ``clock_ms``: how much the clocks of the databases, of Kafka Connect and of the brokers may differ.
    """

    def __init__(
        self, partition: Partition, earlier: EarlierRecords | None, clock_ms: int, remembered: int = _REMEMBERED
    ) -> None:
        self._partition = partition
        self._earlier = earlier
        self._clock_ms = clock_ms
        self._remembered = remembered
        self._memory: Memory | None = None
        self._search: Search | None = None
        self._highest_numbers = HighestNumbers()
        self._reads = NewestReads()
        self._sure_since_ms = ALWAYS
        """A change of this time or later that is not found was not sent before."""
        self._open = OpenTransaction()
        self._last: ChangeEvent | None = None
        self._has_looked = False
        """The record before the first tombstone was looked up; the later ones are passed here."""
        self._maybe_older = MaybeOlderChanges()

    def first_sent(self, event: ChangeEvent, value: bytes | None = None) -> int | None:
        """As :meth:`History.first_sent`."""
        self._last = event
        if event.position.origin is not _STREAMED:
            return None if value is None else self._reads.first_offset(value, event.place.offset)
        change = streamed_change(event)
        memory = self._memory if self._memory is not None else self._begin(change)
        first = self._found(change, memory)
        if first is not None and first < change.offset and not self._must_apply_again(change, first):
            return first
        memory.put(change.identity, change.offset, change.written_ms)
        self._highest_numbers.count(change)
        self._open.add(change)
        return None

    def is_delete_missing(self, offset: int, key: Key) -> bool:
        """As :meth:`History.is_delete_missing`, for the tombstone at ``offset`` whose key has the values ``key``."""
        if self._last is None and self._earlier is not None and not self._has_looked:
            for changes, _ in self._earlier.changes(self._partition, max(0, offset - _BEFORE), offset):
                for event in changes:
                    self._last = event
            self._has_looked = True
        last = self._last
        if last is not None and last.after is None and tuple(last.key.values()) == key and last.place.offset < offset:
            return False
        self._maybe_older.add_lone_tombstone(key, offset)
        return True

    def _begin(self, change: StreamedChange) -> Memory:
        earlier = self._earlier
        since_ms = ALWAYS if earlier is None or change.offset == 0 else change.written_ms
        self._highest_numbers.since_ms = since_ms
        if earlier is not None:
            laid_out_ms = earlier.coverage(self._partition).laid_out_ms if change.offset == 0 else change.written_ms
            self._sure_since_ms = min(change.written_ms, laid_out_ms)
        self._memory = Memory(change.offset, since_ms, self._remembered)
        return self._memory

    def _found(self, change: StreamedChange, memory: Memory) -> int | None:
        """The first offset at which the change was sent, maybe this record's own; None if it was not sent before."""
        since_ms = change.ts_ms - self._clock_ms
        first = None
        if since_ms >= self._highest_numbers.since_ms and self._highest_numbers.is_surely_new(change):
            self._search = None
        else:
            first = memory.get(change.identity)
            if first is None and since_ms < memory.since_ms and self._earlier is not None:
                first = self._looked_up(change, memory, self._earlier, since_ms)
        if (
            first is None
            and since_ms < self._sure_since_ms
            and not self._highest_numbers.are_of_one_log(change, self._clock_ms)
        ):
            self._maybe_older.add(change)
        return first

    def _looked_up(self, change: StreamedChange, memory: Memory, earlier: EarlierRecords, since_ms: int) -> int | None:
        search, end = self._search, memory.begin_offset
        first = None
        if search is not None and search.since_ms <= since_ms:
            first = search.find(change.identity, earlier, end)
        if search is None or search.since_ms > since_ms or (first is None and search.has_dropped):
            search, first = self._searched(change, earlier, since_ms, end)
        if search.is_at_end and not search.has_dropped:
            memory.reach_back(search.runs(), search.begin, search.since_ms)
            self._highest_numbers.since_ms = min(self._highest_numbers.since_ms, search.since_ms)
            sure_since_ms = max(search.since_ms, *earlier.coverage(self._partition))
            self._sure_since_ms = min(self._sure_since_ms, sure_since_ms)
            self._search = None
        return first

    def _searched(
        self, change: StreamedChange, earlier: EarlierRecords, since_ms: int, end: int
    ) -> tuple[Search, int | None]:
        """Search the topic from ``since_ms`` on.

        If the first record of a change that may be older is before that time, the search begins again at an earlier
        time.
        """
        complete_since_ms = max(earlier.coverage(self._partition)) + self._clock_ms
        begin = -1
        while True:
            # Begin a little earlier than needed, because the next change may be a little older.
            begin_ms = since_ms - self._clock_ms
            before, begin = begin, earlier.offset_at(self._partition, begin_ms)
            search = Search(self._partition, begin, begin_ms, self._highest_numbers, self._clock_ms, complete_since_ms)
            first = search.find(change.identity, earlier, end)
            if search.unknown_since_ms is None or begin == before:
                break
            since_ms = search.unknown_since_ms
        self._maybe_older.update(search.maybe_older)
        self._open.begin_with(search.open)
        self._search = search
        return search, first

    def _must_apply_again(self, change: StreamedChange, first: int) -> bool:
        """Whether to apply a change although an equal one was sent at ``first``: it is another change of the same
        transaction, or a change that may be older, or may be a copy, was accepted in between.
        """
        if self._maybe_older.was_accepted_since(change, first):
            # Apply the later changes too that are sent again; otherwise the user would keep the values of this change.
            self._maybe_older.add(change)
            return True
        return self._open.is_new_change(change, first) or self._open.was_doubtful_since(change, first)


class Histories:
    """The history of each partition that is read. A history begins at the first offset that was read."""

    def __init__(self, earlier: EarlierRecords | None, clock_ms: int) -> None:
        self._earlier = earlier
        self._clock_ms = clock_ms
        self._of: dict[tuple[str, int], PartitionHistory] = {}
        self._others: dict[tuple[str, int], SourceRecord] = {}
        """The last record of another database, by partition."""

    def first_sent(self, event: ChangeEvent, value: bytes | None = None) -> int | None:
        """As :meth:`History.first_sent`."""
        place = event.place
        history = self._of.get((place.topic, place.partition)) or self._history((place.topic, place.partition))
        return history.first_sent(event, value)

    def see_other(self, record: SourceRecord) -> None:
        """As :meth:`History.see_other`."""
        self._others[record.topic, record.partition] = record

    def is_delete_missing(self, tombstone: SourceRecord, key: Mapping[str, object]) -> bool:
        """As :meth:`History.is_delete_missing`."""
        other = self._others.get((tombstone.topic, tombstone.partition))
        if other is not None and other.key == tombstone.key and other.offset < tombstone.offset:
            return False  # to delete a user because of another database would be worse than to keep one too long
        history = self._history(Partition(tombstone.topic, tombstone.partition))
        return history.is_delete_missing(tombstone.offset, tuple(key.values()))

    def forget(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._of.pop(partition, None)
            self._others.pop(partition, None)

    def _history(self, partition: tuple[str, int]) -> PartitionHistory:
        found = self._of.get(partition)
        if found is None:
            found = PartitionHistory(Partition(*partition), self._earlier, self._clock_ms)
            self._of[partition] = found
        return found
