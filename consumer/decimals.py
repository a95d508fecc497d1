"""Decimals in JSON without schema: which of Debezium's two spellings a row uses.

In string mode money is ``"100.50"``. In precise mode it is base64 of the unscaled integer, and the scale is nowhere in
the record: it comes from the mapping. One spelling holds for a whole record, so the columns decide together: most
precise values are no number, and in string mode every amount with decimals has a point.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from consumer.errors import InvalidValue
from consumer.event import ChangeEvent, ColumnSchema, TableSchema

_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[eE][+-]?[0-9]+)?|[+-]?(?:NaN|Infinity)", re.IGNORECASE)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def spelled(event: ChangeEvent, money: Iterable[tuple[str, int]]) -> ChangeEvent:
    """``event`` with a schema of its money columns where they are in precise mode and the record has no schema.

    ``money`` are the columns with their scales.

    Raises:
        InvalidValue: every amount could be either.

    """
    if event.schema:
        return event
    columns: list[tuple[str, int]] = []
    ambiguous = ""
    is_precise = False
    for column, scale in money:
        for text in _texts(event, column):
            if "." in text:
                return event
            is_number, is_base64 = bool(_NUMBER.fullmatch(text)), bool(text and _BASE64.fullmatch(text))
            if is_number and not is_base64:
                return event
            is_precise |= is_base64 and not is_number
            ambiguous = ambiguous or (column if is_base64 and is_number else "")
        columns.append((column, scale))
    if is_precise:
        schema: TableSchema = {column: ColumnSchema(_DECIMAL, scale) for column, scale in columns}
        return replace(event, schema=schema)
    if ambiguous:
        raise InvalidValue(
            "a decimal that may be text as well as base64",
            field=ambiguous,
            advice="set decimal.handling.mode=string on the connector, or send the schema too (or Avro)",
        )
    return event


def _texts(event: ChangeEvent, column: str) -> Iterator[str]:
    for image in (event.after, event.before):
        value = image.get(column) if image is not None else None
        if isinstance(value, str):
            yield value
