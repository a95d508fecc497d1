"""The canonical form of column values: the string that Redis holds.

Two values are the same when their canonical forms are the same: ``10.50`` and ``10.5``, ``1`` and ``true``, ``VIP`` and
``VIP`` padded with spaces by a CHAR column. NULL is None here and ``""`` in Redis; ``0`` and ``""`` are values. Money
never goes through a float.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

from consumer.errors import InvalidValue
from consumer.events.decimals import LONGEST, base64_bytes, is_special, unscaled
from consumer.events.event import UNREADABLE, ColumnSchema, TableSchema
from consumer.events.timestamps import time_text, timestamp

__all__ = [
    "NO_SCHEMA",
    "Canonicalizer",
    "Kind",
    "canonical",
    "canonicalizer_of",
    "money",
    "of_column",
    "plain_money",
    "timestamp",
    "whole_number",
]


class Kind(StrEnum):
    """What a column holds, and so its form in Redis. BITS: a BIT(n) column; JSON without schema does not show this."""

    MONEY = "money"
    INTEGER = "integer"
    TEXT = "text"
    TIME = "time"
    BITS = "bits"


Canonicalizer: TypeAlias = Callable[[object, int, ColumnSchema], str]
"""Arguments: the value, the scale of money if the record does not contain it, and the column's schema."""

NO_SCHEMA = ColumnSchema()
"""For a column of a record without schema."""
_USUAL_MONEY = re.compile(r"((?:-?[1-9][0-9]*|0)\.[0-9]{2}(?:[0-9]*[1-9])?)0*")
"""Two decimals at least, and no sign before a zero. The group is the canonical text."""
_PLAIN_MONEY = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_PADDED_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)")
_HUGE = 10**LONGEST
_ID_LIMIT = 10**20
_MOST_BIT_BYTES = 32
_BITS = "io.debezium.data.Bits"
_DOUBLE = "set decimal.handling.mode=string on the connector: a double has lost digits already"
_NO_AMOUNT = "correct the row in the database; a CHECK constraint of the column keeps NaN and infinities out"
_UNTOLD_BYTES = (
    'a BIT column: send the schema too (or Avro), or set kind = "bits" for the column in the mapping; '
    "a BIGINT UNSIGNED one: set bigint.unsigned.handling.mode=long on the connector"
)
_UNSIGNED = (
    "set bigint.unsigned.handling.mode=long on the connector, or send the schema too (or Avro), if the column is BIGINT"
    " UNSIGNED"
)


def canonical(value: object, kind: Kind, scale: int, schema: ColumnSchema = NO_SCHEMA) -> str | None:
    """The canonical text of a decoded column value; None for NULL.

    ``scale`` is the number of decimals of a money column, for wire formats that do not carry it.

    Raises:
        InvalidValue: the value is not of this kind. The error does not repeat the value.

    """
    return None if value is None else canonicalizer_of(kind)(value, scale, schema)


def canonicalizer_of(kind: Kind) -> Canonicalizer:
    """:func:`canonical` of one kind, for values that are not NULL. Get it once, and call it for every row."""
    return _CANONICALIZERS[kind]


def of_column(raw: object, name: str, kind: Kind, scale: int, columns: TableSchema) -> str | None:
    """:func:`canonical` of the column ``name``, whose schema is in ``columns`` if the record has one.

    Raises:
        InvalidValue: the error names the column.
    """
    try:
        return canonical(raw, kind, scale, columns.get(name, NO_SCHEMA))
    except InvalidValue as error:
        error.field = name
        raise


def whole_number(value: object, schema: ColumnSchema = NO_SCHEMA) -> int:
    """The id of a user: a whole number that is not negative, also as text, or as a decimal according to the schema.

    Raises:
        InvalidValue: the value is not such a number.
    """
    if type(value) is int and 0 <= value < _ID_LIMIT:
        return value
    number: object = value
    if isinstance(value, str | bytes) and schema.scale is not None:
        number = int(_whole(base64_bytes(value) if isinstance(value, str) else value, schema))
    elif isinstance(value, str) and (text := value.rstrip(" ")).isascii() and text.isdecimal() and len(text) <= LONGEST:
        number = int(text)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < _ID_LIMIT:
        advice = _UNSIGNED if isinstance(number, str | bytes) else ""
        raise InvalidValue("should be an id: a whole number that is not negative", advice=advice)
    return number


def money(value: Decimal) -> str:
    """Exact decimal text: no exponent, at least two decimals, no further zeros at the end, no negative zero."""
    text = format(value, "f") if value else "0"
    whole, _, places = text.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


