"""Folds one partition number of all topics together, because a user's rows of every table are in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from consumer.commands.replay.fold import Read, Rejections, Store, UserFold
from consumer.commands.replay.linked import LinkedFold
from consumer.errors import Place, RecordError, UnknownTable
from consumer.events.avro import NO_SCHEMAS, Schemas
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent, OtherDatabase
from consumer.events.record import SourceRecord
from consumer.events.topic_tables import is_consumed, parse_topic_name
from consumer.guard.history import Histories
from consumer.guard.search import EarlierRecords
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.planning.effect import Plan

_Fold = TypeVar("_Fold", UserFold, LinkedFold)


@dataclass(frozen=True, slots=True)
class Folding:
    """How to fold.

    ``only``: the users to fold, as text; None: all. ``of_tables``: the tables to fold; None: all. ``earlier``: finds
    records that were sent before these; clocks may differ by ``clock_ms``. ``settled``: the places of records whose
    dead letters were discarded.
    """

    rules: Rules
    schemas: Schemas = NO_SCHEMAS
    earlier: EarlierRecords | None = None
    clock_ms: int = 5000
    only: frozenset[str] | None = None
    carefully: bool = False
    of_tables: frozenset[str] | None = None
    settled: frozenset[Place] = frozenset()

    def for_users(self, users: Collection[str]) -> Folding:
        """The same for these users, with every record decoded as a whole."""
        return replace(self, only=frozenset(users), carefully=True)


def counts(table: str, rules: Rules) -> bool:
    """Whether a rebuild writes anything from a table's rows."""
    linked = rules.linked_table(table)
    return rules.table(table) is not None or (linked is not None and bool(linked.writes))


