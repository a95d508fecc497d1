"""Which topics are followed, and of which databases: decided from what is there, one way for all commands.

Topics are those named in the settings, else those of the captured tables under the prefix. Their rows are of one
database (MySQL, MariaDB) or schema (PostgreSQL): the one that the settings name, else the one that was followed before,
else the only one that there is. A restored backup has the same tables, under the same prefix, with other values.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from consumer.errors import ConfigError
from consumer.events.topic_tables import TopicTables, is_taken, named, sanitized

_DATABASE = "CDC_SOURCE__DATABASE"
_TOPICS = "CDC_KAFKA__TOPICS"


class Naming(Protocol):
    """The settings that say which topics: exact names, or else a prefix; and whether they must be even."""

    @property
    def topics(self) -> tuple[str, ...]: ...
    @property
    def topic_prefix(self) -> str: ...
    @property
    def uneven(self) -> Literal["warn", "refuse"]: ...


@dataclass(frozen=True, slots=True)
class Selection:
    """The topics that are followed.

    ``topics`` are those that are there, by name. Later ones match ``pattern``, "" where the settings name the topics.
    ``databases`` are those whose rows are taken, ``tables`` what is known of the topics. ``refused`` are topics of
    another database. ``lacking`` is what is waited for before anything can be followed, "" for nothing. ``uneven`` are
    the numbers of partitions by topic, where they are not the same for all.
    """

    topics: tuple[str, ...]
    pattern: str
    databases: frozenset[str]
    tables: TopicTables
    refused: tuple[str, ...] = ()
    lacking: str = ""
    uneven: Mapping[str, int] = field(default_factory=dict)

    def takes(self, topic: str, named: Collection[str] = ()) -> bool:
        """Whether a topic that may be a later one is followed; ``named`` are those that the settings name."""
        return topic in self.topics or topic in named or (bool(self.pattern) and bool(re.match(self.pattern, topic)))

    def carrying(self, tables: Collection[str]) -> list[str]:
        """The topics that carry one of ``tables``, or of which nothing is known yet."""
        return [topic for topic in self.topics if self.tables.may_carry(topic, tables)]


@dataclass(frozen=True, slots=True)
class Row:
    """One row that was seen in a topic."""

    topic: str
    table: str
    database: str


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to decide by.

    ``present`` are all topics with their numbers of partitions, ``explicit`` the databases that the settings name,
    ``remembered`` those that the group followed before, ``committed`` the topics of which it has offsets. ``rows`` were
    seen in the topics.
    """

    present: Mapping[str, int]
    explicit: frozenset[str] = frozenset()
    remembered: frozenset[str] = frozenset()
    committed: frozenset[str] = frozenset()
    rows: Sequence[Row] = field(default_factory=tuple)


def topic_pattern(prefix: str, tables: Sequence[str], databases: Collection[str] = ()) -> str:
    """What the topics of the captured tables look like: ``<prefix>.<db or schema>.<table>``."""
    scopes = "|".join(sorted(re.escape(sanitized(each)) for each in databases)) or "[^.]+"
    return rf"^{re.escape(prefix)}\.({scopes})\.({'|'.join(re.escape(table) for table in tables)})$"


def candidates(present: Iterable[str], settings: Naming, tables: Sequence[str]) -> list[str]:
    """The topics that may be followed, whatever their database."""
    if settings.topics:
        return sorted(set(settings.topics) & set(present))
    pattern = topic_pattern(settings.topic_prefix, tables)
    return sorted(name for name in present if re.match(pattern, name))


def is_routed(topic: str, tables: Collection[str]) -> bool:
    """Whether the name of ``topic`` does not tell its table and database: a transformation in Connect gave it."""
    return named(topic, tables) is None


def to_look_at(known: Known, settings: Naming, tables: Sequence[str]) -> list[str]:
    """The topics of which some rows must be seen before :func:`select` can decide.

    Of all topics, where it is not known which database is followed: a name may say another database than the rows. Else
    of those whose tables are known from rows alone.
    """
    there = candidates(known.present, settings, tables)
    if known.explicit or known.remembered:
        return [topic for topic in there if is_routed(topic, tables)]
    return _decisive(there, known)


