"""Folds one partition number of all topics together, because a user's rows of every table are in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from msgspec import structs

from consumer.commands.replay.fold import UserFold
from consumer.commands.replay.last import Store
from consumer.commands.replay.linked import LinkedFold
from consumer.commands.replay.rejections import Rejections
from consumer.errors import Place, RecordError, UnknownTable
from consumer.events.avro import NO_SCHEMAS, Schemas
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent, OtherDatabase, Tombstone
from consumer.events.record import SourceRecord
from consumer.events.topic_tables import is_consumed, parse_topic_name
from consumer.guard.history import Histories
from consumer.guard.search import EarlierRecords
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.planning.effect import Plan
from consumer.planning.lone_tombstone import delete_of_lone_tombstone


@dataclass(frozen=True, slots=True)
class Folding:
    """How to fold.

    ``only``: the users to fold, as text; None: all. ``of_tables``: the tables to fold; None: all. ``earlier``: finds
    records that were sent before these; clocks may differ by ``clock_ms``. ``settled``: the places of records whose
    dead letters were discarded. ``checks_rows``: keep only changes whose row can be used.
    """

    rules: Rules
    schemas: Schemas = NO_SCHEMAS
    earlier: EarlierRecords | None = None
    clock_ms: int = 5000
    only: frozenset[str] | None = None
    of_tables: frozenset[str] | None = None
    settled: frozenset[Place] = frozenset()
    checks_rows: bool = False


def counts(table: str, rules: Rules) -> bool:
    """Whether a rebuild writes anything from a table's rows."""
    linked = rules.linked_table(table)
    return rules.table(table) is not None or (linked is not None and bool(linked.writes))


@dataclass(slots=True)
class _Topic:
    """The folds of one topic, by table.

    ``is_named``: the topic's name says which table it contains, in a database that is consumed. ``is_needed``: a
    rebuild may use its records. ``unread``: the last record of each key that could not be parsed: its table may become
    known later.
    """

    is_named: bool
    is_needed: bool = True
    users: dict[str, UserFold] = field(default_factory=dict)
    linked: dict[str, LinkedFold] = field(default_factory=dict)
    unread: dict[bytes, SourceRecord] = field(default_factory=dict)
    by_name: dict[str, UserFold | LinkedFold | None] = field(default_factory=dict)
    """The fold for each name of a table that was seen, also of a partition of a table; None if it is not used."""


