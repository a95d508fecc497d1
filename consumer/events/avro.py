"""Avro in Confluent's wire format: byte 0, the writer schema's id, the Avro body.

A column's logical type (Connect's semantic type, a decimal's scale) is stored beside the values and not applied to
them. fastavro's own conversions round decimals to the declared precision, and raise errors for dates out of range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

import fastavro
import msgspec

from consumer.errors import Undecodable
from consumer.events.event import ColumnSchema, TableSchema

MAGIC = 0
PREFIX = 5
"""Bytes before the body: the magic byte and the schema's id."""
_OTHER_IDS = (
    "on the converter: ids in the value and not in headers, four bytes, of Confluent's API "
    "(Apicurio: headers.enabled=false, as-confluent=true, use-id=contentId)"
)
# Without Connect's semantic type, as other converters write: the same units under the names used here.
_UNITS = {
    "date": "Date",
    "timestamp-millis": "Timestamp",
    "local-timestamp-millis": "Timestamp",
    "timestamp-micros": "MicroTimestamp",
    "local-timestamp-micros": "MicroTimestamp",
    "timestamp-nanos": "NanoTimestamp",
    "local-timestamp-nanos": "NanoTimestamp",
}
_NO_BYTES = "a schema with a type whose values have no bytes"
_STRUCTURE = ("type", "name", "namespace", "symbols", "size")
_NAMED = ("record", "error", "enum", "fixed")


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """A writer schema in the form for fastavro, and the types of the row's columns."""

    writer: Any
    columns: TableSchema


class Schemas(Protocol):
    """Writer schemas by id."""

    def schema(self, number: int) -> AvroSchema:
        """The schema with this id.

        Raises:
            Undecodable: there is no such schema, or it is not Avro.
            ServerError: the schemas' server can't be reached.

        """
        ...


class NoSchemas:
    """Used if no schema registry is configured."""

    def schema(self, number: int) -> AvroSchema:
        """Raises Undecodable: there are no schemas."""
        raise Undecodable(
            f"bytes in Confluent's format with schema {number}, and no schema registry is configured",
            advice="if they are Avro: set CDC_REGISTRY__URL to the registry that the connector's converter uses; if"
            " Protobuf: set an Avro converter, or JsonConverter",
        )


NO_SCHEMAS: Schemas = NoSchemas()


class KnownSchemas:
    """Schemas stored with a recording: their JSON text by id."""

    def __init__(self, texts: Mapping[int, str]) -> None:
        """Raises Undecodable: one of them is not Avro; the error names its id."""
        self._schemas: dict[int, AvroSchema] = {}
        for number, text in texts.items():
            try:
                self._schemas[number] = read_schema(text)
            except Undecodable as error:
                raise Undecodable(f"schema {number}: {error.problem}") from None

    def schema(self, number: int) -> AvroSchema:
        """The schema with this id. Raises Undecodable if there is none."""
        if number not in self._schemas:
            raise no_such_schema(number, "among the recorded ones")
        return self._schemas[number]


def no_such_schema(number: int, where: str) -> Undecodable:
    """The error for an unknown id."""
    return Undecodable(
        f"no schema {number} {where}",
        advice="either the registry lost it (one in memory that was restarted: restart the connector, so that it "
        f"registers its schemas anew), or these are not Confluent's ids, or no Avro at all. Set {_OTHER_IDS}",
    )


def decode(data: bytes, schemas: Schemas) -> tuple[Any, TableSchema]:
    """The value in ``data``, which begins with the magic byte, and the types of its row's columns.

    Raises:
        Undecodable: not the wire format, no such schema, or a body that does not match the schema.
        ServerError: from ``schemas``.

    """
    if len(data) < PREFIX:
        raise Undecodable(f"{len(data)} bytes that begin with 0 and hold no schema id")
    number = int.from_bytes(data[1:PREFIX], "big")
    schema = schemas.schema(number)
    body = BytesIO(data)
    body.seek(PREFIX)
    try:
        value = fastavro.schemaless_reader(body, schema.writer, None)
    except Exception as error:
        # Random bytes caused EOFError, IndexError, UnicodeDecodeError, ValueError, OverflowError. fastavro has no base
        # class for its errors, and their texts may quote the record.
        raise Undecodable(
            f"{len(data)} bytes that are not Avro of schema {number} ({type(error).__name__})",
            advice=f"if every record is so: set {_OTHER_IDS}",
        ) from None
    if left := len(data) - body.tell():
        raise Undecodable(
            f"{left} of {len(data)} bytes left over after Avro of schema {number}",
            advice=f"the id is another schema's; set {_OTHER_IDS}",
        )
    return value, schema.columns


