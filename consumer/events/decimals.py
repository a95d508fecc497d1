"""Decimals as the wire spells them: text, or the unscaled integer; and which of the two a JSON row without schema uses.

In string mode money is ``"100.50"``. In precise mode it is base64 of the unscaled integer, and without a schema the
scale is nowhere in the record: it comes from the mapping. One spelling holds for a whole record, so the columns decide
together: most precise values are no number, and in string mode every amount with decimals has a point. Where nothing
speaks for base64 it is text: base64 that begins with a digit is a negative amount, and one of digits alone is rare.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator
from decimal import Decimal

from msgspec.structs import replace

from consumer.errors import InvalidValue
from consumer.events.event import ChangeEvent, ColumnSchema, TableSchema

LONGEST = 80
"""So many characters an amount may have, and so many decimals."""
_LONGEST_UNSCALED = 34
_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[eE][+-]?[0-9]+)?")
_SPECIAL = re.compile(r"[+-]?(?:(?:POSITIVE_|NEGATIVE_)?INFINITY|INF|NAN)", re.IGNORECASE)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def spelled(event: ChangeEvent, money: Iterable[tuple[str, int]]) -> ChangeEvent:
    """``event`` with a schema of its money columns where they are in precise mode and the record has no schema.

    ``money`` are the columns with their scales.
    """
    if event.schema:
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


def _texts(event: ChangeEvent, column: str) -> Iterator[str]:
    for image in (event.after, event.before):
        value = image.get(column) if image is not None else None
        if isinstance(value, str):
            yield value


def is_special(text: str) -> bool:
    """Whether it is NaN or an infinity, as PostgreSQL, Java or Debezium write them."""
    return _SPECIAL.fullmatch(text) is not None


def base64_bytes(text: str) -> bytes:
    """The bytes of an unscaled decimal.

    Raises:
        InvalidValue: no base64.
    """
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise InvalidValue("should be base64 of an unscaled decimal") from None


def unscaled(data: bytes, scale: int) -> Decimal:
    """The number whose big-endian two's complement is ``data``, moved by ``scale`` decimals.

    Raises:
        InvalidValue: empty, or too large.
    """
    if not data or len(data) > _LONGEST_UNSCALED or abs(scale) > LONGEST:
        raise InvalidValue("not an unscaled decimal of a sensible size")
    # Scaling by a constructor, not by scaleb: the decimal context would round beyond 28 digits.
    number = int.from_bytes(data, "big", signed=True)
    digits = tuple(int(digit) for digit in str(abs(number)))
    return Decimal((1 if number < 0 else 0, digits, -scale))
