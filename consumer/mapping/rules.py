"""The mapping's data types: which Redis writes and messages follow from a change of which column.

A *field* is a column's name in the config hash; usually both names are equal. :mod:`consumer.planning.user_shapes`
reads this data. :mod:`consumer.mapping.reference` is the reference mapping. No module outside this package names a
table, column, key or channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TypeVar

from consumer.events.event import PLACEHOLDER
from consumer.events.value import Kind
from consumer.mapping.streams import Streams

MESSAGE_FIELDS = frozenset(
    {"event_id", "event_type", "user_id", "user_type", "updated_fields", "group_changed", "old_group", "new_group"}
    | {"timestamp", "source", "source_position", "database_transaction_id"}
)
"""The fields of every message; all other fields are details."""

RESERVED_FIELDS = MESSAGE_FIELDS | {"transactions"}
"""Fields of messages that no row of a linked table may set."""

WRITTEN_FIELDS = frozenset({"id", "user_type", "last_admin_update", "last_updated"})
"""Fields of every config hash that the program writes itself; no column may have them."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column whose value is written to a field of the config hash.

    ``required``: a row image without it is refused. ``scale``: number of decimals of money, if the record does not
    contain it. ``default``: used for NULL and for an absent column.
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

    ``constants``: fields with a fixed value in every config hash of this table. ``outside``: columns, or patterns such
    as ``bank_*``, that have no field but whose change is published. ``ignored``: other columns that are known and
    change nothing; a column that is named nowhere is reported. ``partitions``: names, or patterns, of tables whose rows
    are rows of this table, and whose records are in the same topic.
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
    """By identity, so that results computed from a table can be cached by it."""

    def money(self) -> tuple[tuple[str, int], ...]:
        """The money columns, each with its scale."""
        return _money_columns(self)

    def is_outside(self, column: str) -> bool:
        """Whether a change of ``column``, which has no field, is published."""
        return any(fnmatchcase(column, pattern) for pattern in self.outside)


@dataclass(frozen=True, slots=True)
class Enrichment:
    """A column of a linked table whose value is added to messages as ``field``."""

    column: str
    field: str
    kind: Kind = Kind.TEXT
    scale: int = 6


@dataclass(frozen=True, slots=True)
class LinkedTable:
    """A table with rows that belong to users and never set a balance, such as transactions and money requests.

    The user's type is in the column ``user_type_column``, or is always ``user_type``. A row counts when its ``status``
    is one of ``done``. Then the columns in ``writes`` are written to their fields of the config hash, if that hash
    exists, with the time in ``time_field``. The derived keys in ``clears`` are deleted. The messages that the same
    database transaction causes for the user get the fields in ``enriches``.

    ``not_done``: the other known values of ``status``. ``other_types``: known user types without a user table. A value
    in none of these sets is reported. If a set is empty, any value is accepted, except a ``status`` that differs from
    one of ``done`` only in upper and lower case. ``partitions``: as in :class:`UserTable`.
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

    def money(self) -> tuple[tuple[str, int], ...]:
        """The money columns, each with its scale."""
        return tuple((each.column, each.scale) for each in self.enriches if each.kind is Kind.MONEY)


@dataclass(frozen=True, slots=True)
class Consequence:
    """What follows when one of ``fields`` changes.

    ``stamps``: time fields that are set in the config hash. ``portfolio_stamps``: time fields in the portfolio hash;
    if ``portfolio`` is true, the changed fields are written there too. ``clears``: templates of derived keys to delete;
    a ``*`` at the end means all keys with that prefix. ``channels``: where the change is published.
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
    """Templates of one user's keys, and the channels for a user's creation, deletion and group change."""

    config: str = "user:{<type>:<id>}:config"
    portfolio: str = "user:{<type>:<id>}:portfolio"
    balance: str = "user_balance:<type>:<id>"
    guard: str = "cdc:{<type>:<id>}"
    lifecycle_channel: str = "user_updates"
    group_channel: str = "group_updates"


@dataclass(frozen=True, slots=True)
class Rules:
    """The whole mapping.

    ``consequences`` apply to fields, ``profile`` to every changed field that is not in ``financial``, ``outside``
    to columns without a field. ``balance_field``: the field that the balance string holds. ``group_field``: the
    field of the messages about groups; empty: there are no groups. ``epoch``: set by the operator; a higher epoch
    is newer than every stored version. ``accept_missing_before``: treat an update without its old row image as a
    change of every mapped column. ``databases``: the databases (PostgreSQL: schemas) whose rows are applied; empty:
    all. ``placeholder``: the text that Debezium sends for a value that the database did not send. ``streams``: None if
    messages are only published.
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
    streams: Streams | None = None
    databases: frozenset[str] = frozenset()
    placeholder: str = PLACEHOLDER

    __hash__ = object.__hash__
    """By identity, as for a table."""

    def table(self, name: str) -> UserTable | None:
        """The user table that is named ``name`` or has the partition ``name``; None if there is none."""
        return _user_table(self, name)

    def linked_table(self, name: str) -> LinkedTable | None:
        """The linked table that is named ``name`` or has the partition ``name``; None if there is none."""
        return _linked_table(self, name)

    def captured_name(self, name: str) -> str:
        """The name of the mapped table that is named ``name`` or has the partition ``name``; "" if there is none."""
        found = self.table(name) or self.linked_table(name)
        return found.table if found is not None else ""

    def captured(self) -> tuple[str, ...]:
        """The names of all tables."""
        return (*(table.table for table in self.tables), *(table.table for table in self.linked))

    def derived(self) -> tuple[str, ...]:
        """The templates of all derived keys, each once."""
        every = [each.clears for each in (*self.consequences, self.profile, self.outside)]
        every += [each.clears for each in self.linked]
        return tuple(dict.fromkeys(template for clears in every for template in clears))

    def channels(self) -> tuple[str, ...]:
        """The channels on which changes are published, each once."""
        rules = (*self.consequences, self.profile, self.outside)
        every = (self.names.lifecycle_channel, *(channel for rule in rules for channel in rule.channels))
        return tuple(dict.fromkeys(every))

    def stream_keys(self) -> tuple[str, ...]:
        """The stream of each channel; empty without streams."""
        return () if self.streams is None else tuple(map(self.streams.key_of, self.channels()))

    def wildcards(self) -> tuple[str, ...]:
        """The prefixes of the derived keys that are cleared by prefix, such as ``financial_summary:``."""
        return tuple(template.partition("<")[0] for template in self.derived() if template.endswith("*"))


@lru_cache(maxsize=64)
def _money_columns(table: UserTable) -> tuple[tuple[str, int], ...]:
    return tuple((column.name, column.scale) for column in table.columns if column.kind is Kind.MONEY)


@lru_cache(maxsize=1024)
def _user_table(rules: Rules, name: str) -> UserTable | None:
    return _named(rules.tables, name)


@lru_cache(maxsize=1024)
def _linked_table(rules: Rules, name: str) -> LinkedTable | None:
    return _named(rules.linked, name)


_Table = TypeVar("_Table", UserTable, LinkedTable)


def _named(tables: tuple[_Table, ...], name: str) -> _Table | None:
    """A table's own name counts before patterns of partitions; the first match counts."""
    for table in tables:
        if table.table == name:
            return table
    return next((each for each in tables if any(fnmatchcase(name, pattern) for pattern in each.partitions)), None)
