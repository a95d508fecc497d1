"""Which tables the topics contain, and from which databases rows are applied.

Debezium names a topic ``<prefix>.<db or schema>.<table>``. Connect's transformations (RegexRouter,
ByLogicalTableRouter) may give it any other name. Then one topic may contain several tables. So a table's name comes
from ``source.table`` of a record. If a record can't be read, it comes from what is known of the record's topic.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import NamedTuple

_UNSAFE = re.compile(r"[^a-zA-Z0-9._-]")


class TopicName(NamedTuple):
    """Database and table from the name of a topic in Debezium's form."""

    database: str
    table: str


def parse_topic_name(topic: str, tables: Collection[str]) -> TopicName | None:
    """Parse the name of ``topic``; None if it does not have the form ``<prefix>.<db or schema>.<one of tables>``.

    The table has its own name in the answer, also where the topic has another form of it.
    """
    parts = topic.rsplit(".", 2)
    if len(parts) == 3 and parts[2] in tables:
        return TopicName(parts[1], parts[2])
    for table in tables:  # a table's name may contain characters that no topic may have, and dots
        before, found, after = topic.rpartition(f".{sanitized(table)}")
        prefix, _, database = before.rpartition(".")
        if found and not after and prefix:
            return TopicName(database, table)
    return None


@lru_cache(maxsize=1024)
def sanitized(name: str) -> str:
    """A name of a database or a table as Debezium writes it in topic names."""
    return _UNSAFE.sub("_", name)


@lru_cache(maxsize=1024)
def is_consumed(databases: frozenset[str], database: str) -> bool:
    """Whether rows of ``database`` are applied if ``databases`` are consumed; empty: all rows are applied.

    Both arguments may contain names in the form of topic names.
    """
    return not databases or database in databases or sanitized(database) in {sanitized(each) for each in databases}


class TopicTables:
    """What is known of the tables in each topic: from topic names in Debezium's form, and from rows that were read.

    Reading records adds to it. ``captured``: the tables of the mapping; other tables are not stored.
    """

    def __init__(self, captured: Iterable[str], known: Iterable[tuple[str, str]] = ()) -> None:
        """``known``: pairs of a topic and a table that the topic contains."""
        self._captured = frozenset(captured)
        self._seen: dict[str, dict[str, str]] = {}
        for topic, table in known:
            self.see(topic, table)

    def see(self, topic: str, table: str, database: str = "") -> None:
        """Note that ``topic`` contains a row of ``table``. ``database``: the row's database, "" if it is not known."""
        seen = self._seen.get(topic)
        if seen is None:
            seen = self._seen[topic] = {}
        if table in self._captured and not seen.get(table):
            seen[table] = database

    def of(self, topic: str) -> tuple[str, ...]:
        """The known tables of ``topic``, sorted by name; empty if nothing is known."""
        found = set(self._seen.get(topic, ()))
        if (said := parse_topic_name(topic, self._captured)) is not None:
            found.add(said.table)
        return tuple(sorted(found))

    def only(self, topic: str) -> str:
        """The table of ``topic`` if exactly one is known; "" if none or several are known."""
        tables = self.of(topic)
        return tables[0] if len(tables) == 1 else ""

    def may_carry(self, topic: str, tables: Collection[str]) -> bool:
        """Whether ``topic`` contains one of ``tables``, or may contain one because nothing is known of the topic."""
        known = self.of(topic)
        return not known or any(table in tables for table in known)

    def database(self, topic: str, table: str) -> str:
        """The database of ``table`` in ``topic``, from rows that were read or the topic's name; "" if not known."""
        if seen := self._seen.get(topic, {}).get(table):
            return seen
        said = parse_topic_name(topic, self._captured)
        return said.database if said is not None and said.table == table else ""

    def include(self, other: TopicTables, topics: Iterable[str]) -> None:
        """Add what ``other`` knows of ``topics``."""
        for topic in topics:
            for table in other.of(topic):
                self.see(topic, table, other.database(topic, table))

    def pairs(self, topics: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """What is known of ``topics``, as the argument ``known`` for another instance."""
        return tuple((topic, table) for topic in topics for table in self.of(topic))
