"""Bytes of a Kafka record to a decoded value, the wire format told apart per record.

Today: JSON as Kafka Connect's JsonConverter writes it, with or without its schema around the payload.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from consumer.errors import Undecodable
from consumer.event import ColumnSchema, TableSchema

_NO_SCHEMA: TableSchema = {}
_DECIMAL = "org.apache.kafka.connect.data.Decimal"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded value, and what the wire said of the row's columns (empty without a schema)."""

    payload: Any
    columns: TableSchema


class _WithSchema(msgspec.Struct):
    """JsonConverter's ``schemas.enable=true``; the schema stays bytes, for it is the same in every record."""

    schema: msgspec.Raw
    payload: msgspec.Raw


_json = msgspec.json.Decoder()
_json_with_schema = msgspec.json.Decoder(_WithSchema)


def decode(data: bytes) -> Decoded:
    """The value in ``data``.

    Raises:
        Undecodable: the bytes are not JSON.

    """
    if not data:
        raise Undecodable("empty")
    try:
        if data[:9] == b'{"schema"':
            wrapped = _json_with_schema.decode(data)
            return Decoded(_json.decode(wrapped.payload), _row_schema(bytes(wrapped.schema)))
        return Decoded(_json.decode(data), _NO_SCHEMA)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        # The decoder's own words may quote the record, so they are not repeated here.
        raise Undecodable(
            f"{len(data)} bytes that are not JSON",
            advice="expected: Kafka Connect's JsonConverter, with or without schemas",
        ) from None


@lru_cache(maxsize=256)
def _row_schema(raw: bytes) -> TableSchema:
    """The columns' types from the Connect schema of an envelope, or of a key."""
    schema = _json.decode(raw)
    if not isinstance(schema, dict):
        return _NO_SCHEMA
    fields = schema.get("fields") or []
    rows = [field for field in fields if field.get("field") in ("after", "before") and field.get("fields")]
    columns = rows[0]["fields"] if rows else fields
    return {str(column.get("field")): _column(column) for column in columns}


def _column(column: dict[str, Any]) -> ColumnSchema:
    name = str(column.get("name") or "")
    scale = (column.get("parameters") or {}).get("scale") if name == _DECIMAL else None
    return ColumnSchema(name, None if scale is None else int(scale))
