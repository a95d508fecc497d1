"""What follows from a change of which column of which table: the mapping, with the reference as its default.

A *field* is a column's name in the config hash; most often the two are the same. Everything here is data:
:mod:`consumer.planning.plan` reads it, and no table, column, key or channel is named anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TypeVar

from consumer.events.event import PLACEHOLDER
from consumer.events.value import Kind

MESSAGE_FIELDS = frozenset(
    {"event_id", "event_type", "user_id", "user_type", "updated_fields", "group_changed", "old_group", "new_group"}
    | {"timestamp", "source", "source_position", "database_transaction_id"}
)
"""The fields that each message has; all others are details."""

RESERVED_FIELDS = MESSAGE_FIELDS | {"transactions"}
"""Fields of messages that no row of a linked table may set."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that this program owns a field for.

    ``required``: a row image without it is refused. ``scale``: decimals of money, where the wire does not say.
    ``default``: stands for NULL and for an absent column.
    """

    name: str
    kind: Kind = Kind.INTEGER
    required: bool = False
    scale: int = 6
    default: str | None = None
    field: str = ""

    def __post_init__(self) -> None:
        if not self.field:
            object.__setattr__(self, "field", self.name)


@dataclass(frozen=True, slots=True)
class UserTable:
    """A table whose rows are users of one type.

    ``constants`` are fields that every config hash of this table holds. ``outside`` are columns, or patterns of them
    (``bank_*``), that have no field but whose change is news all the same; all others change nothing. Of those the ones
    in ``ignored`` are known to; a column that is named nowhere is reported. ``partitions`` are names, or patterns of
    them, of tables whose rows are rows of this one, and whose records come in one topic with this one's.
    """

    table: str
    user_type: str
    columns: tuple[Column, ...]
    key: str = "id"
    constants: Mapping[str, str] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()

    __hash__ = object.__hash__
    """As the thing it is, so that what is worked out from a table can be remembered by it."""

    def money(self) -> Iterator[tuple[str, int]]:
        """The money columns with their scales."""
        return ((column.name, column.scale) for column in self.columns if column.kind is Kind.MONEY)

    def is_outside(self, column: str) -> bool:
        """Whether a change of ``column``, which has no field, is news."""
        return any(fnmatchcase(column, pattern) for pattern in self.outside)


@dataclass(frozen=True, slots=True)
class Enrichment:
    """A column of a linked table that says more about a message: it goes in as ``field``."""

    column: str
    field: str
    kind: Kind = Kind.TEXT
    scale: int = 6


@dataclass(frozen=True, slots=True)
class LinkedTable:
    """A table whose rows belong to users and never set a balance, such as transactions and money requests.

    The user's type stands in ``user_type_column``, or is always ``user_type``. A row counts once its ``status`` is one
    of ``done``: then the columns in ``writes`` go to their fields of the config hash, if it exists, with the time in
    ``time_field``, the derived keys in ``clears`` are cleared, and the messages that the same database transaction
    causes for the user are enriched. ``not_done`` are the other values of ``status``, and ``other_types`` the types of
    users that no table holds; a value that is in none of these is reported. Empty, they take any value, but for one of
    ``status`` that differs from one of ``done`` in upper and lower case alone. ``partitions`` are as those of a table
    of users.
    """

    table: str
    done: frozenset[str]
    user_type: str = ""
    user_type_column: str = ""
    key: str = "id"
    user_id: str = "user_id"
    status: str = "status"
    writes: Mapping[str, str] = field(default_factory=dict)
    time_field: str = ""
    clears: tuple[str, ...] = ()
    enriches: tuple[Enrichment, ...] = ()
    not_done: frozenset[str] = frozenset()
    other_types: frozenset[str] = frozenset()
    partitions: tuple[str, ...] = ()

    def money(self) -> Iterator[tuple[str, int]]:
        """The money columns with their scales."""
        return ((each.column, each.scale) for each in self.enriches if each.kind is Kind.MONEY)


@dataclass(frozen=True, slots=True)
class Consequence:
    """What follows when one of ``fields`` changes.

    ``stamps`` are time fields set in the config hash; ``portfolio_stamps`` in the portfolio hash, where the changed
    fields go too when ``portfolio`` is set. ``clears`` are templates of derived keys, a trailing ``*`` meaning all keys
    that begin so.
    """

    name: str
    fields: frozenset[str]
    stamps: tuple[str, ...] = ()
    portfolio: bool = False
    portfolio_stamps: tuple[str, ...] = ()
    clears: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """Templates of the keys of one user, and the channels of a user's beginning and end."""

    config: str = "user:{<type>:<id>}:config"
    portfolio: str = "user:{<type>:<id>}:portfolio"
    balance: str = "user_balance:<type>:<id>"
    guard: str = "cdc:{<type>:<id>}"
    lifecycle_channel: str = "user_updates"
    group_channel: str = "group_updates"


