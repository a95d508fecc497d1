"""A source record: the bytes of one Kafka record and its place; and its form in a recording.

A recording is JSON lines, one record a line: ``topic``, ``partition``, ``offset``, ``timestamp_ms``,
``key`` and ``value`` (base64 of the bytes, or null), ``headers`` (list of name and base64, or null). ``kcat -J``
prints another form: it has ``payload`` and ``ts``, and key and payload are text. This module reads both forms.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from typing import Any, NamedTuple, Self, TypeAlias, TypeVar

import msgspec

from consumer.errors import DECODE_ERRORS, Place, Undecodable

Header: TypeAlias = tuple[str, bytes | None]

_T = TypeVar("_T")


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int

    @classmethod
    def of(cls, record: SourceRecord) -> Self:
        """The partition of ``record``."""
        return cls(record.topic, record.partition)


def first_partitions(partitions: Sequence[Partition], most: int) -> str:
    """The first ``most`` partitions for a text, and how many more there are."""
    names = ", ".join(f"{part.topic}[{part.number}]" for part in partitions[:most])
    return f"{names} and {len(partitions) - most} more" if len(partitions) > most else names


class SourceRecord(msgspec.Struct, frozen=True, gc=False):
    """One Kafka record. ``timestamp_ms``: the timestamp from the broker or the producer, UTC milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()

    @property
    def place(self) -> Place:
        """Topic, partition and offset, for errors and logs."""
        return Place(self.topic, self.partition, self.offset)


def to_line(record: SourceRecord) -> str:
    """The record as one line of a recording, without the line break."""
    return msgspec.json.encode(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "key": _text(record.key),
            "value": _text(record.value),
            "headers": [[name, _text(value)] for name, value in record.headers],
        }
    ).decode()


def from_line(line: str | bytes) -> SourceRecord:
    """Parse one line of a recording, or of ``kcat -J``.

    Raises:
        Undecodable: the error names the faulty field.

    """
    try:
        row = msgspec.json.decode(line)
    except DECODE_ERRORS:
        raise Undecodable("not a line of a recording: no JSON") from None
    if not isinstance(row, dict):
        raise Undecodable("not a line of a recording: no JSON object")
    if "payload" in row or "ts" in row:
        return _from_kcat(row)
    return SourceRecord(
        topic=_field(row, "topic", str),
        partition=_number(row, "partition"),
        offset=_number(row, "offset"),
        timestamp_ms=_field(row, "timestamp_ms", int),
        key=_bytes(row.get("key"), "key"),
        value=_bytes(_given(row, "value"), "value"),
        headers=tuple(_header(pair) for pair in _headers(row)),
    )


def _from_kcat(row: dict[str, Any]) -> SourceRecord:
    headers = _headers(row)
    pairs = zip(headers[::2], headers[1::2], strict=False)
    return SourceRecord(
        topic=_field(row, "topic", str),
        partition=_number(row, "partition"),
        offset=_number(row, "offset"),
        timestamp_ms=_field(row, "ts", int),
        key=_utf8(row.get("key"), "key"),
        value=_utf8(_given(row, "payload"), "payload"),
        headers=tuple((str(name), _utf8(value, "headers")) for name, value in pairs),
    )


def _headers(row: dict[str, Any]) -> list[Any]:
    headers = row.get("headers") or []
    if not isinstance(headers, list):
        raise Undecodable("should be a list", field="headers")
    return headers


def _field(row: dict[str, Any], name: str, kind: type[_T]) -> _T:
    value = row.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Undecodable(f"should be {kind.__name__}", field=name)
    return value


def _given(row: dict[str, Any], name: str) -> object:
    """A member that may be null: a tombstone, which deletes. A misspelt name must not become one."""
    if name not in row:
        raise Undecodable("missing (null for a tombstone)", field=name)
    return row[name]


def _number(row: dict[str, Any], name: str) -> int:
    """A partition or an offset."""
    if (number := _field(row, name, int)) < 0:
        raise Undecodable("should be 0 or more", field=name)
    return number


def _header(pair: object) -> Header:
    if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
        raise Undecodable("should be a list of [name, base64]", field="headers")
    return pair[0], _bytes(pair[1], f"headers.{pair[0]}")


def _text(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def _bytes(value: object, field: str) -> bytes | None:
    if value is None:
        return None
    try:
        return b64decode(value, validate=True) if isinstance(value, str) else _refuse(field)
    except (Base64Error, ValueError):
        return _refuse(field)


def _utf8(value: object, field: str) -> bytes | None:
    if value is None or isinstance(value, str):
        return None if value is None else value.encode()
    return _refuse(field)


def _refuse(field: str) -> bytes:
    raise Undecodable("should be base64 text or null", field=field)