class PartitionFold:
    """The folds of one partition number: one for each topic and table."""

    def __init__(
        self, number: int, tables: Mapping[str, Sequence[str]], folding: Folding, make_store: Callable[[], Store]
    ) -> None:
        """``tables``: the known tables of each topic; empty: any table is possible, and tables are added when seen."""
        rules = folding.rules
        self._number = number
        self._folding = folding
        self._history = Histories(folding.earlier, folding.clock_ms)
        self._make_store = make_store
        self._captured = frozenset(rules.captured())
        self._users: dict[str, dict[str, UserFold]] = {}
        self._linked: dict[str, dict[str, LinkedFold]] = {}
        self._unread: dict[str, dict[bytes, Read]] = {}
        """By topic, the last undecodable record of each key: its table may become known later."""
        self._own = Rejections(settled=folding.settled)
        self._repeated = 0
        self.others = 0
        """The number of rows of databases that are not consumed."""
        self.unusable: set[str] = set()
        """Users whose last row can't be used; complete after :meth:`plans`."""
        for topic, known in tables.items():
            for table in known or rules.captured():
                self._fold(topic, table)

    def _fold(self, topic: str, table: str) -> UserFold | LinkedFold | None:
        """The fold for a table in a topic; None if a rebuild does not use the table, or the mapping lacks it."""
        found = self._users.get(topic, {}).get(table) or self._linked.get(topic, {}).get(table)
        if found is not None:
            return found
        folding = self._folding
        rules = folding.rules
        if folding.of_tables is not None and table not in folding.of_tables:
            return None
        parts = (table, rules, folding.schemas, self._history)
        if rules.table(table) is not None:
            users = UserFold(
                *parts, self._make_store(), only=folding.only, carefully=folding.carefully, settled=folding.settled
            )
            self._users.setdefault(topic, {})[table] = users
            # Earlier undecodable records may have been of this table. They are already counted.
            for record in self._unread.get(topic, {}).values():
                users.add(record)
            users.rejections = Rejections(marks=users.rejections.marks, settled=folding.settled)
            return users
        if counts(table, rules) and not folding.carefully:  # a linked row was already decoded when it was folded
            linked = LinkedFold(*parts, self._make_store(), only=folding.only, settled=folding.settled)
            self._linked.setdefault(topic, {})[table] = linked
            return linked
        return None

    def add(self, topic: str, records: Iterable[Read]) -> None:
        """Add the next records of a topic.

        Raises:
            ServerError: from the schemas (only for Avro).
        """
        name = parse_topic_name(topic, self._captured)
        if name is None or not is_consumed(self._folding.rules.databases, name.database):
            for record in records:
                self._add_by_content(topic, record)
            return
        fold = self._fold(topic, name.table)
        if fold is not None:
            add = fold.add
            for record in records:
                add(record)

    def _add_by_content(self, topic: str, record: Read) -> None:
        """Add a record to the fold of the table that the record names, because the topic's name does not name it."""
        if record.value is None:
            return
        source = SourceRecord(record.topic, record.partition, record.offset, 0, record.key, record.value)
        try:
            found = parse(source, self._folding.schemas, self._folding.rules.databases)
        except RecordError as error:
            error.place = source.place
            self._add_unread(topic, record, error)
            return
        if isinstance(found, OtherDatabase):
            self.others += 1
            return
        if not isinstance(found, ChangeEvent):
            return
        table = self._folding.rules.captured_name(found.table)
        if not table:
            unknown = UnknownTable(f"no rule names the table {found.table!r}", field="source.table", place=source.place)
            self._own.add(unknown, None, is_counted=self._folding.carefully)
        elif (fold := self._fold(topic, table)) is not None:
            fold.add(record)

    def _add_unread(self, topic: str, record: Read, error: RecordError) -> None:
        """Add an undecodable record to each fold, which marks the user of its key; count the record once."""
        if record.key is not None:
            brief = SourceRecord(record.topic, record.partition, record.offset, 0, record.key, b"")
            self._unread.setdefault(topic, {})[record.key] = brief
        folds = list(self._users.get(topic, {}).values())
        before = sum(fold.rejections.count for fold in folds)
        for fold in folds:
            fold.add(record)
        added = sum(fold.rejections.count for fold in folds) - before
        self._repeated += max(0, added - 1)
        if not folds:
            self._own.add(error, None, is_counted=self._folding.carefully)

    def plans(self) -> Iterator[Plan]:
        """The plans that bring Redis to the end of the log: all plans of a user together, then the marks."""
        linked = list(_all_folds(self._linked))
        for topic, fold in _all_folds(self._users):
            for user, last in fold.store.items():
                try:
                    yield fold.plan(last, topic, self._number)
                except RecordError:
                    self.unusable.add(user)
                for of_rows, rows in linked:
                    row = rows.store.get(user)
                    if row is not None and not last.forgets(row.version):
                        yield rows.plan(row, of_rows, self._number)
        for topic, rows in linked:
            for user, row in rows.store.items():
                if not self._has_row(user):
                    yield rows.plan(row, topic, self._number)
        for _, fold in _all_folds(self._users):
            yield from (mark for user, mark in fold.rejections.marks.items() if user not in self.unusable)

    def users(self) -> Iterator[UserId]:
        """Every user in the log, also deleted ones, and users without a usable record."""
        for _, fold in _all_folds(self._users):
            yield from map(UserId.from_text, fold.store.users())
            yield from map(UserId.from_text, fold.rejections.marks)

    @property
    def rejections(self) -> Rejections:
        """The records that can't be used."""
        found = Rejections()
        found.include(self._own)
        for _, fold in _all_folds(self._users):
            found.include(fold.rejections)
        for _, linked in _all_folds(self._linked):
            found.include(linked.rejections)
        found.count -= self._repeated
        found.first = list(dict.fromkeys(found.first))
        return found

    def _has_row(self, user: str) -> bool:
        return any(fold.store.get(user) is not None for _, fold in _all_folds(self._users))


def _all_folds(folds: Mapping[str, Mapping[str, _Fold]]) -> Iterator[tuple[str, _Fold]]:
    """All folds with their topics."""
    return ((topic, fold) for topic, by_table in folds.items() for fold in by_table.values())
