"""The operator's own decisions, from the options of ``init``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from consumer.errors import ConfigError
from consumer.mapping.keys import check_user_type

_T = TypeVar("_T")
_USERS = "TABLE=TYPE or TABLE=TYPE:KEY"
_LINKED = "TABLE=COLUMN or TABLE=COLUMN:TYPE"
_DONE = "TABLE=VALUE,… or TABLE.COLUMN=VALUE,…"


@dataclass(frozen=True, slots=True)
class UsersChoice:
    """``--users TABLE=TYPE[:KEY]``. ``key``: the column with the user's id; empty: the primary key."""

    user_type: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class LinkedChoice:
    """``--linked TABLE=COLUMN[:TYPE]``: the column with the user's id, and the type of all its users, if given."""

    user_id: str
    user_type: str = ""


@dataclass(frozen=True, slots=True)
class DoneChoice:
    """``--done TABLE[.COLUMN]=VALUE,…``: the values with which a row counts; ``column`` is empty if not given."""

    values: tuple[str, ...]
    column: str = ""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator decided. ``tables``: the tables that were named; empty: all tables whose use is evident.

    ``balance``: column by table, or with the key "" for every table. ``group``: a column, or ``none``.
    """

    tables: tuple[str, ...] = ()
    users: Mapping[str, UsersChoice] = field(default_factory=dict)
    linked: Mapping[str, LinkedChoice] = field(default_factory=dict)
    done: Mapping[str, DoneChoice] = field(default_factory=dict)
    balance: Mapping[str, str] = field(default_factory=dict)
    group: str = ""

    def named(self) -> tuple[str, ...]:
        """Every table that an option names, each once."""
        names = (*self.tables, *self.users, *self.linked, *self.done, *(each for each in self.balance if each))
        return tuple(dict.fromkeys(names))


def choices_of(
    tables: str | None,
    users: Sequence[str],
    linked: Sequence[str],
    done: Sequence[str],
    balance: Sequence[str],
    group: str | None,
) -> Choices:
    """The options as decisions.

    Raises:
        ConfigError: an option does not have its form, or two options contradict each other.
    """
    found = Choices(
        _list(tables or ""),
        _by_table("--users", ((name, _users(value)) for name, value in _pairs("--users", _USERS, users))),
        _by_table("--linked", ((name, _linked(value)) for name, value in _pairs("--linked", _LINKED, linked))),
        _by_table("--done", (_done(name, value) for name, value in _pairs("--done", _DONE, done))),
        _by_table("--balance", map(_balance, balance)),
        group or "",
    )
    if both := sorted(found.users.keys() & found.linked.keys()):
        raise ConfigError("--linked", f"{both[0]} is in --users too", fix="leave one of the two out")
    types = [each.user_type for each in found.users.values()]
    if twice := sorted({each for each in types if types.count(each) > 1}):
        raise ConfigError("--users", f"two tables have the type {twice[0]}", allowed="a type of its own for each table")
    return found


def _by_table(option: str, given: Iterable[tuple[str, _T]]) -> dict[str, _T]:
    found: dict[str, _T] = {}
    for table, value in given:
        if table in found:
            raise ConfigError(option, f"given twice for {table or 'every table'}", fix="give it once for a table")
        found[table] = value
    return found


def _pairs(option: str, allowed: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for each in texts:
        name, equals, value = each.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise ConfigError(option, f"{each!r} does not have the form", allowed=allowed)
        found.append((name.strip(), value.strip()))
    return found


def _users(value: str) -> UsersChoice:
    user_type, _, key = value.partition(":")
    _check_type("--users", user_type)
    return UsersChoice(user_type, key)


def _linked(value: str) -> LinkedChoice:
    column, _, user_type = value.partition(":")
    if user_type:
        _check_type("--linked", user_type)
    return LinkedChoice(column, user_type)


def _check_type(option: str, user_type: str) -> None:
    try:
        check_user_type(user_type)
    except ValueError:
        allowed = "a type of lower-case letters, digits and _, such as live"
        raise ConfigError(option, f"{user_type!r} is no user type", allowed=allowed) from None


def _done(name: str, value: str) -> tuple[str, DoneChoice]:
    table, _, column = name.partition(".")
    return table, DoneChoice(_list(value), column)


def _balance(text: str) -> tuple[str, str]:
    if re.fullmatch(r"[^.]+(\.[^.]+)?", text) is None:
        raise ConfigError("--balance", f"{text!r} is no column", allowed="COLUMN, or TABLE.COLUMN")
    table, dot, column = text.partition(".")
    return (table, column) if dot else ("", table)


def _list(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))
