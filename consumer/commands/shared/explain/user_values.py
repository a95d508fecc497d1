"""For each value of a user in Redis: the database's value, and the change that set it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from consumer.commands.shared.explain.history import History
from consumer.commands.shared.explain.outcome import ChangeOutcome
from consumer.commands.shared.explain.written_values import WrittenValue
from consumer.guard.state import GuardState
from consumer.guard.version import Version, compare
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.change_times import time_fields
from consumer.sink.comparison import is_same_value

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


class Note(StrEnum):
    """What is known about a value, besides the change that set it.

    BY_HAND: it is not what the last change wrote. BEYOND: it is not what the last change wrote, but it is as in the
    database, or the guard has a version that is not in the topics: a repair or a force-refresh wrote it. GONE: a change
    wrote it, and it does not exist. UNTOLD: no change in the topics wrote it.
    """

    AS_WRITTEN = "as written"
    BY_HAND = "changed by hand"
    BEYOND = "set by something that the topics do not tell"
    GONE = "gone"
    UNTOLD = "no change in the topics set it"


@dataclass(frozen=True, slots=True)
class Value:
    """A field of one of the user's hashes, or the balance string, whose ``name`` is "".

    ``database``: None if the database's value is not known. ``is_compared``: the right value is known. ``is_spelled``:
    Redis has the database's value in another form.
    """

    name: str
    redis: str | None
    database: str | None
    written: WrittenValue | None
    note: Note
    is_compared: bool = False
    is_spelled: bool = False

    @property
    def is_wrong(self) -> bool:
        """Whether Redis has another value than the database, or lacks it."""
        return self.is_compared and self.redis != self.database and not self.is_spelled


@dataclass(frozen=True, slots=True)
class UserValues:
    """All values of a user. ``others``: names of fields in the config hash that this program does not write."""

    config: tuple[Value, ...]
    portfolio: tuple[Value, ...]
    balance: Value | None
    others: tuple[str, ...]

    def noted(self, note: Note) -> list[str]:
        """The names of the values with this note."""
        return [name for name, each in self.every() if each.note is note and not each.is_spelled]

    def spelled(self) -> list[str]:
        """The names of the values that are as in the database, but in another form."""
        return [name for name, each in self.every() if each.is_spelled]

    def wrong(self) -> list[str]:
        """The names of the values that differ from the database."""
        return [name for name, each in self.every() if each.is_wrong]

    def every(self) -> Iterator[tuple[str, Value]]:
        """All values with their names."""
        yield from ((each.name, each) for each in self.config)
        yield from ((f"portfolio.{each.name}", each) for each in self.portfolio)
        if self.balance is not None:
            yield "balance", self.balance


@dataclass(frozen=True, slots=True)
class ReadValues:
    """The values that were read: from Redis (None: no such key) and from the database (None: not asked).

    ``lacking``: fields without a column in the database, which Redis should not have.
    """

    config: Mapping[str, str] | None
    portfolio: Mapping[str, str] | None
    balance: str | None
    database: Mapping[str, str] | None
    lacking: frozenset[str] = frozenset()


def user_values(read: ReadValues, history: History, guard: GuardState, table: UserTable, rules: Rules) -> UserValues:
    """Explain each value of a user of ``table``."""
    all_written = history.written
    is_beyond = _is_beyond(guard.versions.get(table.table), history, table.table)
    database = read.database or {}

    times = {name for names in time_fields(rules) for name in names}

    def value(name: str, redis: str | None, written: WrittenValue | None, field: str = "") -> Value:
        in_database = database.get(field or name)
        is_compared = in_database is not None or name in read.lacking
        is_spelled = (
            redis != in_database and is_compared and is_same_value(field or name, redis, in_database, table, rules)
        )
        # A repair writes its own time, which the database does not contain.
        is_later = name in times and written is not None and _is_later(redis, written.value)
        note = _note(redis, in_database, written, is_beyond or is_later)
        return Value(name, redis, in_database, written, note, is_compared, is_spelled)

    in_redis = read.config or {}
    owned = _owned(table, rules)
    config = tuple(
        value(name, in_redis.get(name), all_written.of_field(name, in_redis.get(name)))
        for name in owned
        if name in in_redis or (read.config is not None and (name in database or name in all_written.config))
    )
    portfolio: tuple[Value, ...] = ()
    if read.portfolio is not None:
        _, stamps = time_fields(rules)
        mirrored = [name for each in rules.consequences if each.portfolio for name in sorted(each.fields)]
        portfolio = tuple(
            value(name, read.portfolio.get(name), all_written.portfolio.get(name))
            for name in dict.fromkeys((*mirrored, *stamps))
            if name in read.portfolio  # another program owns this hash: it need not have all fields
        )
    balance = None
    if read.balance is not None:
        balance = value("", read.balance, all_written.of_balance(read.balance), rules.balance_field)
    return UserValues(config, portfolio, balance, tuple(sorted(in_redis.keys() - set(owned))))


def _note(redis: str | None, database: str | None, written: WrittenValue | None, is_beyond: bool) -> Note:
    if written is None:
        return Note.BEYOND if is_beyond else Note.UNTOLD
    if redis == written.value:
        return Note.AS_WRITTEN
    if is_beyond or (redis is not None and redis == database):
        return Note.BEYOND
    if redis is None:
        return Note.GONE
    return Note.UNTOLD if written.only_if_missing else Note.BY_HAND


def _is_later(redis: str | None, written: str) -> bool:
    """Whether Redis has a time that is later than the one that the change wrote."""
    return redis is not None and _TIME.fullmatch(redis) is not None and redis > written


def _is_beyond(stored: Version | None, history: History, table: str) -> bool:
    """Whether the guard's version of ``table`` is newer than every applied change in the topics."""
    if stored is None:
        return False
    applied = [
        each.plan.version
        for each in history.of(ChangeOutcome.APPLIED)
        if each.plan is not None and each.plan.table == table
    ]
    return not applied or compare(stored, applied[-1]).is_accepted


def _owned(table: UserTable, rules: Rules) -> tuple[str, ...]:
    """Every field of the config hash that this program writes, in the mapping's order."""
    stamps, _ = time_fields(rules)
    linked = [name for each in rules.linked for name in (*each.writes.values(), each.time_field) if name]
    columns = (column.field for column in table.columns)
    return tuple(dict.fromkeys(("id", "user_type", *columns, *table.constants, *stamps, *linked)))