def _money(value: object, scale: int, schema: ColumnSchema) -> str:
    if isinstance(value, str):
        if schema.scale is not None:
            return _unscaled_money(value, schema.scale)
        return plain_money(value) or _money_text(value)
    if isinstance(value, bytes):
        return money(unscaled(value, _scale_of(schema)))
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _HUGE:
        return money(Decimal(value))
    if isinstance(value, Decimal) and value.is_finite():
        return money(value)
    if isinstance(value, Mapping) and value.keys() == {"scale", "value"}:
        return _variable_scale(value)
    if isinstance(value, float):
        raise InvalidValue("money as a floating point number", advice=_DOUBLE)
    raise _invalid(value, "should be a decimal as text")


@lru_cache(maxsize=16384)
def _unscaled_money(text: str, scale: int) -> str:
    """For base64 of the unscaled integer, as the schema says (precise mode)."""
    return money(unscaled(base64_bytes(text), scale))


def plain_money(text: str) -> str | None:
    """The canonical text of digits with or without decimals, as databases send them; None if it is another text."""
    if len(text) > LONGEST:
        return None
    if (usual := _USUAL_MONEY.fullmatch(text)) is not None:
        return usual[1]
    if not _PLAIN_MONEY.fullmatch(text):
        return None
    whole, _, places = text.partition(".")
    if whole in ("0", "-0") and not places.strip("0"):
        return "0.00"
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


def _money_text(text: str) -> str:
    if len(text) > LONGEST:
        raise InvalidValue(f"a decimal of more than {LONGEST} characters")
    if is_special(text):
        raise InvalidValue("no amount: not a number, or infinite", advice=_NO_AMOUNT)
    if not _NUMBER.fullmatch(text):
        raise InvalidValue("not a decimal", advice="set decimal.handling.mode=string on the connector")
    number = Decimal(text)
    if abs(number.adjusted()) > LONGEST:
        raise InvalidValue("not a decimal of a sensible size")
    return money(number)


def _variable_scale(value: Mapping[object, object]) -> str:
    """Debezium's struct for a NUMERIC column without a declared scale."""
    scale, digits = value["scale"], value["value"]
    if not isinstance(scale, int) or isinstance(scale, bool) or abs(scale) > LONGEST:
        raise InvalidValue("should be a decimal with its scale")
    if isinstance(digits, str):
        digits = base64_bytes(digits)
    if not isinstance(digits, bytes):
        raise InvalidValue("should be an unscaled decimal")
    return money(unscaled(digits, scale))


def _scale_of(schema: ColumnSchema) -> int:
    if schema.scale is None:
        raise InvalidValue("bytes that the schema does not call a decimal")
    return schema.scale


def _integer(value: object, scale: int, schema: ColumnSchema) -> str:
    """Whole numbers and flags. Text is kept: a column may contain ``MAM001`` in one deployment, a number in another."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int) and abs(value) < _HUGE:
        return str(value)
    if isinstance(value, str | bytes) and schema.name == _BITS:
        return _bits(value, scale, schema)
    if isinstance(value, str):
        return _integer_text(value) if schema.scale is None else _whole(base64_bytes(value), schema)
    if isinstance(value, bytes):
        return _whole(value, schema)
    raise _invalid(value, "should be a whole number, a flag or text")


def _integer_text(text: str) -> str:
    if _PADDED_BASE64.fullmatch(text):
        raise InvalidValue("base64, and nothing says of what", advice=_UNTOLD_BYTES)
    text = text.rstrip(" ")
    return _FLAGS.get(text.lower(), text)


_FLAGS = {"true": "1", "false": "0"}


def _whole(data: bytes, schema: ColumnSchema) -> str:
    """An integer that was sent as a decimal, as Debezium may send BIGINT UNSIGNED."""
    number = unscaled(data, _scale_of(schema))
    if number != number.to_integral_value():
        raise InvalidValue("should be a whole number")
    return format(number.to_integral_value(), "f")


def _bits(value: object, scale: int, schema: ColumnSchema) -> str:
    """The number in a BIT column. Debezium sends its bytes, the lowest first; for BIT(1) it sends a flag."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str):
        value = base64_bytes(value)
    if isinstance(value, bytes) and len(value) <= _MOST_BIT_BYTES:
        return str(int.from_bytes(value, "little"))
    if isinstance(value, int) and 0 <= value < _HUGE:
        return str(value)
    raise _invalid(value, "should be the bytes of a BIT column")


def _text(value: object, scale: int, schema: ColumnSchema) -> str:
    if isinstance(value, str):
        return value.rstrip(" ")  # a CHAR column's padding, which PostgreSQL sends and MySQL does not
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _HUGE:
        return str(value)
    raise _invalid(value, "should be text")


def _invalid(value: object, problem: str) -> InvalidValue:
    return InvalidValue("the driver can't read it" if value is UNREADABLE else problem)


_CANONICALIZERS: dict[Kind, Canonicalizer] = {
    Kind.MONEY: _money,
    Kind.INTEGER: _integer,
    Kind.TEXT: _text,
    Kind.TIME: time_text,
    Kind.BITS: _bits,
}
