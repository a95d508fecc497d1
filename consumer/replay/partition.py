"""One partition number of all topics, folded together: a user's rows of every table lie there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from consumer.avro import NO_SCHEMAS, Schemas
from consumer.effect import Plan
from consumer.errors import RecordError
from consumer.guard.history import Earlier, Histories
from consumer.keys import UserId
from consumer.replay.fold import Last, Read, Rejections, Store, UserFold
from consumer.replay.linked import LinkedFold
from consumer.rules import Rules


@dataclass(frozen=True, slots=True)
class Folding:
    """How to fold: ``only`` are the users that count, as text, None for all. ``earlier`` is asked for what was sent
    before the records that are folded, by clocks that differ by ``clock_ms``.
    """

    rules: Rules
    schemas: Schemas = NO_SCHEMAS
    earlier: Earlier | None = None
    clock_ms: int = 5000
    only: frozenset[str] | None = None
    carefully: bool = False

    def for_users(self, users: Collection[str]) -> Folding:
        """The same for these users, each of whose records is looked at whole."""
        return replace(self, only=frozenset(users), carefully=True)


def counts(table: str, rules: Rules) -> bool:
    """Whether a table's rows have a part in what a rebuild writes."""
    linked = rules.linked_table(table)
    return rules.table(table) is not None or (linked is not None and bool(linked.writes))


class PartitionFold:
    """The folds of one partition number. ``tables`` are those of its topics, by topic."""

    def __init__(
        self, number: int, tables: Mapping[str, str], folding: Folding, make_store: Callable[[], Store]
    ) -> None:
        rules = folding.rules
        self._number = number
        self._users: dict[str, UserFold] = {}
        self._linked: dict[str, LinkedFold] = {}
        self._tables = tables
        history = Histories(folding.earlier, folding.clock_ms)
        for topic, table in tables.items():
            parts = (table, rules, folding.schemas, history, make_store())
            if rules.table(table) is not None:
                self._users[topic] = UserFold(*parts, only=folding.only, carefully=folding.carefully)
            elif not folding.carefully:  # whether a row can be used was seen when it was folded
                self._linked[topic] = LinkedFold(*parts, only=folding.only)
        types = {each.table: each.user_type for each in rules.tables}
        self._topics = {types[table]: topic for topic, table in tables.items() if table in types}
        self.unusable: set[str] = set()
        """Users whose last row can't be used, once :meth:`plans` has seen it."""

    def add(self, topic: str, records: Iterable[Read]) -> None:
        """The next records of a topic.

        Raises:
            ServerError: from the schemas, which only Avro asks.
        """
        fold = self._users.get(topic) or self._linked.get(topic)
        if fold is not None:
            add = fold.add
            for record in records:
                add(record)

    def plans(self) -> Iterator[Plan]:
        """What brings Redis to where the log ends: a plan of each user and table, then the marks."""
        for topic, fold in self._users.items():
            for user, last in fold.store.items():
                try:
                    yield fold.plan(last, topic, self._number)
                except RecordError:
                    self.unusable.add(user)
        for topic, linked in self._linked.items():
            for user, last in linked.store.items():
                if not self._is_forgotten(user, last):
                    yield linked.plan(last, topic, self._number)
        for fold in self._users.values():
            yield from (mark for user, mark in fold.rejections.marks.items() if user not in self.unusable)

    def users(self) -> Iterator[UserId]:
        """Every user of whom the log tells, deleted ones too, and those of whom nothing can be used."""
        for fold in self._users.values():
            yield from map(UserId.from_text, fold.store.users())
            yield from map(UserId.from_text, fold.rejections.marks)

    @property
    def rejections(self) -> Rejections:
        """Records that can't be used."""
        found = Rejections()
        for fold in self._users.values():
            found.include(fold.rejections)
        for linked in self._linked.values():
            found.include(linked.rejections)
        return found

    def _is_forgotten(self, user: str, row: Last) -> bool:
        topic = self._topics.get(user.partition(":")[0])
        owner = self._users[topic].store.get(user) if topic is not None else None
        return owner is not None and owner.forgets(row.version)
