"""Values of columns in their one canonical form: the Redis string.

Two values are the same when their canonical forms are the same: ``10.50`` and ``10.5``, ``1`` and ``true``.
NULL is None here and ``""`` in Redis; ``0`` and ``""`` are values. Money never goes through a float.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

from consumer.errors import InvalidValue
from consumer.event import ColumnSchema, TableSchema


class Kind(StrEnum):
    """What a column holds, and so how it is written."""

    MONEY = "money"
    INTEGER = "integer"
    TEXT = "text"
    TIME = "time"


Speller: TypeAlias = Callable[[object, int, ColumnSchema], str]
"""A value, the scale of money where the wire does not say, and what the wire says of the column."""

NO_SCHEMA = ColumnSchema()
"""Of a column of which the wire says nothing."""
_PLAIN_MONEY = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_LONGEST_MONEY = 80
_LONGEST_UNSCALED = 34
_HUGE = 10**_LONGEST_MONEY
_MS_PER_DAY = 86_400_000
_DOUBLE = "set decimal.handling.mode=string on the connector: a double has lost digits already"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def canonical(value: object, kind: Kind, scale: int, schema: ColumnSchema = NO_SCHEMA) -> str | None:
    """The canonical text of a decoded column value, None for NULL.

    ``scale`` is the number of decimals of a money column, for wire formats that do not carry it.

    Raises:
        InvalidValue: the value is not of this kind. The error does not repeat the value.

    """
    return None if value is None else speller(kind)(value, scale, schema)


def speller(kind: Kind) -> Speller:
    """:func:`canonical` of one kind, for values that are not NULL: found once, called for every row."""
    return _SPELLERS[kind]


def of_column(raw: object, name: str, kind: Kind, scale: int, columns: TableSchema) -> str | None:
    """:func:`canonical` of the column ``name``, whose schema is in ``columns`` if the wire said one.

    Raises:
        InvalidValue: naming the column.
    """
    try:
        return canonical(raw, kind, scale, columns.get(name, NO_SCHEMA))
    except InvalidValue as error:
        error.field = name
        raise


def money(value: Decimal) -> str:
    """Exact decimal text: no exponent, at least two places, zeros beyond those cut, no negative zero."""
    text = format(value, "f") if value else "0"
    whole, _, places = text.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


def timestamp(ms: int) -> str:
    """UTC milliseconds as ``2024-01-15T10:30:00.000Z``.

    Raises:
        InvalidValue: out of the years 1 to 9999.

    """
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    try:
        return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    except OverflowError:
        raise InvalidValue("a time out of the years 1 to 9999") from None


def _money(value: object, scale: int, schema: ColumnSchema) -> str:
    if isinstance(value, str):
        return _money_text(value, schema.scale if schema.scale is not None else scale, schema.scale is not None)
    if isinstance(value, bytes):
        return money(_unscaled(value, _scale_of(schema)))
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _HUGE:
        return money(Decimal(value))
    if isinstance(value, Decimal) and value.is_finite():
        return money(value)
    if isinstance(value, Mapping) and value.keys() == {"scale", "value"}:
        return _variable_scale(value)
    if isinstance(value, float):
        raise InvalidValue("money as a floating point number", advice=_DOUBLE)
    raise InvalidValue("should be a decimal as text")


@lru_cache(maxsize=16384)
def _money_text(text: str, scale: int, is_unscaled: bool) -> str:
    """``is_unscaled``: the schema says that the text is base64 of the unscaled integer (precise mode)."""
    if is_unscaled:
        return money(_unscaled(_base64(text), scale))
    if len(text) > _LONGEST_MONEY:
        raise InvalidValue("a decimal of more than 80 characters")
    if _PLAIN_MONEY.fullmatch(text):
        whole, _, places = text.partition(".")
        if whole in ("0", "-0") and not places.strip("0"):
            return "0.00"
        return f"{whole}.{places.rstrip('0').ljust(2, '0')}"
    if not _NUMBER.fullmatch(text):
        raise InvalidValue("not a decimal", advice="set decimal.handling.mode=string on the connector")
    number = Decimal(text)
    if abs(number.adjusted()) > _LONGEST_MONEY:
        raise InvalidValue("not a decimal of a sensible size")
    return money(number)


def _variable_scale(value: Mapping[object, object]) -> str:
    """Debezium's struct for a NUMERIC without a scale of its own."""
    scale, unscaled = value["scale"], value["value"]
    if not isinstance(scale, int) or isinstance(scale, bool) or abs(scale) > _LONGEST_MONEY:
        raise InvalidValue("should be a decimal with its scale")
    if isinstance(unscaled, str):
        unscaled = _base64(unscaled)
    if not isinstance(unscaled, bytes):
        raise InvalidValue("should be an unscaled decimal")
    return money(_unscaled(unscaled, scale))


