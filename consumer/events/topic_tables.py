"""Which tables the topics carry, and of which databases rows are taken.

Debezium names a topic ``<prefix>.<db or schema>.<table>``. Connect's transformations (RegexRouter,
ByLogicalTableRouter) give it any other name, and one topic may carry several tables then. So a table's name comes from
``source.table`` of a record, and where a record can't be read, from what is known of its topic here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import NamedTuple

_UNSAFE = re.compile(r"[^a-zA-Z0-9._-]")


class Named(NamedTuple):
    """What the name of a topic says that has Debezium's form."""

    database: str
    table: str


def named(topic: str, tables: Collection[str]) -> Named | None:
    """What the name of ``topic`` says, None where it has not the form ``<prefix>.<db or schema>.<one of tables>``."""
    parts = topic.rsplit(".", 2)
    return Named(parts[1], parts[2]) if len(parts) == 3 and parts[2] in tables else None


def sanitized(database: str) -> str:
    """A database's name as it stands in the names of its topics."""
    return _UNSAFE.sub("_", database)


@lru_cache(maxsize=1024)
def is_taken(databases: frozenset[str], database: str) -> bool:
    """Whether rows of ``database`` are taken where ``databases`` are followed; without any, all are.

    Either may be written as in the names of topics.
    """
    return not databases or database in databases or sanitized(database) in {sanitized(each) for each in databases}


class TopicTables:
    """What is known of the tables of topics: from Debezium's names, and from the rows that were seen in them.

    It grows while records are read. ``captured`` are the tables of the mapping: others are no business of this program.
    """

    def __init__(self, captured: Iterable[str], known: Iterable[tuple[str, str]] = ()) -> None:
        """``known`` are topics with a table that each carries."""
        self._captured = frozenset(captured)
        self._seen: dict[str, dict[str, str]] = {}
        for topic, table in known:
            self.see(topic, table)

    def see(self, topic: str, table: str, database: str = "") -> None:
        """A row of ``table`` lies in ``topic``; ``database`` is where it comes from, "" if that is not known."""
        seen = self._seen.get(topic)
        if seen is None:
            seen = self._seen[topic] = {}
        if table in self._captured and not seen.get(table):
            seen[table] = database

    def of(self, topic: str) -> tuple[str, ...]:
        """The tables that ``topic`` is known to carry, in the order of their names; none where nothing is known."""
        found = set(self._seen.get(topic, ()))
        if (said := named(topic, self._captured)) is not None:
            found.add(said.table)
        return tuple(sorted(found))

    def only(self, topic: str) -> str:
        """The table of a topic that is known to carry one; "" where none or several are known."""
        tables = self.of(topic)
        return tables[0] if len(tables) == 1 else ""

    def may_carry(self, topic: str, tables: Collection[str]) -> bool:
        """Whether ``topic`` carries one of ``tables``, or may do so, for nothing is known of it."""
        known = self.of(topic)
        return not known or any(table in tables for table in known)

    def database(self, topic: str, table: str) -> str:
        """The database of which rows of ``table`` were seen in ``topic``, or which its name says; "" if not known."""
        if seen := self._seen.get(topic, {}).get(table):
            return seen
        said = named(topic, self._captured)
        return said.database if said is not None and said.table == table else ""

    def include(self, other: TopicTables, topics: Iterable[str]) -> None:
        """What another one knows of ``topics`` too."""
        for topic in topics:
            for table in other.of(topic):
                self.see(topic, table, other.database(topic, table))

    def pairs(self, topics: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """What is known of ``topics``, as ``known`` of another one."""
        return tuple((topic, table) for topic in topics for table in self.of(topic))
