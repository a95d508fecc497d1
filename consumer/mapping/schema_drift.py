"""Differences between rows and the mapping: new columns, missing columns, and values that can't be used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache

from consumer.events.event import ChangeEvent
from consumer.events.row import Columns, columns_of, names_of
from consumer.mapping.rules import Rules, UserTable


class DriftKind(StrEnum):
    """What is unexpected about a column.

    UNKNOWN: the mapping does not name the column. MISSING: an optional column is not in the row. UNREADABLE: the value
    of an optional column does not have the column's kind; its field in Redis stays as it is. VALUE: a column of a
    linked table that decides whether the row counts has a value that the mapping does not list. SCALE: the record has
    precise decimals without a schema, so the mapping's scales are used; the drift's ``column`` is then "".
    """

    UNKNOWN = "unknown"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    VALUE = "value"
    SCALE = "scale"


@dataclass(frozen=True, slots=True)
class Drift:
    """Something unexpected about a column. It never contains a row value."""

    table: str
    column: str
    kind: DriftKind


def drifts_of(event: ChangeEvent, rules: Rules) -> tuple[Drift, ...]:
    """What is unexpected about the columns of a change.

    A delete has no drifts, because its row image may contain only the key.
    """
    if event.after is None:
        return ()
    found = column_drifts(rules, event.table, columns_of(event.after))
    # All scales are assumed, or none.
    is_assumed = event.schema and next(iter(event.schema.values())).is_assumed
    return (*found, Drift(event.table, "", DriftKind.SCALE)) if is_assumed else found


@lru_cache(maxsize=1024)
def column_drifts(rules: Rules, table_name: str, columns: Columns) -> tuple[Drift, ...]:
    """The drifts of a row's columns, compared once: a table's columns only change with an ALTER TABLE."""
    table = rules.table(table_name)
    if table is None:
        return ()
    names = names_of(columns)
    present = set(names)
    owned = {column.name for column in table.columns}
    unknown = [name for name in names if name not in owned and not _is_named(name, table)]
    missing = [column.name for column in table.columns if not column.required and column.name not in present]
    return (
        *(Drift(table_name, name, DriftKind.UNKNOWN) for name in unknown),
        *(Drift(table_name, name, DriftKind.MISSING) for name in missing),
    )


def _is_named(column: str, table: UserTable) -> bool:
    return column == table.key or table.is_outside(column) or any(fnmatchcase(column, each) for each in table.ignored)
