"""Folds a log to the last change of each user: the result of applying every change in order.

From most records only the deciding parts are decoded (:mod:`consumer.commands.replay.partial_decoder`). When a plan is
made, the row of a user's last record is decoded. If that fails, the user's records are folded again ``carefully``: each
record is decoded as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from msgspec import structs

from consumer.commands.replay.partial_decoder import PartialDecoder, Seen
from consumer.errors import Place, RecordError, UnknownTable
from consumer.events.avro import Schemas
from consumer.events.decimals import with_decimal_schema
from consumer.events.envelope import key_of, parse
from consumer.events.event import ChangeEvent, Operation, OtherDatabase
from consumer.events.position import Origin
from consumer.events.record import Partition, SourceRecord
from consumer.guard.history import Histories
from consumer.guard.streamed_change import streamed_change_of_row
from consumer.guard.version import Version, compare
from consumer.mapping.rules import Rules
from consumer.planning.change_times import ChangeTimes
from consumer.planning.diff import diff, is_whole, whole_image
from consumer.planning.effect import Plan
from consumer.planning.mark import mark_unread
from consumer.planning.plan import user_of
from consumer.planning.rebuild import rebuild_user

_SHOWN = 20


class Read(Protocol):
    """The parts of a record that a fold uses."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def timestamp_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Last:
    """The last change of a user in one table.

    ``records``: the records that make up the image: offset, key and value of the change, and before it of earlier
    changes with columns that the last one lacks. ``times``: when each time field was set last, in the order of
    :class:`ChangeTimes`. ``deletion``: the version of the delete of an earlier user with the same id.
    """

    version: Version
    records: tuple[tuple[int, bytes | None, bytes], ...]
    is_delete: bool
    is_whole: bool
    times: tuple[int, ...] = ()
    deletion: Version | None = None

    def forgets(self, row: Version) -> bool:
        """Whether a linked row of this user is older than the user's deletion, so that it does not count any more."""
        if self.is_delete:
            return True
        deletion = self.deletion
        return deletion is not None and row.written_ms < deletion.written_ms


class Store(Protocol):
    """Stores the last changes of one table, by user."""

    def get(self, user: str) -> Last | None:
        """The user's last change so far."""
        ...

    def put(self, user: str, last: Last) -> None:
        """Store this change instead."""
        ...

    def items(self) -> Iterable[tuple[str, Last]]:
        """All users with their last changes."""
        ...

    def users(self) -> Iterable[str]:
        """All users."""
        ...