def read_schema(text: str | bytes) -> AvroSchema:
    """A writer schema from its JSON text.

    Raises:
        Undecodable: it is not an Avro schema, or it is not safe for reading unknown bytes.

    """
    try:
        declared = msgspec.json.decode(text)
        bare = "null" if _is_null(declared) else _BareSchema().of(declared)
        return AvroSchema(fastavro.parse_schema(bare), _columns(declared))
    except Undecodable:
        raise
    except Exception as error:  # fastavro has no base class: KeyError, AttributeError, SchemaParseException
        raise Undecodable(f"a schema that is not Avro ({type(error).__name__})") from None


class _BareSchema:
    """Removes the parts of a schema that are not needed to read its own data: defaults, documentation, logical types.

    Refuses schemas with which a few random bytes could take unlimited time or memory: schemas that contain themselves
    (depth), and types whose values have no bytes (an array of them has any length, and records of records of them have
    any number). Then a value has at most as many parts as bytes. Connect writes neither.
    """

    def __init__(self) -> None:
        self._open: list[str] = []

    def of(self, schema: Any, namespace: str = "") -> Any:
        if isinstance(schema, list):  # the index of the branch takes a byte, so null is allowed here
            return ["null" if _is_null(each) else self.of(each, namespace) for each in schema]
        if isinstance(schema, str):
            return self._name(schema, namespace)
        kind = schema["type"]
        if not isinstance(kind, str):
            return self.of(kind, namespace)
        bare: dict[str, Any] = {name: schema[name] for name in _STRUCTURE if name in schema}
        if kind == "array":
            bare["items"] = self.of(schema["items"], namespace)
        elif kind == "map":
            bare["values"] = self.of(schema["values"], namespace)
        elif kind in ("record", "error"):
            bare["fields"] = self._fields(schema, namespace)
        elif kind not in _NAMED:
            return self.of(kind, namespace)
        elif kind == "fixed" and schema["size"] <= 0:
            raise Undecodable(_NO_BYTES)
        return bare

    def _name(self, name: str, namespace: str) -> str:
        if name == "null":
            raise Undecodable(_NO_BYTES)
        if {name, f"{namespace}.{name}"} & set(self._open):
            raise Undecodable("a recursive schema")
        return name

    def _fields(self, record: Any, namespace: str) -> list[dict[str, Any]]:
        space = str(record.get("namespace", namespace))
        name = str(record["name"])
        self._open.append(name if "." in name or not space else f"{space}.{name}")
        inner = self._open[-1].rpartition(".")[0]
        fields = [{"name": _text(field["name"]), "type": self.of(field["type"], inner)} for field in record["fields"]]
        self._open.pop()
        if not fields:
            raise Undecodable(_NO_BYTES)
        return fields


def _text(name: Any) -> str:
    """The name of a field; fastavro accepts others, and a row would have a column without a name."""
    if not isinstance(name, str):
        raise Undecodable("a schema with a field whose name is no text")
    return name


def _is_null(schema: Any) -> bool:
    return schema == "null" or (isinstance(schema, dict) and schema.get("type") == "null")


def _columns(schema: Any) -> TableSchema:
    """The columns of the row image in an envelope's schema, or of the record itself (a key)."""
    fields = schema.get("fields") if isinstance(schema, dict) else None
    if not fields:
        return {}
    images = (_record(field["type"]) for field in fields if field["name"] in ("before", "after"))
    row = next((image for image in images if image is not None), schema)
    return {str(column["name"]): _column(column["type"]) for column in row["fields"]}


def _record(kind: Any) -> Any:
    """The record that is defined in a union. An envelope's second image only names the record of the first image."""
    options = kind if isinstance(kind, list) else [kind]
    return next((each for each in options if isinstance(each, dict) and each.get("fields")), None)


def _column(kind: Any) -> ColumnSchema:
    options = kind if isinstance(kind, list) else [kind]
    said = next((each for each in options if isinstance(each, dict)), {})
    if isinstance(said.get("type"), dict):
        said = said["type"] | said
    logical = said.get("logicalType")
    name = str(said.get("connect.name") or _UNITS.get(str(logical), ""))
    scale = said.get("scale", 0) if logical == "decimal" else None
    return ColumnSchema(name, scale if isinstance(scale, int) else None)
