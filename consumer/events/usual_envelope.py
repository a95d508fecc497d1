"""Decodes an envelope of the usual form in one step: JSON of a row's change, with parts of the expected types.

Most records are of this form. Any other record is decoded without types by :mod:`consumer.events.envelope`, which also
finds what is wrong with it. Both ways give the same change event; a test proves it for every recording. There is one
difference: a fault in a part that nobody reads is not noticed here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from consumer.events.codec import SCHEMA_FIRST, row_schema
from consumer.events.event import TableSchema

_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_NO_SCHEMA: TableSchema = {}


class Source(msgspec.Struct, gc=False):
    """The parts of a ``source`` block that are read. An absent optional part is None."""

    connector: Literal["mysql", "mariadb", "postgresql"]
    table: Annotated[str, msgspec.Meta(min_length=1)]
    ts_ms: _Number
    db: str | None = None
    schema: str | None = None
    snapshot: str | bool | None = None
    server_id: _Number | None = None
    file: str | None = None
    pos: _Number | None = None
    row: _Number | None = None
    gtid: str | None = None
    sequence: str | None = None
    txId: int | None = None  # noqa: N815  # Debezium's name

    @property
    def database(self) -> str | None:
        """What distinguishes tables of the same name: the schema on PostgreSQL, else the database."""
        return self.schema if self.connector == "postgresql" else self.db


class Transaction(msgspec.Struct, gc=False):
    """The parts of a ``transaction`` block that are read."""

    id: str | None = None
    total_order: int | None = None


class Envelope(msgspec.Struct, gc=False):
    """A change of a row."""

    op: Literal["c", "u", "d", "r"]
    source: Source
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    transaction: Transaction | None = None


class _WithSchema(msgspec.Struct, gc=False):
    schema: msgspec.Raw
    payload: Envelope


_decode = msgspec.json.Decoder(Envelope).decode
_decode_key = msgspec.json.Decoder(dict[str, int | str]).decode
_decode_with_schema = msgspec.json.Decoder(_WithSchema).decode


def usual_envelope(value: bytes) -> tuple[Envelope, TableSchema] | None:
    """The envelope in ``value``, and the column types from its schema; None if it is not of the usual form."""
    try:
        if value.startswith(SCHEMA_FIRST):
            wrapped = _decode_with_schema(value)
            return wrapped.payload, row_schema(bytes(wrapped.schema))
        return (_decode(value), _NO_SCHEMA) if value.startswith(b"{") else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def usual_key(key: bytes) -> dict[str, int | str] | None:
    """The columns of a key of the usual form: JSON without a schema; None if it is another key."""
    try:
        return _decode_key(key)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
