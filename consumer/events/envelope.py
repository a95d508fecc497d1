"""Parses a decoded value: Debezium's envelope, and the other records in its topics."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from consumer.errors import NotAnEnvelope, Place, RecordError, Unsupported
from consumer.events.avro import NO_SCHEMAS, Schemas
from consumer.events.codec import decode
from consumer.events.event import (
    PLACEHOLDER,
    UNAVAILABLE,
    ChangeEvent,
    Ignored,
    Operation,
    OtherDatabase,
    RowImage,
    TableSchema,
    Tombstone,
)
from consumer.events.position import Origin, SourcePosition, from_source, in_binlog, in_wal
from consumer.events.record import SourceRecord
from consumer.events.topic_tables import is_consumed
from consumer.events.usual_envelope import Source, Transaction, usual_envelope, usual_key
from consumer.events.value import whole_number

_FLATTENED = (
    "set no ExtractNewRecordState (flattening) transformation on the connector: the old row image is gone with it"
)
_CONVERTERS = "value.converter: JsonConverter, or an Avro converter with Confluent's format"
_OPERATIONS = {each.value: each for each in Operation}
_EVERY: frozenset[str] = frozenset()


def parse(
    record: SourceRecord,
    schemas: Schemas = NO_SCHEMAS,
    databases: frozenset[str] = _EVERY,
    *,
    placeholder: str = PLACEHOLDER,
) -> ChangeEvent | Tombstone | Ignored | OtherDatabase:
    """The content of ``record``.

    ``schemas``: for Avro. ``databases``: rows of other databases are not parsed; empty: all rows are parsed.
    ``placeholder``: the text that Debezium sends for values that were not sent.

    Raises:
        RecordError: with the record's place, and the faulty field of the envelope.
        ServerError: from ``schemas``.

    """
    try:
        found = _usual_change(record, schemas, databases, placeholder)
        return found if found is not None else _parse(record, schemas, databases, placeholder)
    except RecordError as error:
        error.place = record.place
        raise


def _parse(
    record: SourceRecord, schemas: Schemas, databases: frozenset[str], placeholder: str
) -> ChangeEvent | Tombstone | Ignored | OtherDatabase:
    decoded = decode(record.value, schemas) if record.value is not None else None
    envelope = decoded.payload if decoded is not None else None
    if record.value is None or decoded is None or envelope is None:
        return Tombstone()  # some converters write a null value as JSON
    if not isinstance(envelope, dict):
        raise _no_object(envelope)
    # A flattened row may have a column named op; an envelope has an image or a source beside it.
    if "op" not in envelope or envelope.keys().isdisjoint(("before", "after", "source")):
        return _without_operation(envelope)
    op = _operation(envelope["op"])
    if op is Operation.MESSAGE:
        return Ignored("a logical decoding message, no row")
    source, table = _source(envelope)
    database = _database(source, is_needed=bool(databases))
    if not is_consumed(databases, database):
        # Checked before any row error is raised: faulty rows of other databases do not matter to this program.
        return OtherDatabase(database, table)
    if op is Operation.TRUNCATE:
        raise Unsupported(
            f"TRUNCATE of {table}",
            field="op",
            advice="Redis was not touched; if the table was really emptied, remove its users' keys by an audit",
        )
    before, after = _image(envelope, "before"), _image(envelope, "after")
    if after is None and op is not Operation.DELETE:
        raise NotAnEnvelope(f"no row image for op {op}", field="after")
    before, after = _with_unavailable(record.value, before, after, placeholder)
    block = envelope.get("transaction")
    position = from_source(source, block)
    return ChangeEvent(
        table=table,
        op=op,
        key=key_of(record.key, schemas),
        before=before,
        after=after,
        position=position,
        transaction_id=_transaction(block.get("id") if isinstance(block, dict) else None, position),
        place=record.place,
        schema=decoded.columns,
        written_ms=record.timestamp_ms,
        database=database,
    )


def _usual_change(
    record: SourceRecord, schemas: Schemas, databases: frozenset[str], placeholder: str
) -> ChangeEvent | OtherDatabase | None:
    """The change in a record of the usual form; None if it is another record, or if something is missing."""
    value = record.value
    if value is None or (found := usual_envelope(value, record.topic)) is None:
        return None
    envelope, columns = found
    source, op = envelope.source, _OPERATIONS[envelope.op]
    after: RowImage | None = envelope.after
    database = source.database
    if not database or (after is None and op is not Operation.DELETE):
        return None
    if databases and not is_consumed(databases, database):
        return OtherDatabase(database, source.table)
    transaction = envelope.transaction
    position = _usual_position(source, transaction)
    if position is None:
        return None
    before, after = _with_unavailable(value, envelope.before, after, placeholder)
    return ChangeEvent(
        source.table,
        op,
        key_of(record.key, schemas),
        before,
        after,
        position,
        _transaction(transaction.id if transaction is not None else None, position),
        Place(record.topic, record.partition, record.offset),
        columns,
        (),
        database,
        record.timestamp_ms,
    )


def _usual_position(source: Source, transaction: Transaction | None) -> SourcePosition | None:
    count = (transaction.total_order or 0) if transaction is not None else 0
    if source.connector == "postgresql":
        return in_wal(source.sequence, source.txId, source.ts_ms, source.snapshot, count)
    if source.pos is None or source.row is None or source.server_id is None:
        return None
    at = source.file, source.pos, source.row
    return in_binlog(source.connector, at, source.server_id, source.gtid or "", source.ts_ms, source.snapshot, count)


def _source(envelope: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The source block, and the name of the table in it."""
    source = envelope.get("source")
    if not isinstance(source, dict):
        raise NotAnEnvelope("missing", field="source")
    table = source.get("table")
    if not isinstance(table, str) or not table:
        raise NotAnEnvelope("missing", field="source.table")
    return source, table


