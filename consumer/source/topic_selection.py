"""Decides which topics to consume, and of which databases; the same decision for all commands. Pure.

Topics are those named in the settings, else those of the captured tables under the prefix. Their rows must come from
one database (MySQL, MariaDB) or schema (PostgreSQL): the one in the settings, else the one that the group consumed
before, else the only one that exists. A restored backup has the same tables under the same prefix, but other values.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from consumer.errors import ConfigError
from consumer.events.topic_tables import TopicTables, is_consumed, parse_topic_name, sanitized

_DATABASE = "CDC_SOURCE__DATABASE"
_TOPICS = "CDC_KAFKA__TOPICS"


class Naming(Protocol):
    """The settings for the selection: exact names, or a prefix; and whether partition numbers must be equal."""

    @property
    def topics(self) -> tuple[str, ...]: ...
    @property
    def topic_prefix(self) -> str: ...
    @property
    def uneven(self) -> Literal["warn", "refuse"]: ...


@dataclass(frozen=True, slots=True)
class Selection:
    """The topics to consume.

    ``topics``: the existing ones, by name. ``pattern``: later topics match it; "" if the settings name the topics.
    ``databases``: the databases whose rows are applied. ``tables``: the known tables of each topic. ``refused``: topics
    of another database. ``lacking``: what must exist before anything can be consumed, or "". ``uneven``: the numbers of
    partitions by topic, if they differ; else empty.
    """

    topics: tuple[str, ...]
    pattern: str
    databases: frozenset[str]
    tables: TopicTables
    refused: tuple[str, ...] = ()
    lacking: str = ""
    uneven: Mapping[str, int] = field(default_factory=dict)

    def takes(self, topic: str, named: Collection[str] = ()) -> bool:
        """Whether to consume a topic, also one that was created later; ``named``: topics that the settings name."""
        return topic in self.topics or topic in named or (bool(self.pattern) and bool(re.match(self.pattern, topic)))

    def carrying(self, tables: Collection[str]) -> list[str]:
        """The topics that contain one of ``tables``, or whose tables are not known yet."""
        return [topic for topic in self.topics if self.tables.may_carry(topic, tables)]


@dataclass(frozen=True, slots=True)
class Row:
    """A table and database that was seen in a record of a topic."""

    topic: str
    table: str
    database: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the decision is based on.

    ``present``: all topics with their numbers of partitions. ``explicit``: the databases in the settings.
    ``remembered``: the databases that the group consumed before. ``committed``: the topics for which the group has
    offsets. ``rows``: what was seen in the topics.
    """

    present: Mapping[str, int]
    explicit: frozenset[str] = frozenset()
    remembered: frozenset[str] = frozenset()
    committed: frozenset[str] = frozenset()
    rows: Sequence[Row] = field(default_factory=tuple)


def topic_pattern(prefix: str, tables: Sequence[str], databases: Collection[str] = ()) -> str:
    """A regular expression for the topics of the captured tables: ``<prefix>.<db or schema>.<table>``."""
    scopes = "|".join(sorted(re.escape(sanitized(each)) for each in databases)) or "[^.]+"
    return rf"^{re.escape(prefix)}\.({scopes})\.({'|'.join(re.escape(sanitized(table)) for table in tables)})$"


def candidates(present: Iterable[str], settings: Naming, tables: Sequence[str]) -> list[str]:
    """The topics that may be consumed, of any database."""
    if settings.topics:
        return sorted(set(settings.topics) & set(present))
    pattern = topic_pattern(settings.topic_prefix, tables)
    return sorted(name for name in present if re.match(pattern, name))


def is_routed(topic: str, tables: Collection[str]) -> bool:
    """Whether the name of ``topic`` does not contain table and database, because a transform in Connect changed it."""
    return parse_topic_name(topic, tables) is None


def to_look_at(known: Known, settings: Naming, tables: Sequence[str]) -> list[str]:
    """The topics from which some records must be read before :func:`select` can decide.

    If the database is not known: all topics, because the database in a topic's name may differ from that of its rows.
    Else: topics whose tables are known only from their rows.
    """
    found = candidates(known.present, settings, tables)
    if known.explicit or known.remembered:
        return [topic for topic in found if is_routed(topic, tables)]
    return _decisive(found, known)