def select(known: Known, settings: Naming, tables: Sequence[str]) -> Selection:
    """The topics to follow.

    Raises:
        ConfigError: it is not known which of several databases is meant, two topics carry one table, or the topics are
            uneven where that is refused.
    """
    there = candidates(known.present, settings, tables)
    databases = known.explicit or known.remembered or _databases(there, known, settings, tables)
    seen = TopicTables(tables)
    for row in known.rows:
        if is_taken(databases, row.database):
            seen.see(row.topic, row.table, row.database)
    if settings.topics:
        lacking = ", ".join(sorted(set(settings.topics) - set(there)))
        if not (lacking or databases):
            lacking = f"a row that can be read in {', '.join(there)}, for its database; or {_DATABASE}"
        chosen, pattern = there, ""
        _refuse_twice(chosen, seen)
    else:
        if len(databases) > 1:
            names = ",".join(sorted(databases))
            raise ConfigError(
                _DATABASE, f"several databases: {names}", fix=f"name one; or the exact topics too, in {_TOPICS}"
            )
        pattern = topic_pattern(settings.topic_prefix, tables, databases)
        chosen = [topic for topic in there if re.match(pattern, topic)]
        scope = sanitized(*databases) if databases else "<db or schema>"
        lacking = "" if chosen else f"topics like {settings.topic_prefix}.{scope}.<captured table>"
    others = tuple(refused(there, settings, tables, databases))
    uneven = _uneven({topic: known.present[topic] for topic in chosen}, settings)
    return Selection(tuple(chosen), pattern, databases, seen, others, lacking, uneven)


def refused(present: Iterable[str], settings: Naming, tables: Sequence[str], databases: frozenset[str]) -> list[str]:
    """The topics under the prefix that are not followed, for they are of another database.

    None where the settings name the topics: then it was said which are followed.
    """
    if settings.topics:
        return []
    names = ((topic, named(topic, tables)) for topic in candidates(present, settings, tables))
    return [topic for topic, said in names if said is not None and not is_taken(databases, said.database)]


def _decisive(there: Sequence[str], known: Known) -> list[str]:
    """The topics that tell which database is followed: those that the group follows already, else all."""
    return [topic for topic in there if topic in known.committed] or list(there)


def _databases(there: Sequence[str], known: Known, settings: Naming, tables: Sequence[str]) -> frozenset[str]:
    """The databases to follow, where neither the settings nor the memory tell them; none if nothing tells."""
    decisive = _decisive(there, known)
    by_topic = {topic: frozenset(row.database for row in known.rows if row.topic == topic) for topic in decisive}
    names = {topic: said.database for topic in decisive if (said := named(topic, tables)) is not None}
    found = frozenset().union(*by_topic.values(), *({name} for topic, name in names.items() if not by_topic[topic]))
    if settings.topics:
        # Who names topics in Debezium's form says the databases too.
        is_said = all(names.get(topic) and _is_as_named(rows, names[topic]) for topic, rows in by_topic.items())
        if len(found) > 1 and not is_said:
            raise _ambiguous(found, decisive, "give the one to follow; several, comma separated, if all are meant")
        return found
    if len(found) > 1:
        raise _ambiguous(found, decisive, f"give the one to follow; or, if several are meant, all, and {_TOPICS}")
    if found and not any(is_taken(found, name) for name in names.values()):
        topics, (database,) = ", ".join(decisive), found
        raise ConfigError(
            _TOPICS, f"{topics}: the rows are of the database {database}", fix="give these topics by their names"
        )
    return found


def _is_as_named(rows: frozenset[str], name: str) -> bool:
    return all(is_taken(frozenset((name,)), database) for database in rows)


def _ambiguous(databases: Iterable[str], topics: Iterable[str], fix: str) -> ConfigError:
    names = ", ".join(sorted(databases))
    return ConfigError(_DATABASE, f"tables of more than one database ({names}) are in {', '.join(topics)}", fix=fix)


def _uneven(partitions: Mapping[str, int], settings: Naming) -> Mapping[str, int]:
    """A user's tables meet on one member only where the topics have the same number of partitions."""
    if len(set(partitions.values())) <= 1:
        return {}
    if settings.uneven == "refuse":
        counts = ", ".join(f"{topic} has {count}" for topic, count in sorted(partitions.items()))
        raise ConfigError(
            _TOPICS,
            f"a user's tables would be on different members: {counts} partitions",
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
                f"more than one topic carries the table {table}: {', '.join(found)}",
                fix="name the exact topics to follow, comma separated",
            )