@dataclass(frozen=True, slots=True)
class Rules:
    """The whole mapping.

    ``consequences`` apply to fields, ``profile`` to every changed field that is not in ``financial``, ``outside`` to
    columns without a field. ``balance_field`` is the field that the balance string and ``group_field`` the one that
    messages about groups speak of. ``epoch`` is the operator's: raised, it outranks every stored version.
    ``accept_missing_before``: an update without its old row image is taken as a change of every owned column.
    ``databases``: whose rows are taken, on PostgreSQL schemas; empty: those of every one.
    ``placeholder`` is what Debezium sends for a value that the database did not send.
    """

    tables: tuple[UserTable, ...]
    consequences: tuple[Consequence, ...]
    profile: Consequence
    outside: Consequence
    linked: tuple[LinkedTable, ...] = ()
    names: Names = Names()
    financial: frozenset[str] = frozenset({"wallet_balance", "margin", "net_profit"})
    balance_field: str = "wallet_balance"
    group_field: str = "group"
    balance_ttl_s: int = 3600
    epoch: int = 0
    accept_missing_before: bool = False
    databases: frozenset[str] = frozenset()
    placeholder: str = PLACEHOLDER

    __hash__ = object.__hash__
    """As the thing it is, as that of a table."""

    def table(self, name: str) -> UserTable | None:
        """The rules of a user table, or of the one that ``name`` is a partition of; None where nobody named it."""
        return _user_table(self, name)

    def linked_table(self, name: str) -> LinkedTable | None:
        """The rules of a linked table, as those of a user table."""
        return _linked_table(self, name)

    def captured_name(self, name: str) -> str:
        """The captured table that ``name`` is, or is a partition of; "" where nobody named it."""
        found = self.table(name) or self.linked_table(name)
        return found.table if found is not None else ""

    def captured(self) -> tuple[str, ...]:
        """The names of all tables."""
        return (*(table.table for table in self.tables), *(table.table for table in self.linked))

    def derived(self) -> tuple[str, ...]:
        """Templates of all derived keys, each once."""
        every = [each.clears for each in (*self.consequences, self.profile, self.outside)]
        every += [each.clears for each in self.linked]
        return tuple(dict.fromkeys(template for clears in every for template in clears))

    def wildcards(self) -> tuple[str, ...]:
        """What all derived keys of a kind begin with that are cleared by prefix: ``financial_summary:``."""
        return tuple(template.partition("<")[0] for template in self.derived() if template.endswith("*"))


@lru_cache(maxsize=1024)
def _user_table(rules: Rules, name: str) -> UserTable | None:
    return _named(rules.tables, name)


@lru_cache(maxsize=1024)
def _linked_table(rules: Rules, name: str) -> LinkedTable | None:
    return _named(rules.linked, name)


_Table = TypeVar("_Table", UserTable, LinkedTable)


def _named(tables: tuple[_Table, ...], name: str) -> _Table | None:
    """A table's own name before patterns of partitions; the first counts."""
    for table in tables:
        if table.table == name:
            return table
    return next((each for each in tables if any(fnmatchcase(name, pattern) for pattern in each.partitions)), None)