@dataclass(slots=True)
class Rejections:
    """Records that can't be used: their number, the first few by place and reason, and the last one of each user.

    Records at ``settled`` places do not count: their dead letters were discarded. They are in ``given_up``.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)
    by_reason: Counter[str] = field(default_factory=Counter)
    marks: dict[str, Plan] = field(default_factory=dict)
    settled: frozenset[Place] = frozenset()
    given_up: set[Place] = field(default_factory=set)

    def add(self, error: RecordError, mark: Plan | None, *, is_counted: bool = False) -> None:
        """Add a record. ``mark``: for its user, if known. ``is_counted``: another fold has counted the record."""
        if mark is not None:
            self.marks[str(mark.user)] = mark
        if error.place is not None and error.place in self.settled:
            self.given_up.add(error.place)
            return
        if is_counted:
            return
        self.count += 1
        self.by_reason[type(error).__name__] += 1
        if len(self.first) < _SHOWN:
            self.first.append(str(error))

    def include(self, others: Rejections) -> None:
        """Add the rejections of another fold."""
        self.count += others.count
        self.by_reason += others.by_reason
        self.first = [*self.first, *others.first][:_SHOWN]
        self.marks |= others.marks
        self.given_up |= others.given_up


class UserFold:
    """Folds one user table's records of one partition; the records must be added in order."""

    def __init__(
        self,
        table: str,
        rules: Rules,
        schemas: Schemas,
        history: Histories,
        store: Store,
        *,
        only: Collection[str] | None = None,
        carefully: bool = False,
        settled: frozenset[Place] = frozenset(),
    ) -> None:
        """``only``: the users to fold, as text. ``carefully``: decode every record as a whole. ``settled``: as in
        :class:`Rejections`.
        """
        found = rules.table(table)
        assert found is not None  # callers pass only user tables
        self._table = found
        # Without the old image the new one is still known; only the changed columns are not.
        self._rules = replace(rules, accept_missing_before=True)
        self._schemas = schemas
        self._history = history
        self._only = only
        self._times = ChangeTimes(rules)
        self._owned = [column.field for column in found.columns]
        self._decode_parts = PartialDecoder(found, rules.databases, rules.placeholder)
        # The partial decoder does not handle times that are set by columns without a field.
        self._must_read_whole = carefully or bool(rules.outside.stamps)
        self._is_second_pass = carefully
        self.store = store
        self.rejections = Rejections(settled=settled)

    def add(self, record: Read) -> None:
        """Add the next record of the partition.

        Raises:
            ServerError: from the schemas (only for Avro).
        """
        if record.value is None:
            return
        seen = None if self._must_read_whole else self._decode_parts(record.value)
        if seen is None:
            self._add_carefully(record, record.value)
        elif (self._only is None or seen.user in self._only) and self._is_new(seen, record):
            self._fold_change(seen, record, record.value)

    def _is_new(self, seen: Seen, record: Read) -> bool:
        """Whether it is not a copy of an earlier record."""
        partition = Partition(record.topic, record.partition)
        if seen.position.origin is not Origin.STREAMED:
            return self._history.first_copy(partition, record.value or b"", record.offset) is None
        key = key_of(record.key, self._schemas)
        change = streamed_change_of_row(
            self._table.table, seen.op, key, seen.position, record.timestamp_ms, record.offset, seen.images
        )
        return self._history.first_offset(partition, change) is None

    def plan(self, last: Last, topic: str, partition: int) -> Plan:
        """The plan that brings Redis to the user's last change.

        Raises:
            RecordError: the row can't be used: fold the user's records again, carefully.
        """
        money = self._table.money
        sources = (self._source(each, topic, partition) for each in last.records)
        events = [with_decimal_schema(event_of(source, self._rules, self._schemas), money()) for source in sources]
        planned = rebuild_user(events, self._times.by_name(last.times), self._table, self._rules)
        return structs.replace(planned, version=last.version)

    @staticmethod
    def _source(each: tuple[int, bytes | None, bytes], topic: str, partition: int) -> SourceRecord:
        offset, key, value = each
        return SourceRecord(topic, partition, offset, 0, key, value)

    def _add_carefully(self, record: Read, value: bytes) -> None:
        source = SourceRecord(record.topic, record.partition, record.offset, record.timestamp_ms, record.key, value)
        event: ChangeEvent | None = None
        try:
            parsed = parse(source, self._schemas, self._rules.databases, placeholder=self._rules.placeholder)
            if isinstance(parsed, OtherDatabase):
                error = UnknownTable(f"a row of the database {parsed.database!r}, which is not consumed")
                error.place = source.place
                self.rejections.add(error, None, is_counted=self._is_second_pass)
                return
            if not isinstance(parsed, ChangeEvent) or self._history.first_sent(parsed, value) is not None:
                return
            event = with_decimal_schema(parsed, self._table.money())
            seen = self._seen(event)
        except RecordError as error:
            error.place = source.place
            mark = mark_unread(source, event, self._table, self._rules, self._schemas)
            if mark is None or self._only is None or str(mark.user) in self._only:
                is_counted = self._is_second_pass and self._decode_parts(value) is None
                self.rejections.add(error, mark, is_counted=is_counted)
            return
        if self._only is None or seen.user in self._only:
            self._fold_change(seen, record, value)

    def _seen(self, event: ChangeEvent) -> Seen:
        if self._rules.table(event.table) is not self._table:
            raise UnknownTable(f"a row of {event.table!r} in another table's topic", field="source.table")
        user = str(user_of(event, self._table))
        if event.after is None or event.op is Operation.DELETE:
            return Seen(user, Operation.DELETE, event.position)
        whole_image(event.after, self._table, event.schema)
        changed: Collection[str] = ()
        if event.op is Operation.UPDATE:
            changed = diff(event.before or {}, event.after, self._table, event.schema).fields
        return Seen(user, event.op, event.position, changed, is_whole(event.after, self._table))

    def _fold_change(self, seen: Seen, record: Read, value: bytes) -> None:
        position = seen.position
        version = Version(
            self._rules.epoch,
            position.origin,
            record.timestamp_ms,
            position.ts_ms,
            record.topic,
            record.partition,
            record.offset,
        )
        last = self.store.get(seen.user)
        part = (record.offset, record.key, value)
        if last is not None and not compare(version, last.version).is_accepted:
            return
        is_marked = self._is_marked(seen.user, record, last)
        if last is not None and position.origin is Origin.INCREMENTAL and not is_marked:
            if not (last.is_whole or last.is_delete) and seen.is_whole:
                self.store.put(seen.user, replace(last, records=(part, *last.records), is_whole=True))
            return
        if seen.op is Operation.DELETE:
            self.store.put(seen.user, Last(version, (part,), True, True, deletion=version))
            return
        under = last if last is not None and not last.is_delete else None
        changed = self._owned if is_marked else seen.changed
        times = self._times.after(seen.op, changed, position, under.times if under else ())
        below = under.records if under is not None and not seen.is_whole else ()
        is_whole_now = seen.is_whole or (under is not None and under.is_whole)
        self.store.put(
            seen.user, Last(version, (*below, part), False, is_whole_now, times, last.deletion if last else None)
        )

    def _is_marked(self, user: str, record: Read, last: Last | None) -> bool:
        """Whether a record of the user since the last good one could not be used.

        Then a read row overwrites instead of filling, and the changed columns are not known.
        """
        mark = self.rejections.marks.get(user)
        if mark is None or mark.version.offset > record.offset:
            return False
        return last is None or (not last.is_delete and last.version.offset < mark.version.offset)


def event_of(record: SourceRecord, rules: Rules, schemas: Schemas) -> ChangeEvent:
    """Decode a record that was folded.

    Raises:
        ServerError: from ``schemas``.
    """
    event = parse(record, schemas, placeholder=rules.placeholder)
    assert isinstance(event, ChangeEvent)  # it was a change when it was folded
    return event
