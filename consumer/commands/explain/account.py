"""Of each value that stands in Redis for a user: what the database says, and which change set it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from consumer.commands.explain.history import Fate, History, Setting
from consumer.guard.state import GuardState
from consumer.guard.version import Version, compare
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.change_times import time_fields


class Note(StrEnum):
    """What is to be said of a value beside who set it.

    BY_HAND: it is not what the last change wrote. BEYOND: it is not, but the guard knows a version that the topics do
    not tell, such as that of a repair. GONE: a change wrote it, and it is not there. UNTOLD: no change in the topics
    wrote it.
    """

    AS_WRITTEN = "as written"
    BY_HAND = "changed by hand"
    BEYOND = "set by something that the topics do not tell"
    GONE = "gone"
    UNTOLD = "no change in the topics set it"


@dataclass(frozen=True, slots=True)
class Value:
    """A field of one of the user's hashes, or the balance string, whose ``name`` is then "".

    ``database`` is None where nothing is known of it there.
    """

    name: str
    redis: str | None
    database: str | None
    setting: Setting | None
    note: Note

    @property
    def is_wrong(self) -> bool:
        """Whether Redis holds something else than the database says, or lacks it."""
        return self.database is not None and self.redis != self.database


@dataclass(frozen=True, slots=True)
class Account:
    """``others`` are the names of fields in the config hash that this program does not own."""

    config: tuple[Value, ...]
    portfolio: tuple[Value, ...]
    balance: Value | None
    others: tuple[str, ...]

    def noted(self, note: Note) -> list[str]:
        """What the values are called that are ``note``."""
        return [name for name, each in self.every() if each.note is note]

    def wrong(self) -> list[str]:
        """What the values are called that are not as in the database."""
        return [name for name, each in self.every() if each.is_wrong]

    def every(self) -> Iterator[tuple[str, Value]]:
        """All of them, each as it is called among the others."""
        yield from ((each.name, each) for each in self.config)
        yield from ((f"portfolio.{each.name}", each) for each in self.portfolio)
        if self.balance is not None:
            yield "balance", self.balance


@dataclass(frozen=True, slots=True)
class There:
    """The values that were read: of Redis, None where a key is not there, and of the database, None if not asked."""

    config: Mapping[str, str] | None
    portfolio: Mapping[str, str] | None
    balance: str | None
    database: Mapping[str, str] | None


def account(there: There, history: History, guard: GuardState, table: UserTable, rules: Rules) -> Account:
    """What is to be said of each value of a user of ``table``."""
    written = history.written
    is_beyond = _is_beyond(guard.versions.get(table.table), history, table.table)
    database = there.database or {}

    def value(name: str, redis: str | None, said: str | None, setting: Setting | None) -> Value:
        return Value(name, redis, said, setting, _note(redis, setting, is_beyond))

    in_redis = there.config or {}
    owned = _owned(table, rules)
    config = tuple(
        value(name, in_redis.get(name), database.get(name), written.config.get(name))
        for name in owned
        if name in in_redis or (there.config is not None and (name in database or name in written.config))
    )
    portfolio: tuple[Value, ...] = ()
    if there.portfolio is not None:
        _, stamps = time_fields(rules)
        mirrored = [name for each in rules.consequences if each.portfolio for name in sorted(each.fields)]
        portfolio = tuple(
            value(name, there.portfolio.get(name), database.get(name), written.portfolio.get(name))
            for name in dict.fromkeys((*mirrored, *stamps))
            if name in there.portfolio  # it is its owner's: what it does not have was never promised
        )
    balance = None
    if there.balance is not None:
        balance = value("", there.balance, database.get(rules.balance_field), written.balance)
    return Account(config, portfolio, balance, tuple(sorted(in_redis.keys() - set(owned))))


def _note(redis: str | None, setting: Setting | None, is_beyond: bool) -> Note:
    if setting is None:
        return Note.BEYOND if is_beyond else Note.UNTOLD
    if redis == setting.value:
        return Note.AS_WRITTEN
    if is_beyond:
        return Note.BEYOND
    return Note.GONE if redis is None else Note.BY_HAND


def _is_beyond(stored: Version | None, history: History, table: str) -> bool:
    """Whether the guard's version of ``table`` is newer than every change that the topics tell as applied."""
    if stored is None:
        return False
    told = [
        each.plan.version for each in history.of(Fate.APPLIED) if each.plan is not None and each.plan.table == table
    ]
    return not told or compare(stored, told[-1]).is_accepted


def _owned(table: UserTable, rules: Rules) -> tuple[str, ...]:
    """Every field of the config hash that this program writes, in the mapping's order."""
    stamps, _ = time_fields(rules)
    linked = [name for each in rules.linked for name in (*each.writes.values(), each.time_field) if name]
    columns = (column.field for column in table.columns)
    return tuple(dict.fromkeys(("id", "user_type", *columns, *table.constants, *stamps, *linked)))
