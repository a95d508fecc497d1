"""What Debezium is told over its signal topic, and what it tells of an incremental snapshot in its notifications.

Debezium has one incremental snapshot at a time. What is asked for while one runs is added to it, and from then on all
notifications carry the id of the later signal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from consumer.mapping.keys import UserId
from consumer.mapping.rules import UserTable


@dataclass(frozen=True, slots=True)
class Scan:
    """A table to read, as Debezium names it: ``<db or schema>.<table>``; ``condition`` is SQL, "" for all rows."""

    collection: str
    condition: str = ""

    @property
    def table(self) -> str:
        """The table's own name."""
        return self.collection.rpartition(".")[2]


def condition_of(table: UserTable, users: Iterable[UserId]) -> str:
    """The rows of these users."""
    return f"{table.key} IN ({', '.join(str(user.id) for user in users)})"


def execute(number: str, scans: Sequence[Scan]) -> bytes:
    """The signal that asks for an incremental snapshot; ``number`` comes back in what is told of it."""
    data: dict[str, object] = {"type": "INCREMENTAL", "data-collections": [scan.collection for scan in scans]}
    if conditions := [
        {"data-collection": scan.collection, "filter": scan.condition} for scan in scans if scan.condition
    ]:
        data["additional-conditions"] = conditions
    return msgspec.json.encode({"id": number, "type": "execute-snapshot", "data": data})


def stop(number: str, collections: Sequence[str]) -> bytes:
    """The signal that takes tables out of the snapshot that runs; without any: that ends it."""
    data: dict[str, object] = {"type": "INCREMENTAL"}
    if collections:
        data["data-collections"] = list(collections)
    return msgspec.json.encode({"id": number, "type": "stop-snapshot", "data": data})


class Kind(StrEnum):
    """What a notification tells."""

    STARTED = "STARTED"
    IN_PROGRESS = "IN_PROGRESS"
    SCANNED = "TABLE_SCAN_COMPLETED"
    COMPLETED = "COMPLETED"
    ABORTED = "ABORTED"


class _Details(msgspec.Struct):
    scanned_collection: str = ""
    current_collection_in_progress: str = ""
    status: str = ""
    total_rows_scanned: str = ""
    last_processed_key: str = ""
    maximum_key: str = ""


class _Message(msgspec.Struct):
    id: str
    type: str
    aggregate_type: str
    additional_data: _Details | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification of an incremental snapshot. What it does not tell is "".

    ``status`` is SUCCEEDED, EMPTY, SQL_EXCEPTION, UNKNOWN_SCHEMA, NO_PRIMARY_KEY, SKIPPED or STOPPED. ``rows`` is
    Debezium's own count; it may count rows of an earlier snapshot that failed.
    """

    number: str
    kind: Kind
    collection: str = ""
    status: str = ""
    rows: str = ""
    key: str = ""
    last_key: str = ""

    @property
    def is_read(self) -> bool:
        """Whether the table it tells of was read to its end."""
        return self.status in ("SUCCEEDED", "EMPTY")


_decoder = msgspec.json.Decoder(_Message)


def notification(value: bytes | None) -> Notification | None:
    """What a record of the notification topic says of an incremental snapshot; None if it is about something else."""
    try:
        said = _decoder.decode(value or b"")
        if said.aggregate_type != "Incremental Snapshot":
            return None
        kind = Kind(said.type)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return None
    found = said.additional_data or _Details()
    return Notification(
        said.id,
        kind,
        found.scanned_collection or found.current_collection_in_progress,
        found.status,
        found.total_rows_scanned,
        found.last_processed_key,
        found.maximum_key,
    )


@dataclass(slots=True)
class SnapshotProgress:
    """One snapshot as far as it was told of. Its end says nothing of whether the tables were read: ``scanned`` does."""

    number: str
    collections: tuple[str, ...]
    has_begun: bool = False
    is_over: bool = False
    scanned: dict[str, Notification] = field(default_factory=dict)

    def take(self, told: Notification) -> bool:
        """Whether ``told`` is of this snapshot: all is, once it has begun."""
        if not self.has_begun and told.number != self.number:
            return False
        self.has_begun = True
        if told.kind is Kind.SCANNED and told.collection in self.collections:
            self.scanned[told.collection] = told
        self.is_over = told.kind in (Kind.COMPLETED, Kind.ABORTED)
        return True

    def unread(self) -> dict[str, str]:
        """The tables that were not read to their end, and why."""
        found = {name: self.scanned.get(name) for name in self.collections}
        return {
            name: _MEANINGS.get(told.status, told.status) if told else "stopped before its end"
            for name, told in found.items()
            if told is None or not told.is_read
        }


_MEANINGS = {
    "SQL_EXCEPTION": "SQL_EXCEPTION: the database refused the query; look at the condition, then at Connect's log",
    "UNKNOWN_SCHEMA": "UNKNOWN_SCHEMA: the connector does not capture a table of this name",
    "NO_PRIMARY_KEY": "NO_PRIMARY_KEY: a table without a primary key can't be read in pieces",
}


def told_text(told: Notification) -> str:
    """A notification as a line for a person."""
    if told.kind is Kind.IN_PROGRESS:
        return f"{told.collection}: key {told.key} of {told.last_key}"
    if told.kind is Kind.SCANNED:
        return f"{told.collection}: {told.status}, {told.rows} rows"
    return told.kind.lower()


def told_json(told: Notification) -> str:
    """A notification as a JSON object in one line."""
    return msgspec.json.encode(
        {
            "event": told.kind.lower(),
            "table": told.collection or None,
            "status": told.status or None,
            "rows": int(told.rows) if told.rows.isdecimal() else None,
            "key": told.key or None,
            "last_key": told.last_key or None,
        }
    ).decode()
