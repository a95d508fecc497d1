"""Decodes an envelope of the usual form in one step: JSON of a row's change, with parts of the expected types.

Most records are of this form. Any other record is decoded without types by :mod:`consumer.events.envelope`, which also
finds what is wrong with it. Both ways give the same change event; a test proves it for every recording. There is one
difference: a fault in a part that nobody reads is not noticed here.

The records of a topic have rows with the same columns, so the columns of its last record are expected in the next one.
If a record has other columns, as after ALTER TABLE, it is decoded without expectation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Literal, TypeAlias, cast

import msgspec

from consumer.errors import DECODE_ERRORS
from consumer.events.codec import SCHEMA_FIRST, row_schema
from consumer.events.event import RowImage, TableSchema
from consumer.events.row import row_class

_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_NO_SCHEMA: TableSchema = {}
_MOST_TOPICS = 1024
_MOST_AGAIN = 64
_MOST_LAYOUTS = 16
"""A topic with more lists of columns has rows of several tables. Nothing is expected there."""


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
    total_order: _Number | None = None


class Envelope(msgspec.Struct, gc=False):
    """A change of a row."""

    op: Literal["c", "u", "d", "r"]
    source: Source
    before: RowImage | None = None
    after: RowImage | None = None
    transaction: Transaction | None = None


_Decode: TypeAlias = Callable[[bytes], Envelope]


class _Expected(msgspec.Struct):
    """What is expected of a topic's next record. ``decode``: for rows with the columns ``names``, None for any row."""

    names: tuple[str, ...] = ()
    decode: _Decode | None = None
    layouts: int = 0


class _WithSchema(msgspec.Struct, gc=False):
    schema: msgspec.Raw
    payload: Envelope


_decode = msgspec.json.Decoder(Envelope).decode
_decode_key = msgspec.json.Decoder(dict[str, int | str]).decode
_decode_with_schema = msgspec.json.Decoder(_WithSchema).decode
_expected: dict[str, _Expected] = {}
"""By topic. It changes how fast a record is decoded, and in which order its row has its columns."""


def usual_envelope(value: bytes, topic: str) -> tuple[Envelope, TableSchema] | None:
    """The envelope in ``value``, and the column types from its schema; None if it is not of the usual form."""
    expected = _expected.get(topic)
    if expected is not None and expected.decode is not None:
        try:
            return expected.decode(value), _NO_SCHEMA
        except DECODE_ERRORS:
            pass  # other columns, or another form
    try:
        if value.startswith(SCHEMA_FIRST):
            wrapped = _decode_with_schema(value)
            return wrapped.payload, row_schema(bytes(wrapped.schema))
        if not value.startswith(b"{"):
            return None
        envelope = _decode(value)
    except DECODE_ERRORS:
        return None
    if envelope.after is not None:
        _expect(topic, tuple(envelope.after))
    return envelope, _NO_SCHEMA


@lru_cache(maxsize=_MOST_AGAIN)
def decoded(value: bytes) -> Envelope:
    """The envelope in a value of the usual form without a schema, which is read several times.

    Nothing is expected of its rows, and nothing of the next record because of it.
    """
    return _decode(value)


def _expect(topic: str, names: tuple[str, ...]) -> None:
    if topic not in _expected and len(_expected) >= _MOST_TOPICS:
        _expected.clear()
    expected = _expected.setdefault(topic, _Expected())
    if names != expected.names:
        expected.names, expected.layouts = names, expected.layouts + 1
        expected.decode = _decode_of(names) if expected.layouts <= _MOST_LAYOUTS else None


@lru_cache(maxsize=_MOST_TOPICS)
def _decode_of(names: tuple[str, ...]) -> _Decode | None:
    """Decodes envelopes whose rows have the columns ``names``; None if a name can't be expected."""
    try:
        row = row_class(names)
    except ValueError:
        return None
    parts = [("before", row | None, None), ("after", row | None, None)]
    of_rows = msgspec.defstruct("Envelope", parts, bases=(Envelope,), gc=False)
    return cast("_Decode", msgspec.json.Decoder(of_rows).decode)


def usual_key(key: bytes) -> dict[str, int | str] | None:
    """The columns of a key of the usual form: JSON without a schema; None if it is another key."""
    try:
        return _decode_key(key)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
