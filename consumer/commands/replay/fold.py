"""Folds the changes of one user table to the last change of each user: the result of applying every change in order.

The changes come parsed, and without those that Debezium sent again, as for the stream. The guard's own
comparison decides which change is newer. Of a user's last change the record, the version and the times are kept.
Its row is used when the plan is made. If it can't be used, the user's records are folded again with ``checks_rows``.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import structs

from consumer.commands.replay.last import Last, Part, Store, part_of
from consumer.commands.replay.rejections import Rejections
from consumer.errors import RecordError
from consumer.events.avro import Schemas
from consumer.events.decimals import with_decimal_schema
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent, Operation, RowImage, Tombstone
from consumer.events.record import SourceRecord
from consumer.events.timestamps import timestamp
from consumer.guard.version import Version, compare
from consumer.mapping.rules import Rules
from consumer.planning.change_times import ChangeTimes
from consumer.planning.diff import is_whole, whole_image
from consumer.planning.effect import Plan
from consumer.planning.lone_tombstone import delete_of_tombstone
from consumer.planning.mark import mark_unread
from consumer.planning.plan import user_of
from consumer.planning.rebuild import rebuild_user


class UserFold:
    """Folds one user table's changes of one partition; the changes must be added in order."""

    def __init__(
        self,
        table: str,
        rules: Rules,
        schemas: Schemas,
        store: Store,
        rejections: Rejections,
        *,
        only: Collection[str] | None = None,
        checks_rows: bool = False,
    ) -> None:
        """``only``: the users to fold, as text. ``checks_rows``: keep only changes whose row can be used."""
        found = rules.table(table)
        assert found is not None  # callers pass only user tables
        self._table = found
        self._money = found.money()
        self._rules = rules
        self._placeholder = rules.placeholder.encode()
        self._schemas = schemas
        self._only = only
        self._checks_rows = checks_rows
        self._times = ChangeTimes(rules, found)
        self._rejections = rejections
        self.store = store
        self.marks: dict[str, Plan] = {}
        """By user, the mark for the last record that can't be used."""

    def add(self, event: ChangeEvent, record: SourceRecord) -> None:
        """Add the next change of the partition. ``record``: the change, or the lone tombstone that means it."""
        try:
            user = str(user_of(event, self._table))
            if self._only is not None and user not in self._only:
                return
            if self._checks_rows and event.after is not None:
                whole_image(event.after, self._table, with_decimal_schema(event, self._money).schema)
                timestamp(event.position.ts_ms)
            last = self.store.get(user)
            is_marked = bool(self.marks) and self._is_marked(user, record, last)
            version = Version.of(event, self._rules.epoch)
            if last is not None and not compare(version, last.version).is_accepted:
                return
            if event.after is None or event.op is Operation.DELETE:
                self.store.put(user, Last(version, (part_of(record),), is_delete=True, deletion=version))
            elif last is not None and event.is_incremental and not is_marked:
                self._fill(user, last, event.after, record)
            else:
                self._put(user, last, version, event, record, is_marked=is_marked)
        except RecordError as error:
            if self.mark(record, event):
                self._rejections.add(error, record.place)

    def mark(self, record: SourceRecord, event: ChangeEvent | None = None) -> bool:
        """Mark the user of a record that can't be used; False if the record is of a user who is not folded."""
        mark = mark_unread(record, event, self._table, self._rules, self._schemas)
        if mark is None:
            return True
        user = str(mark.user)
        if self._only is not None and user not in self._only:
            return False
        self.marks[user] = mark
        return True

    def plan(self, last: Last, topic: str, partition: int) -> Plan:
        """The plan that brings Redis to the user's last change.

        Raises:
            RecordError: the row can't be used: fold the user's records again, with ``checks_rows``.
        """
        events = [
            event_of(each, topic, partition, self._table.table, self._rules, self._schemas) for each in last.records
        ]
        events = [with_decimal_schema(event, self._money) for event in events]
        return rebuild_user(events, self._times.by_name(last.times), self._table, self._rules)

    def _put(
        self,
        user: str,
        last: Last | None,
        version: Version,
        event: ChangeEvent,
        record: SourceRecord,
        *,
        is_marked: bool,
    ) -> None:
        """Keep a change of a row that exists, which is newer than ``last``."""
        under = None if last is None or last.is_delete else last
        times = self._times.after(event, () if under is None else under.times, is_marked=is_marked)
        part = part_of(record)
        is_sent_whole = self._placeholder not in part[-1] or is_whole(event.after or {}, self._table)
        records = (part,) if under is None or is_sent_whole else (*under.records, part)
        is_known_whole = is_sent_whole or (under is not None and under.is_whole)
        deletion = None if last is None else last.deletion
        self.store.put(user, Last(version, records, False, is_known_whole, times, deletion))

    def _fill(self, user: str, last: Last, row: RowImage, record: SourceRecord) -> None:
        """An incremental read fills only what is missing in the user's image."""
        if not (last.is_whole or last.is_delete) and is_whole(row, self._table):
            records = (part_of(record), *last.records)
            self.store.put(user, structs.replace(last, records=records, is_whole=True))

    def _is_marked(self, user: str, record: SourceRecord, last: Last | None) -> bool:
        """Whether a record of the user since the last good one could not be used.

        Then a read row overwrites instead of filling, and every column counts as changed.
        """
        mark = self.marks.get(user)
        if mark is None or mark.version.offset > record.offset:
            return False
        return last is None or (not last.is_delete and last.version.offset < mark.version.offset)


def event_of(part: Part, topic: str, partition: int, table: str, rules: Rules, schemas: Schemas) -> ChangeEvent:
    """The change in a record of ``table`` that was folded.

    Raises:
        ServerError: from ``schemas``.
    """
    offset, timestamp_ms, key, value = part
    record = SourceRecord(topic, partition, offset, timestamp_ms, key, value or None)
    found = parse(record, schemas, placeholder=rules.placeholder)
    event = delete_of_tombstone(record, table, rules, schemas) if isinstance(found, Tombstone) else found
    assert isinstance(event, ChangeEvent)  # it was a change when it was folded
    return event