def select(known: Known, settings: Naming, tables: Sequence[str]) -> Selection:
    """The topics to consume.

    Raises:
        ConfigError: there are several databases and none is selected, two topics contain one table, or the topics are
            uneven and the settings refuse that.
    """
    found = candidates(known.present, settings, tables)
    databases = known.explicit or known.remembered or _databases(found, known, settings, tables)
    seen = TopicTables(tables)
    for row in known.rows:
        if is_consumed(databases, row.database):
            seen.see(row.topic, row.table, row.database)
    if settings.topics:
        lacking = ", ".join(sorted(set(settings.topics) - set(found)))
        if not (lacking or databases):
            lacking = f"a readable row in {', '.join(found)} that shows its database; or {_DATABASE}"
        chosen, pattern = found, ""
        _refuse_twice(chosen, seen)
    else:
        if len(databases) > 1:
            names = ",".join(sorted(databases))
            raise ConfigError(
                _DATABASE, f"several databases: {names}", fix=f"name one; or name the exact topics too, in {_TOPICS}"
            )
        pattern = topic_pattern(settings.topic_prefix, tables, databases)
        chosen = [topic for topic in found if re.match(pattern, topic)]
        scope = sanitized(*databases) if databases else "<db or schema>"
        lacking = "" if chosen else f"topics like {settings.topic_prefix}.{scope}.<captured table>"
    others = tuple(refused(found, settings, tables, databases))
    uneven = _uneven({topic: known.present[topic] for topic in chosen}, settings)
    return Selection(tuple(chosen), pattern, databases, seen, others, lacking, uneven)


def refused(present: Iterable[str], settings: Naming, tables: Sequence[str], databases: frozenset[str]) -> list[str]:
    """The topics under the prefix that are not consumed, because they are of another database.

    Empty if the settings name the topics, because then the selection is explicit.
    """
    if settings.topics:
        return []
    names = ((topic, parse_topic_name(topic, tables)) for topic in candidates(present, settings, tables))
    return [topic for topic, name in names if name is not None and not is_consumed(databases, name.database)]


def _decisive(found: Sequence[str], known: Known) -> list[str]:
    """The topics that decide the database: those for which the group has offsets, else all."""
    return [topic for topic in found if topic in known.committed] or list(found)


def _databases(topics: Sequence[str], known: Known, settings: Naming, tables: Sequence[str]) -> frozenset[str]:
    """The databases to consume if neither the settings nor the group say it; empty if nothing is known."""
    decisive = _decisive(topics, known)
    by_topic = {topic: frozenset(row.database for row in known.rows if row.topic == topic) for topic in decisive}
    names = {topic: name.database for topic in decisive if (name := parse_topic_name(topic, tables)) is not None}
    found = frozenset().union(*by_topic.values(), *({name} for topic, name in names.items() if not by_topic[topic]))
    if settings.topics:
        # A setting with topic names in Debezium's form names the databases too.
        is_explicit = all(names.get(topic) and _is_as_named(rows, names[topic]) for topic, rows in by_topic.items())
        if len(found) > 1 and not is_explicit:
            raise _ambiguous(found, decisive, "name the one to consume; or all of them, comma separated")
        return found
    if len(found) > 1:
        raise _ambiguous(found, decisive, f"name the one to consume; or all of them, and {_TOPICS}")
    if found and not any(is_consumed(found, name) for name in names.values()):
        joined, (database,) = ", ".join(decisive), found
        raise ConfigError(
            _TOPICS, f"{joined}: the rows are of the database {database}", fix="set the names of these topics"
        )
    return found


def _is_as_named(rows: frozenset[str], name: str) -> bool:
    return all(is_consumed(frozenset((name,)), database) for database in rows)


def _ambiguous(databases: Iterable[str], topics: Iterable[str], fix: str) -> ConfigError:
    names = ", ".join(sorted(databases))
    return ConfigError(_DATABASE, f"more than one database ({names}) has tables in {', '.join(topics)}", fix=fix)


def _uneven(partitions: Mapping[str, int], settings: Naming) -> Mapping[str, int]:
    """The numbers of partitions, if they differ: then a user's tables may be assigned to different members."""
    if len(set(partitions.values())) <= 1:
        return {}
    if settings.uneven == "refuse":
        counts = ", ".join(f"{topic} has {count}" for topic, count in sorted(partitions.items()))
        raise ConfigError(
            _TOPICS,
            f"a user's tables would be assigned to different members: {counts} partitions",
            fix="give all of them the same number, or run one worker",
        )
    return partitions


def _refuse_twice(topics: Sequence[str], tables: TopicTables) -> None:
    by_table: dict[str, list[str]] = {}
    for topic in topics:
        for table in tables.of(topic):
            by_table.setdefault(table, []).append(topic)
    for table, found in by_table.items():
        if len(found) > 1:
            raise ConfigError(
                _TOPICS,
                f"more than one topic contains the table {table}: {', '.join(found)}",
                fix="name the exact topics to consume, comma separated",
            )
