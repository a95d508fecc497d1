"""Decodes only the parts of a record that a fold needs, which costs much less than decoding the whole record.

It handles only JSON as Kafka Connect writes it, with or without a schema. For any unusual record it answers that the
record must be decoded as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple, TypeAlias

import msgspec

from consumer.errors import RecordError
from consumer.events.codec import SCHEMA_FIRST
from consumer.events.envelope import scope_of
from consumer.events.event import PLACEHOLDER, Operation, RowImage, TableSchema
from consumer.events.position import SourcePosition, from_source
from consumer.events.topic_tables import is_consumed
from consumer.events.value import Kind, of_column
from consumer.mapping.rules import LinkedTable, UserTable

_OPERATIONS = {each.value: each for each in (Operation.CREATE, Operation.UPDATE, Operation.DELETE, Operation.READ)}
_ABSENT = msgspec.UNSET
_NO_SCHEMA: TableSchema = {}

Decode: TypeAlias = Callable[[bytes], Any]


class Seen(NamedTuple):
    """The parts that a fold needs: the user, the operation, the log position, the changed fields, and the row's
    images before and after.
    """

    user: str
    op: Operation
    position: SourcePosition
    changed: Collection[str] = ()
    is_whole: bool = True
    images: tuple[RowImage | None, RowImage | None] = (None, None)


class PartialDecoder:
    """Decodes records of one user table, of these databases; an empty set: of all databases."""

    def __init__(
        self, table: UserTable, databases: frozenset[str] = frozenset(), placeholder: str = PLACEHOLDER
    ) -> None:
        self._table = table
        self._databases = databases
        self._placeholder = placeholder.encode()
        self._prefix = f"{table.user_type}:"
        self._plain, self._wrapped = _decoders(dict[str, Any])

    def __call__(self, value: bytes) -> Seen | None:
        """The parts that a fold needs, or None if the record must be decoded as a whole."""
        is_wrapped = value.startswith(SCHEMA_FIRST)
        if self._placeholder in value:
            return None
        try:
            envelope = self._wrapped(value).payload if is_wrapped else self._plain(value)
            op = _OPERATIONS.get(envelope.op)
            row = envelope.before if op is Operation.DELETE else envelope.after
            if op is None or row is None or envelope.source.get("table") != self._table.table:
                return None
            if self._databases:
                database = envelope.source.get(scope_of(envelope.source.get("connector")))
                if not isinstance(database, str) or not is_consumed(self._databases, database):
                    return None
            number = row.get(self._table.key)
            if type(number) is not int or number < 0:
                return None
            position = from_source(envelope.source, envelope.transaction)
            changed: Collection[str] = ()
            if op is Operation.UPDATE and envelope.before != row:
                if is_wrapped:
                    return None  # comparing the values may need the schema
                changed = self._changed(envelope.before, row)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RecordError):
            return None  # decoding the whole record reports the problem
        return Seen(f"{self._prefix}{number}", op, position, changed, images=(envelope.before, envelope.after))

    def _changed(self, before: RowImage | None, after: RowImage) -> list[str]:
        changed = []
        old_values = before or {}
        for column in self._table.columns:
            old, new = old_values.get(column.name, _ABSENT), after.get(column.name, _ABSENT)
            if new == old or new is _ABSENT:
                continue
            # In one record equal amounts have equal text, except for zeros at the end; and texts may be padded.
            if type(old) is type(new) is str and len(old) == len(new) and column.kind in (Kind.MONEY, Kind.TEXT):
                changed.append(column.field)
                continue
            new_text = of_column(new, column.name, column.kind, column.scale, _NO_SCHEMA)
            if old is _ABSENT or of_column(old, column.name, column.kind, column.scale, _NO_SCHEMA) != new_text:
                changed.append(column.field)
        return changed


class LinkedPartialDecoder:
    """Checks whether records of one linked table may have made a row done."""

    def __init__(self, table: LinkedTable) -> None:
        self._done = table.done
        self._plain, self._wrapped = _decoders(
            msgspec.defstruct("LinkedRow", [("status", Any, _ABSENT)], rename={"status": table.status}, gc=False)
        )

    def __call__(self, value: bytes) -> bool:
        """Whether the row may have become done; False is certain."""
        try:
            envelope = self._wrapped(value).payload if value.startswith(SCHEMA_FIRST) else self._plain(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return True  # decoding the whole record reports the problem
        after, before = envelope.after, envelope.before
        if after is None or not isinstance(after.status, str) or envelope.op not in _OPERATIONS:
            return True
        was_done = before is not None and isinstance(before.status, str) and before.status.rstrip(" ") in self._done
        return after.status.rstrip(" ") in self._done and not was_done


def _decoders(row: Any) -> tuple[Decode, Decode]:
    envelope = msgspec.defstruct(
        "Envelope",
        [
            ("op", str),
            ("source", dict[str, Any]),
            ("before", row | None, None),
            ("after", row | None, None),
            ("transaction", dict[str, Any] | None, None),
        ],
        gc=False,
    )
    wrapper = msgspec.defstruct("WithSchema", [("schema", msgspec.Raw), ("payload", envelope)], gc=False)
    return msgspec.json.Decoder(envelope).decode, msgspec.json.Decoder(wrapper).decode
