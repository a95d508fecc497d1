"""A record as it may be shown: values of columns that the mapping names; all other values are hidden.

User tables contain passwords and addresses, and a record that can't be decoded may contain anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any, TypeGuard

from consumer.errors import RecordError
from consumer.events.avro import Schemas
from consumer.events.codec import decode
from consumer.events.record import Header, SourceRecord
from consumer.mapping.rules import Rules
from consumer.mapping.visible import visible_columns

REDACTED = "***"
_HASH_DIGITS = 16
# The position of the change in the database's log. A source block may contain more, such as the SQL statement.
_SOURCE = (
    *("connector", "name", "db", "schema", "table", "snapshot", "ts_ms", "sequence", "server_id"),
    *("gtid", "file", "pos", "row", "lsn", "txId"),
)


def digest(data: bytes | None) -> str:
    """Bytes with unknown content: their length, and a hash to compare them."""
    return "null" if data is None else f"{len(data)} bytes, sha256 {sha256(data).hexdigest()[:_HASH_DIGITS]}"


def visible(record: SourceRecord, tables: Collection[str], rules: Rules, schemas: Schemas) -> Mapping[str, object]:
    """Key, value and headers of ``record``, with hidden values. ``tables``: used if the record names no table.

    Raises:
        ServerError: from ``schemas``.
    """
    value, problem = _decoded(record.value, schemas)
    if _is_envelope(value):
        source = value.get("source")
        name = source.get("table") if isinstance(source, dict) else None
        tables = (name,) if isinstance(name, str) else tables
    names = _names_of_all(rules, tables)
    key, _ = _decoded(record.key, schemas)
    return {
        "key": _row(key, names) if isinstance(key, dict) and names else digest(record.key),
        "value": _envelope(value, names) if _is_envelope(value) and names else digest(record.value),
        "value_problem": problem,
        "headers": _headers(record.headers),
    }


def _headers(found: Sequence[Header]) -> Mapping[str, str]:
    """Headers are shown as a hash, because the connector or a transform may write any value there."""
    return {name: digest(value) for name, value in found}


def _decoded(data: bytes | None, schemas: Schemas) -> tuple[object, str]:
    """The decoded value and "", or None and the problem."""
    if data is None:
        return None, ""
    try:
        return decode(data, schemas).payload, ""
    except RecordError as error:
        return None, error.problem


def _is_envelope(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, dict) and "op" in value and not value.keys().isdisjoint(("before", "after", "source"))


def _names_of_all(rules: Rules, tables: Collection[str]) -> frozenset[str]:
    """The columns that may be shown in all of ``tables``: a column that one of them hides is hidden."""
    found = [visible_columns(rules, table) for table in tables]
    return frozenset.intersection(*found) if found else frozenset()


def _envelope(value: Mapping[str, Any], names: frozenset[str]) -> Mapping[str, object]:
    shown: dict[str, object] = {}
    for name, part in value.items():
        if name in ("before", "after"):
            shown[name] = _row(part, names) if isinstance(part, dict) else _scalar(part)
        elif name == "source" and isinstance(part, dict):
            shown[name] = {each: _scalar(part[each]) for each in _SOURCE if each in part}
        elif name in ("op", "ts_ms"):
            shown[name] = _scalar(part)
        elif name == "transaction" and isinstance(part, dict):
            shown[name] = {each: _scalar(part[each]) for each in ("id", "total_order") if each in part}
    return shown


def _row(row: Mapping[object, object], names: frozenset[str]) -> Mapping[str, object]:
    return {str(name): _scalar(value) if name in names else REDACTED for name, value in row.items()}


def _scalar(value: object) -> object:
    """A value of a simple type; nested values may contain anything and are hidden."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value) if isinstance(value, Decimal) else REDACTED