def _scale_of(schema: ColumnSchema) -> int:
    if schema.scale is None:
        raise InvalidValue("bytes that the schema does not call a decimal")
    return schema.scale


def _base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise InvalidValue("should be base64 of an unscaled decimal") from None


def _unscaled(data: bytes, scale: int) -> Decimal:
    """The number whose big-endian two's complement is ``data``, moved by ``scale`` decimals."""
    if not data or len(data) > _LONGEST_UNSCALED or abs(scale) > _LONGEST_MONEY:
        raise InvalidValue("not an unscaled decimal of a sensible size")
    # Scaling by a constructor, not by scaleb: the decimal context would round beyond 28 digits.
    unscaled = int.from_bytes(data, "big", signed=True)
    digits = tuple(int(digit) for digit in str(abs(unscaled)))
    return Decimal((1 if unscaled < 0 else 0, digits, -scale))


def _integer(value: object, scale: int, schema: ColumnSchema) -> str:
    """Whole numbers and flags. Text is passed on: a deployment may hold ``MAM001`` where another holds a number."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int) and abs(value) < _HUGE:
        return str(value)
    if isinstance(value, str):
        return value if schema.scale is None else _whole(_base64(value), schema)
    if isinstance(value, bytes):
        return _whole(value, schema)
    raise InvalidValue("should be a whole number, a flag or text")


def _whole(data: bytes, schema: ColumnSchema) -> str:
    """An integer that came as a decimal, as BIGINT UNSIGNED may."""
    number = _unscaled(data, _scale_of(schema))
    if number != number.to_integral_value():
        raise InvalidValue("should be a whole number")
    return format(number.to_integral_value(), "f")


def _text(value: object, scale: int, schema: ColumnSchema) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _HUGE:
        return str(value)
    raise InvalidValue("should be text")


_UNITS_PER_MS = {"MicroTimestamp": 1_000, "NanoTimestamp": 1_000_000}


def _time(value: object, scale: int, schema: ColumnSchema) -> str:
    """Epoch milli-, micro- or nanoseconds, or ISO text; finer than a millisecond is cut off."""
    if isinstance(value, datetime):
        return timestamp((value.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1))
    if isinstance(value, int) and not isinstance(value, bool):
        name = schema.name.rpartition(".")[2]
        if name == "Date":
            return timestamp(value * _MS_PER_DAY)
        unit = _UNITS_PER_MS.get(name) or _guess_unit(value, schema)
        return timestamp(value // unit)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidValue("not an ISO 8601 time") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return timestamp((moment - _EPOCH) // timedelta(milliseconds=1))
    raise InvalidValue("should be a time")


def _guess_unit(value: int, schema: ColumnSchema) -> int:
    """Without a schema only the size tells: milliseconds reach 1e14 in the year 5138, microseconds in 1973."""
    if schema.name or abs(value) < 10**14:
        return 1
    return 1_000 if abs(value) < 10**17 else 1_000_000


_SPELLERS: dict[Kind, Speller] = {
    Kind.MONEY: _money,
    Kind.INTEGER: _integer,
    Kind.TEXT: _text,
    Kind.TIME: _time,
}
