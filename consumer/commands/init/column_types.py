"""Which kind of the mapping a column's type has, and which kinds can read it. Pure."""

from __future__ import annotations

from enum import StrEnum

from consumer.events.value import Kind
from consumer.mapping.catalogue import CatalogueColumn


class Family(StrEnum):
    """Types that Debezium sends in one form."""

    DECIMAL = "decimal"
    INTEGER = "integer"
    BITS = "bits"
    TEXT = "text"
    TIME = "time"
    FLOAT = "float"
    OTHER = "other"


_BASES = {
    Family.DECIMAL: ("decimal", "numeric"),
    Family.INTEGER: (
        *("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year"),
        *("int2", "int4", "int8", "bool", "boolean"),
    ),
    Family.TEXT: (
        *("char", "varchar", "tinytext", "text", "enum", "set"),
        *("bpchar", "citext", "uuid", "name"),
    ),
    Family.TIME: ("datetime", "timestamp", "timestamptz"),
    Family.FLOAT: ("float", "double", "real", "float4", "float8"),
}
_FAMILIES = {base: family for family, bases in _BASES.items() for base in bases}
_CHARACTERS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "bpchar", "citext"})
_FITTING = {
    Family.DECIMAL: {Kind.MONEY},
    Family.INTEGER: {Kind.INTEGER, Kind.MONEY, Kind.TEXT},
    Family.BITS: {Kind.BITS},
    Family.TEXT: {Kind.TEXT, Kind.INTEGER},
    Family.TIME: {Kind.TIME},
    Family.FLOAT: set[Kind](),
    Family.OTHER: {Kind.TEXT, Kind.TIME},
}


def family_of(column: CatalogueColumn) -> Family:
    """The family of a column's type."""
    if column.base in ("bit", "varbit"):
        return Family.INTEGER if column.length == 1 and column.base == "bit" else Family.BITS
    return _FAMILIES.get(column.base, Family.OTHER)


def kind_of(column: CatalogueColumn) -> Kind | None:
    """The kind for a column; None if no kind can read its type, or if its changes are not sent."""
    if not column.is_sent:
        return None
    match family_of(column):
        case Family.DECIMAL:
            return Kind.INTEGER if column.scale == 0 else Kind.MONEY
        case Family.INTEGER:
            return Kind.INTEGER
        case Family.BITS:
            return Kind.BITS
        case Family.TEXT:
            return Kind.TEXT
        case Family.TIME:
            return Kind.TIME
        case _:
            return None


def why_unreadable(column: CatalogueColumn) -> str:
    """Why no kind can read a column."""
    if not column.is_sent:
        return "the database computes it, and PostgreSQL does not send computed columns"
    if family_of(column) is Family.FLOAT:
        return "a floating point number is not exact; make it DECIMAL to use it"
    if column.base == "money":
        return "no kind reads the type MONEY; make it NUMERIC to use it"
    return f"no kind reads the type {column.base}"


def fits(kind: Kind, column: CatalogueColumn) -> bool:
    """Whether values of the column have, or may have, the form that ``kind`` reads."""
    family = family_of(column)
    if not column.is_sent:
        return False
    if family is Family.DECIMAL and column.scale == 0 and kind is Kind.INTEGER:
        return True
    if family is Family.INTEGER and column.base == "bit" and kind is Kind.BITS:
        return True
    return kind in _FITTING[family]


def is_whole(column: CatalogueColumn) -> bool:
    """Whether the column holds whole numbers, as the id of a user must be."""
    return column.base not in ("bit", "bool", "boolean", "year") and fits(Kind.INTEGER, column) and not is_text(column)


def is_text(column: CatalogueColumn) -> bool:
    """Whether the values are text for this program."""
    return family_of(column) is Family.TEXT and column.is_sent


def is_maskable(column: CatalogueColumn) -> bool:
    """Whether Debezium can send a hash instead of the value: it can for characters only."""
    return column.base in _CHARACTERS
