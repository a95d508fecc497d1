"""The columns that the program needs of each table, as Avro reader schemas, and the check of a writer schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from consumer.events.value import Kind
from consumer.mapping.rules import Column, LinkedTable, Rules

_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_BITS = "io.debezium.data.Bits"
# Debezium's semantic types of an Avro long or string with a time. Without one, the unit of a number is unknown.
_TIMES = (
    "io.debezium.time.Timestamp",
    "io.debezium.time.MicroTimestamp",
    "io.debezium.time.NanoTimestamp",
    "io.debezium.time.ZonedTimestamp",
    "io.debezium.time.IsoTimestamp",
    "org.apache.kafka.connect.data.Timestamp",
)
_ACCEPTED: Mapping[Kind, tuple[str, ...]] = {
    Kind.MONEY: ("string", "decimal", "int", "long"),
    Kind.INTEGER: ("int", "long", "boolean", "string", "whole"),
    Kind.TEXT: ("string", "int", "long"),
    Kind.TIME: ("long", "string"),
    Kind.BITS: ("bytes", "boolean", "int", "long"),
}
_ID = ("int", "long", "string", "whole")
_ROW_KEY = ("int", "long", "string", "bytes")
_ADVICE = {
    "float": "a floating point number has already lost digits; set decimal.handling.mode=string",
    "double": "a floating point number has already lost digits; set decimal.handling.mode=string",
    "bytes": "bytes without the logical type decimal",
}


def reader_schemas(rules: Rules) -> dict[str, dict[str, Any]]:
    """The Avro schema of the rows of every table, by the table's name.

    A required column has no default. The union of a column's types lists every type that the program can read.
    """
    of_users = {table.table: reader_schema(table.table, table.key, table.columns) for table in rules.tables}
    return of_users | {table.table: _linked_schema(table) for table in rules.linked}


def _linked_schema(table: LinkedTable) -> dict[str, Any]:
    """The schema of a linked table: the key has any type, and other required columns are text only."""
    schema = reader_schema(table.table, table.key, _linked(table))
    for field in schema["fields"]:
        if field["name"] == table.key:
            field |= {"type": _types(_ROW_KEY), "kind": "key"}
        elif field["name"] == table.user_id:
            field |= {"type": _types(_ID), "kind": "id"}
        elif "default" not in field:
            field["type"] = ["null", "string"]
    return schema


def _linked(table: LinkedTable) -> Iterator[Column]:
    """The columns that are read from a linked table, each once."""
    needed = [Column(table.user_id, required=True), Column(table.status, Kind.TEXT, required=True)]
    if table.user_type_column:
        needed.append(Column(table.user_type_column, Kind.TEXT, required=True))
    needed += [Column(name, Kind.TEXT, required=True) for name in table.writes]
    needed += [Column(each.column, each.kind, scale=each.scale) for each in table.enriches]
    yield from {column.name: column for column in reversed(needed)}.values()


def reader_schema(table: str, key: str, columns: Iterable[Column]) -> dict[str, Any]:
    """The Avro schema of the rows of one table."""
    return {
        "type": "record",
        "name": "Value",
        "doc": f"What cdc-consumer needs of a row of {table}. A field without a default is required.",
        "fields": [{"name": key, "type": _types(_ID), "kind": "id"}, *map(_field, columns)],
    }


def _field(column: Column) -> dict[str, Any]:
    types = ["null", *_types(_ACCEPTED[column.kind], column.scale)]
    field = {"name": column.name, "type": types, "kind": column.kind.value}
    return field if column.required else field | {"default": None}


def _types(names: Iterable[str], scale: int = 0) -> list[object]:
    """Avro types by name. ``whole`` is a decimal with scale 0: Debezium may send BIGINT UNSIGNED so."""
    scales = {"decimal": scale, "whole": 0}
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 38}
    return [decimal | {"scale": scales[name]} if name in scales else name for name in names]


def incompatibilities(writer: object, reader: Mapping[str, Any]) -> list[str]:
    """Why rows written with ``writer`` can't be used: one sentence for each column; empty if they can be used.

    ``writer``: the Avro schema of a Debezium envelope or of its row. ``reader``: one of :func:`reader_schemas`.
    """
    row = _row(writer)
    if row is None:
        return ["the schema is neither a Debezium envelope with the field after nor a row"]
    named = dict(_named(writer))
    columns = {str(field.get("name")): field for field in row["fields"] if isinstance(field, dict)}
    return list(_problems(columns, reader, named))


def _problems(
    columns: Mapping[str, Mapping[str, Any]], reader: Mapping[str, Any], named: Mapping[str, object]
) -> Iterator[str]:
    for wanted in reader["fields"]:
        name, kind = wanted["name"], wanted["kind"]
        if name not in columns:
            if "default" not in wanted:
                yield f"{name}: missing, and it is required"
            continue
        if kind == "key":
            continue  # any type is accepted: the key only identifies a row
        accepted = {_name(each) for each in wanted["type"]} | ({"bits"} if kind in (Kind.INTEGER, Kind.BITS) else set())
        for each in _branches(columns[name].get("type")):
            given = named.get(each, each) if isinstance(each, str) else each
            found = _name(given)
            if found not in accepted:
                advice = _ADVICE.get(found) if kind == Kind.MONEY else None
                known = ", ".join(sorted(accepted - {"null"}))
                yield f"{name}: {found} can not be read as {kind}: {advice or f'should be one of {known}'}"
            elif kind == Kind.TIME and found == "long" and not _is_time(given):
                yield f"{name}: a number without a semantic type for times, so its unit is unknown"


def _branches(schema: object) -> list[object]:
    return schema if isinstance(schema, list) else [schema]


def _name(schema: object) -> str:
    """A type's name; ``decimal`` for bytes with a decimal, ``bits`` for bytes of a BIT column."""
    if isinstance(schema, dict):
        if schema.get("connect.name") == _BITS:
            return "bits"
        is_decimal = schema.get("logicalType") == "decimal" or schema.get("connect.name") == _DECIMAL
        if schema.get("type") == "bytes" and is_decimal:
            return "decimal"
        return "string" if schema.get("type") == "enum" else _name(schema.get("type"))
    return schema if isinstance(schema, str) else "an unknown type"


def _is_time(schema: object) -> bool:
    if not isinstance(schema, dict):
        return False
    return schema.get("connect.name") in _TIMES or str(schema.get("logicalType", "")).startswith(
        ("timestamp-", "local-timestamp-")
    )


def _row(writer: object) -> Mapping[str, Any] | None:
    """The record schema of the row: from the envelope's ``before`` or ``after``, or ``writer`` itself."""
    if not (isinstance(writer, dict) and writer.get("type") == "record" and isinstance(writer.get("fields"), list)):
        return None
    images = [each for each in writer["fields"] if isinstance(each, dict) and each.get("name") in ("before", "after")]
    if not images:
        return writer if writer.get("name") != "Envelope" else None
    records = [each for image in images for each in _branches(image.get("type")) if isinstance(each, dict)]
    return next((each for each in records if isinstance(each.get("fields"), list)), None)


def _named(schema: object) -> Iterator[tuple[str, object]]:
    """The named types inside a schema, by short name and by full name."""
    if isinstance(schema, list):
        for each in schema:
            yield from _named(each)
    if not isinstance(schema, dict):
        return
    if isinstance(name := schema.get("name"), str) and schema.get("type") in ("record", "enum", "fixed"):
        yield name, schema
        yield f"{schema.get('namespace', '')}.{name}", schema
    for part in ("type", "fields", "items", "values"):
        yield from _named(schema.get(part))