def _database(source: Mapping[str, Any], *, is_needed: bool) -> str:
    scope = scope_of(source.get("connector"))
    found = source.get(scope)
    if isinstance(found, str) and found:
        return found
    if is_needed:
        raise NotAnEnvelope("missing", field=f"source.{scope}")
    return ""


def scope_of(connector: object) -> str:
    """The field of a source block that distinguishes tables of the same name: the database's or the schema's name."""
    return "schema" if connector == "postgresql" else "db"


def _no_object(value: object) -> NotAnEnvelope:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return NotAnEnvelope("a text that holds JSON: it was converted to JSON twice", advice=_CONVERTERS)
    return NotAnEnvelope("the value is no object")


def _without_operation(value: Mapping[str, Any]) -> Ignored:
    """Records of Debezium's own topics have no ``op``. Any other record without ``op`` is an error."""
    if "specversion" in value and "type" in value:
        raise NotAnEnvelope("a CloudEvents envelope, of CloudEventsConverter", advice=_CONVERTERS)
    if not value.keys().isdisjoint(("__op", "__deleted")):
        raise NotAnEnvelope("missing: a flattened row", field="op", advice=_FLATTENED)
    if value.get("status") in ("BEGIN", "END") and "id" in value:
        return Ignored("transaction metadata")
    if "ddl" in value or "tableChanges" in value:
        return Ignored("a schema change")
    if value.keys() == {"ts_ms"}:
        return Ignored("a heartbeat")
    raise NotAnEnvelope("missing: not a Debezium change event", field="op", advice=_FLATTENED)


def _operation(op: object) -> Operation:
    found = _OPERATIONS.get(op) if isinstance(op, str) else None
    if found is None:
        raise NotAnEnvelope("not one of c, u, d, r, t, m", field="op")
    return found


def _image(envelope: Mapping[str, Any], name: str) -> RowImage | None:
    image = envelope.get(name)
    if image is not None and not isinstance(image, dict):
        raise NotAnEnvelope("should be a row or null", field=name)
    return image


def _with_unavailable(
    record: bytes, before: RowImage | None, after: RowImage | None, placeholder: str
) -> tuple[RowImage | None, RowImage | None]:
    """Replace Debezium's placeholder. The value is unchanged, so the new row gets the old row's value if it has one."""
    if _bytes_of(placeholder) not in record:
        return before, after
    old = {} if before is None else before
    old = {name: UNAVAILABLE if value == placeholder else value for name, value in old.items()}
    new = {} if after is None else after
    new = {name: old.get(name, UNAVAILABLE) if value == placeholder else value for name, value in new.items()}
    return None if before is None else old, None if after is None else new


@lru_cache(maxsize=16)
def _bytes_of(placeholder: str) -> bytes:
    return placeholder.encode()


def key_of(key: bytes | None, schemas: Schemas) -> RowImage:
    """The columns of a record's key; empty if it is absent or can't be read (the row image has the columns too)."""
    if key is None:
        return {}
    if (usual := usual_key(key)) is not None:
        return usual
    try:
        decoded = decode(key, schemas)
        return _with_whole_numbers(decoded.payload, decoded.columns) if isinstance(decoded.payload, dict) else {}
    except RecordError:
        return {}


def _with_whole_numbers(key: RowImage, columns: TableSchema) -> RowImage:
    """Convert decimals of a key to numbers, because the key is passed on without its schema."""
    decimals = {name for name, column in columns.items() if column.scale == 0 and key.get(name) is not None}
    return key if not decimals else {**key, **{name: whole_number(key[name], columns[name]) for name in decimals}}


def _transaction(found: object, position: SourcePosition) -> str | None:
    """The database transaction's id: ``found`` in Debezium's transaction metadata, otherwise from the source block.

    On PostgreSQL the metadata has ``txId:lsn``, with another lsn in each row. So only the txId is used.
    """
    if position.connector != "postgresql":
        found = found or position.transaction
    elif isinstance(found, str):
        found = found.partition(":")[0]
    elif position.origin is Origin.STREAMED:
        found = position.transaction
    return found if isinstance(found, str) and found else None