class PartitionFold:
    """The folds of one partition number: one for each topic and table."""

    def __init__(
        self,
        number: int,
        tables: Mapping[str, Sequence[str]],
        folding: Folding,
        make_store: Callable[[], Store],
        rejections: Rejections | None = None,
    ) -> None:
        """``tables``: the known tables of each topic; empty: any table is possible, and tables are added when seen."""
        self._number = number
        self._tables = tables
        self._folding = folding
        self._history = Histories(folding.earlier, folding.clock_ms)
        self._make_store = make_store
        self._topics: dict[str, _Topic] = {}
        self.rejections = Rejections(folding.settled) if rejections is None else rejections
        """The records that can't be used."""
        self.others = 0
        """The number of rows of databases that are not consumed."""
        self.unusable: set[str] = set()
        """Users whose last row can't be used; complete after :meth:`plans`."""
        for topic, known in tables.items():
            self._topics[topic] = self._begun(topic, known)

    def again(self, make_store: Callable[[], Store]) -> PartitionFold:
        """An empty fold for the same records: finds the last usable row of each user in ``unusable``."""
        folding = replace(self._folding, only=frozenset(self.unusable), checks_rows=True)
        rejections = Rejections(folding.settled, self.rejections)
        return PartitionFold(self._number, self._tables, folding, make_store, rejections)

    def add(self, topic: str, records: Iterable[SourceRecord]) -> None:
        """Add the next records of a topic.

        Raises:
            ServerError: from the schemas (only for Avro), or from the search for earlier records. The same records may
                be added again.
        """
        folds = self._topics.get(topic)
        if folds is None:
            folds = self._topics[topic] = self._begun(topic, ())
        if not folds.is_needed:
            return
        rules, schemas, first_sent = self._folding.rules, self._folding.schemas, self._history.first_sent
        databases, placeholder = rules.databases, rules.placeholder
        for record in records:
            try:
                event = parse(record, schemas, databases, placeholder=placeholder)
            except RecordError as error:
                self._reject_unread(folds, record, error)
                continue
            if isinstance(event, ChangeEvent):
                fold = folds.by_name.get(event.table) or self._fold_of(folds, event, record)
                if fold is not None and first_sent(event, record.value) is None:
                    fold.add(event, record)
            elif isinstance(event, Tombstone):
                self._add_tombstone(folds, record)
            elif isinstance(event, OtherDatabase):
                self._add_other(folds, record, event)

    def plans(self) -> Iterator[Plan]:
        """The plans that bring Redis to the end of the log: all plans of a user together, then the marks."""
        linked = self._linked()
        for topic, fold in self._users():
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
        for _, fold in self._users():
            yield from (mark for user, mark in fold.marks.items() if user not in self.unusable)

    def users(self) -> Iterator[UserId]:
        """Every user in the log, also deleted ones, and users without a usable record."""
        for _, fold in self._users():
            yield from map(UserId.from_text, fold.store.users())
            yield from map(UserId.from_text, fold.marks)

    def _begun(self, topic: str, known: Iterable[str]) -> _Topic:
        """The folds for the known tables of a topic."""
        rules = self._folding.rules
        name = parse_topic_name(topic, frozenset(rules.captured()))
        is_named = name is not None and is_consumed(rules.databases, name.database)
        folds = _Topic(is_named)
        for table in (name.table,) if is_named and name is not None else known or rules.captured():
            folds.by_name[table] = self._found(folds, table)
        if is_named:
            folds.is_needed = any(fold is not None for fold in folds.by_name.values())
        return folds

    def _fold_of(self, folds: _Topic, event: ChangeEvent, record: SourceRecord) -> UserFold | LinkedFold | None:
        """The fold for a change; None if a rebuild does not use it. A change of an unknown table is rejected."""
        try:
            fold = folds.by_name[event.table]
        except KeyError:
            fold = folds.by_name[event.table] = self._found(folds, event.table)
        if fold is None and not self._folding.rules.captured_name(event.table):
            problem = f"no rule names the table {event.table!r}"
            self.rejections.add(UnknownTable(problem, field="source.table"), record.place)
        return fold

    def _found(self, folds: _Topic, name: str) -> UserFold | LinkedFold | None:
        """The fold for a table in a topic; None if a rebuild does not use the table, or the mapping lacks it."""
        folding = self._folding
        rules = folding.rules
        table = rules.captured_name(name)
        if folding.of_tables is not None and table not in folding.of_tables:
            return None
        if table in folds.users or table in folds.linked:
            return folds.users.get(table) or folds.linked[table]
        if rules.table(table) is not None:
            parts = table, rules, folding.schemas, self._make_store(), self.rejections
            users = UserFold(*parts, only=folding.only, checks_rows=folding.checks_rows)
            folds.users[table] = users
            for record in folds.unread.values():
                users.mark(record)  # it may have been of this table
            return users
        # All rows of a linked table that count could be used when they were folded first.
        if counts(table, rules) and not folding.checks_rows:
            parts = table, rules, folding.schemas, self._make_store(), self.rejections
            folds.linked[table] = LinkedFold(*parts, only=folding.only)
            return folds.linked[table]
        return None

    def _reject_unread(self, folds: _Topic, record: SourceRecord, error: RecordError) -> None:
        """Reject a record that can't be parsed. It may be of any table of its topic."""
        if record.key is not None:
            folds.unread[record.key] = structs.replace(record, value=b"", headers=())
        is_wanted = [fold.mark(record) for fold in folds.users.values()]
        if any(is_wanted) or not is_wanted:
            self.rejections.add(error, record.place)

    def _add_tombstone(self, folds: _Topic, record: SourceRecord) -> None:
        """Add the delete that a tombstone means, if the delete itself is gone. The topic must have only one table."""
        rules, schemas = self._folding.rules, self._folding.schemas
        tables = {rules.captured_name(name) for name in folds.by_name} - {""}
        table = tables.pop() if len(tables) == 1 else ""
        fold = folds.users.get(table)
        if fold is None:
            return
        event = delete_of_lone_tombstone(record, table, rules, schemas, self._history)
        if event is not None:
            fold.add(event, record)

    def _add_other(self, folds: _Topic, record: SourceRecord, row: OtherDatabase) -> None:
        """Count a row of another database. A topic whose name has a consumed database should not contain it."""
        self._history.see_other(record)
        if folds.is_named:
            problem = f"a row of the database {row.database!r}, which is not consumed"
            self.rejections.add(UnknownTable(problem), record.place)
        else:
            self.others += 1

    def _users(self) -> list[tuple[str, UserFold]]:
        return [(topic, fold) for topic, folds in self._topics.items() for fold in folds.users.values()]

    def _linked(self) -> list[tuple[str, LinkedFold]]:
        return [(topic, fold) for topic, folds in self._topics.items() for fold in folds.linked.values()]

    def _has_row(self, user: str) -> bool:
        return any(fold.store.get(user) is not None for _, fold in self._users())
