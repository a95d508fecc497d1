"""Decimals in a record: text, or the unscaled integer. Detects which of the two a JSON row without schema uses.

In string mode (``decimal.handling.mode``) an amount is ``"100.50"``. In precise mode it is base64 of the unscaled
integer. Without a schema, the record does not contain the scale; it comes from the mapping.

All columns of a record use the same mode, so they decide together. In precise mode most values are not numbers. In
string mode every amount with decimals has a point. If no value shows precise mode, the values are text. This is rarely
wrong: base64 that begins with a digit is a negative amount, and base64 of digits only is rare.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from msgspec.structs import replace

from consumer.errors import InvalidValue
from consumer.events.event import ChangeEvent, ColumnSchema, TableSchema

LONGEST = 80
"""The largest number of characters of an amount, and of its decimals."""
_LONGEST_UNSCALED = 34
_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[eE][+-]?[0-9]+)?")
_SPECIAL = re.compile(r"[+-]?(?:(?:POSITIVE_|NEGATIVE_)?INFINITY|INF|NAN)", re.IGNORECASE)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def with_decimal_schema(event: ChangeEvent, money: Sequence[tuple[str, int]]) -> ChangeEvent:
    """``event`` with a schema of its money columns, if they are in precise mode and the record has no schema.

    ``money``: the money columns, each with its scale.
    """
    row = event.after
    if event.schema or (row is not None and has_point(row.get(column) for column, _ in money)):
        return event
    columns: list[tuple[str, int]] = []
    is_precise = False
    for column, scale in money:
        for text in _texts(event, column):
            if "." in text or is_special(text):
                return event
            is_number, is_base64 = bool(_NUMBER.fullmatch(text)), bool(text and _BASE64.fullmatch(text))
            if is_number and not is_base64:
                return event
            is_precise |= is_base64 and not is_number
        columns.append((column, scale))
    if not is_precise:
        return event
    schema: TableSchema = {column: ColumnSchema(_DECIMAL, scale, is_assumed=True) for column, scale in columns}
    return replace(event, schema=schema)


def has_point(amounts: Iterable[object]) -> bool:
    """Whether an amount has a point. Then all amounts are text, because base64 has no point."""
    for value in amounts:  # noqa: SIM110  # any() takes three times as long for the first of few
        if isinstance(value, str) and "." in value:
            return True
    return False


def _texts(event: ChangeEvent, column: str) -> Iterator[str]:
    for image in (event.after, event.before):
        value = image.get(column) if image is not None else None
        if isinstance(value, str):
            yield value


def is_special(text: str) -> bool:
    """Whether ``text`` is NaN or an infinity, as PostgreSQL, Java or Debezium write them."""
    return _SPECIAL.fullmatch(text) is not None


def base64_bytes(text: str) -> bytes:
    """The bytes of an unscaled decimal.

    Raises:
        InvalidValue: ``text`` is not base64.
    """
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise InvalidValue("should be base64 of an unscaled decimal") from None


def unscaled(data: bytes, scale: int) -> Decimal:
    """The number with ``scale`` decimals whose unscaled integer is ``data``, in big-endian two's complement.

    Raises:
        InvalidValue: ``data`` is empty, or the number is too large.
    """
    if not data or len(data) > _LONGEST_UNSCALED or abs(scale) > LONGEST:
        raise InvalidValue("not an unscaled decimal of a sensible size")
    # The constructor sets the scale, not scaleb: scaleb rounds to the 28 digits of the decimal context.
    number = int.from_bytes(data, "big", signed=True)
    digits = tuple(int(digit) for digit in str(abs(number)))
    return Decimal((1 if number < 0 else 0, digits, -scale))
