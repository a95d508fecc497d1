"""Decodes the bytes of a Kafka record. The wire format is detected for each record.

The formats: JSON of Kafka Connect's JsonConverter, with or without a schema around the payload; and Avro in Confluent's
wire format. Avro begins with byte 0, and JSON never does.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Any

import msgspec

from consumer.errors import DECODE_ERRORS, Undecodable
from consumer.events import avro
from consumer.events.avro import Schemas
from consumer.events.event import ColumnSchema, TableSchema

SCHEMA_FIRST = b'{"schema"'
"""How JsonConverter's values with a schema begin."""
_NO_SCHEMA: TableSchema = {}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EXPECTED = "expected: Kafka Connect's JsonConverter, with or without schemas, or Avro in Confluent's format"
# The first bytes of other converters' formats, and the names of these formats.
_OTHER_CONVERTERS = {
    b"Struct{": "text of StringConverter, which nothing can read back",
    b"\x03\x00": "bytes of the converter of AWS Glue's schema registry",
    b"\x03\x05": "bytes of the converter of AWS Glue's schema registry, compressed",
}
_JSON_SCHEMA = "JSON behind a schema's id, of JsonSchemaConverter"
_DECIMAL = "org.apache.kafka.connect.data.Decimal"


class Decoded(msgspec.Struct, frozen=True):
    """A decoded value, and the column types from its schema (empty without a schema)."""

    payload: Any
    columns: TableSchema


class _WithSchema(msgspec.Struct):
    """JsonConverter's ``schemas.enable=true``. The schema stays bytes, because it is the same in every record."""

    schema: msgspec.Raw
    payload: Any


class _Field(msgspec.Struct):
    """The parts of a Connect schema that are read; each of its fields has the same parts."""

    field: str = ""
    name: str | None = None
    parameters: dict[str, str] | None = None
    fields: list[_Field] = []


_json = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode
_json_schema = msgspec.json.Decoder(_Field)
_json_with_schema = msgspec.json.Decoder(_WithSchema)


def decode(data: bytes, schemas: Schemas) -> Decoded:
    """The value in ``data``.

    Raises:
        Undecodable: the bytes are neither JSON nor Avro of a known schema.
        ServerError: from ``schemas``, which is used only for Avro.

    """
    if not data:
        raise Undecodable("empty")
    if data[0] == avro.MAGIC:
        if data[avro.PREFIX : avro.PREFIX + 1] == b"{" and _is_json(data[avro.PREFIX :]):
            raise Undecodable(_JSON_SCHEMA, advice=_EXPECTED)
        return Decoded(*avro.decode(data, schemas))
    try:
        if data.startswith(SCHEMA_FIRST):
            with suppress(msgspec.ValidationError):  # a row with a column "schema", not a schema around a payload
                wrapped = _json_with_schema.decode(data)
                return Decoded(wrapped.payload, row_schema(bytes(wrapped.schema)))
        value = _json.decode(data)
        if isinstance(value, dict) and value.keys() == {"schema", "payload"}:
            return Decoded(
                value["payload"], row_schema(_encode(value["schema"]))
            )  # other order or spaces than Connect writes
        return Decoded(value, _NO_SCHEMA)
    except DECODE_ERRORS:
        if data.startswith(_BYTE_ORDER_MARK) and not data.startswith(_BYTE_ORDER_MARK, len(_BYTE_ORDER_MARK)):
            return decode(data[len(_BYTE_ORDER_MARK) :], schemas)
        # The decoder's error text may quote the record, so it is not repeated here.
        raise Undecodable(_named(data), advice=_EXPECTED) from None


def _named(data: bytes) -> str:
    known = (name for begin, name in _OTHER_CONVERTERS.items() if data.startswith(begin))
    return next(known, f"{len(data)} bytes that are not JSON")


def _is_json(data: bytes) -> bool:
    try:
        _json.decode(data)
    except DECODE_ERRORS:
        return False
    return True


@lru_cache(maxsize=256)
def row_schema(raw: bytes) -> TableSchema:
    """The columns' types from the Connect schema of an envelope or key, which is long and the same in every record."""
    try:
        fields = _json_schema.decode(raw).fields
    except msgspec.DecodeError:
        return _NO_SCHEMA  # the schema of a plain value, or not a Connect schema: the payload is used without it
    rows = [each for each in fields if each.field in ("after", "before") and each.fields]
    return {column.field: _column(column) for column in (rows[0].fields if rows else fields)}


def _column(column: _Field) -> ColumnSchema:
    scale = column.parameters.get("scale", "") if column.parameters and column.name == _DECIMAL else ""
    is_scale = len(scale) <= 3 and scale.removeprefix("-").isdecimal() and scale.isascii()
    return ColumnSchema(column.name or "", int(scale) if is_scale else None)
