"""``init --diff``: what differs between the catalogue and the present mapping. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from consumer.commands.init.column_types import fits, why_unreadable
from consumer.commands.init.mapping_text import column_line
from consumer.commands.init.proposal import ColumnUse, Use
from consumer.commands.init.users import column_use
from consumer.events.value import Kind
from consumer.mapping.catalogue import Catalogue, CatalogueColumn, CatalogueTable
from consumer.mapping.rules import Column, LinkedTable, Rules, UserTable

_DEFAULT_SCALE = 6


class What(StrEnum):
    """The kind of a difference. UNSEEN: the account may not see every column, so new ones may be missing here."""

    NEW = "new"
    MISSING = "missing"
    TYPE = "type"
    VALUES = "values"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. ``column``: "" for a whole table. ``line``: what to write into the mapping, and ``key`` where.

    ``use``: of a new column; it must be captured if it is FIELD or MASKED.
    """

    what: What
    table: str
    column: str
    found: str
    key: str = ""
    line: str = ""
    use: Use | None = None


def differences(catalogue: Catalogue, rules: Rules) -> list[Difference]:
    """All differences, by table in the order of the mapping."""
    tables: list[UserTable | LinkedTable] = [*rules.tables, *rules.linked]
    return [each for table in tables for each in _of_table(catalogue.table(table.table), table, catalogue)]


def _of_table(
    found: CatalogueTable | None, table: UserTable | LinkedTable, catalogue: Catalogue
) -> Iterator[Difference]:
    if found is None:
        text = f"in the mapping, not in {catalogue.place}, or the account may not see it"
        yield Difference(What.MISSING, table.table, "", text)
        return
    if not found.is_whole:
        text = "the account may not see every column; use an account that may read the whole table"
        yield Difference(What.UNSEEN, table.table, "", text)
    if isinstance(table, UserTable):
        yield from _new(found, table)
        yield from _missing(found, (table.key, *(each.name for each in table.columns)))
        for mapped in table.columns:
            yield from _type(found, mapped.name, mapped.kind, mapped)
    else:
        names = (table.key, table.user_id, table.user_type_column, table.status, *table.writes)
        yield from _missing(found, (*names, *(each.column for each in table.enriches)))
        for each in table.enriches:
            yield from _type(found, each.column, each.kind)
        yield from _values(found, table)


def _new(found: CatalogueTable, table: UserTable) -> Iterator[Difference]:
    known = {table.key, *(each.name for each in table.columns)}
    for column in found.columns:
        is_ignored = any(fnmatchcase(column.name, pattern) for pattern in table.ignored)
        if column.name not in known and not table.is_outside(column.name) and not is_ignored:
            yield _proposed(found.name, column, column_use(column))


def _proposed(table: str, column: CatalogueColumn, use: ColumnUse) -> Difference:
    text = f"{column.type}, not in the mapping" + (f": {use.because}" if use.because else "")
    if use.mapped is not None:
        return Difference(What.NEW, table, column.name, text, "columns", column_line(use.mapped), use.use)
    key = "outside" if use.use is Use.MASKED else "ignored"
    return Difference(What.NEW, table, column.name, text, key, f'"{column.name}"', use.use)


def _missing(found: CatalogueTable, names: tuple[str, ...]) -> Iterator[Difference]:
    for name in dict.fromkeys(names):
        if name and found.column(name) is None:
            yield Difference(What.MISSING, found.name, name, "in the mapping, not in the table")


def _type(found: CatalogueTable, name: str, kind: Kind, mapped: Column | None = None) -> Iterator[Difference]:
    column = found.column(name)
    if column is None:
        return
    if not fits(kind, column):
        proposed = column_use(column)
        line = column_line(proposed.mapped) if mapped is not None and proposed.mapped is not None else ""
        reason = f"but the mapping has the kind {kind}" if column.is_sent else why_unreadable(column)
        text = f"{column.type}, {reason}"
        yield Difference(What.TYPE, found.name, name, text, "columns" if line else "", line)
    elif mapped is not None and _has_other_scale(mapped, column):
        text = f"{column.type}, but the mapping has the scale {mapped.scale}"
        yield Difference(What.TYPE, found.name, name, text, "columns", f"scale = {column.scale}")


def _has_other_scale(mapped: Column, column: CatalogueColumn) -> bool:
    """Whether the mapping gives another scale. Its default is no statement: most records contain their scale."""
    is_given = mapped.kind is Kind.MONEY and mapped.scale != _DEFAULT_SCALE
    return is_given and column.scale is not None and column.scale != mapped.scale


def _values(found: CatalogueTable, table: LinkedTable) -> Iterator[Difference]:
    column = found.column(table.status)
    if column is None or not column.values:
        return
    if absent := sorted(table.done - set(column.values)):
        text = f"{column.type} does not have the value {', '.join(absent)}, which the mapping has in done"
        yield Difference(What.VALUES, found.name, table.status, text)
    if new := [each for each in column.values if each not in table.done | table.not_done]:
        text = f"the mapping does not say whether a row counts with {', '.join(new)}"
        line = ", ".join(f'"{each}"' for each in new)
        yield Difference(What.VALUES, found.name, table.status, text, "not_done", line)
