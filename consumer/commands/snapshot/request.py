"""Debezium's signals and notifications for incremental snapshots.

Debezium runs one incremental snapshot at a time. Tables that are requested meanwhile are added to it. From then on all
notifications have the id of the later signal.
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
    """A table to read, with Debezium's name ``<db or schema>.<table>``. ``condition``: SQL; "" for all rows."""

    collection: str
    condition: str = ""

    @property
    def table(self) -> str:
        """The table's name without database or schema."""
        return self.collection.rpartition(".")[2]


def condition_of(table: UserTable, users: Iterable[UserId]) -> str:
    """The SQL condition for the rows of these users."""
    return f"{table.key} IN ({', '.join(str(user.id) for user in users)})"


def execute(number: str, scans: Sequence[Scan]) -> bytes:
    """The signal that starts an incremental snapshot; notifications contain ``number``."""
    data: dict[str, object] = {"type": "INCREMENTAL", "data-collections": [scan.collection for scan in scans]}
    if conditions := [
        {"data-collection": scan.collection, "filter": scan.condition} for scan in scans if scan.condition
    ]:
        data["additional-conditions"] = conditions
    return msgspec.json.encode({"id": number, "type": "execute-snapshot", "data": data})


def stop(number: str, collections: Sequence[str]) -> bytes:
    """The signal that removes tables from the running snapshot; without tables it stops the snapshot."""
    data: dict[str, object] = {"type": "INCREMENTAL"}
    if collections:
        data["data-collections"] = list(collections)
    return msgspec.json.encode({"id": number, "type": "stop-snapshot", "data": data})


class Kind(StrEnum):
    """The type of a notification."""

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
    """A notification about an incremental snapshot. Missing values are "".

    ``status``: SUCCEEDED, EMPTY, SQL_EXCEPTION, UNKNOWN_SCHEMA, NO_PRIMARY_KEY, SKIPPED or STOPPED. ``rows``:
    Debezium's count, which may include rows of an earlier snapshot that failed.
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
        """Whether the table of the notification was read to its end."""
        return self.status in ("SUCCEEDED", "EMPTY")


_decoder = msgspec.json.Decoder(_Message)


def notification(value: bytes | None) -> Notification | None:
    """Parse a record of the notification topic; None if it is not about an incremental snapshot."""
    try:
        message = _decoder.decode(value or b"")
        if message.aggregate_type != "Incremental Snapshot":
            return None
        kind = Kind(message.type)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    found = message.additional_data or _Details()
    return Notification(
        message.id,
        kind,
        found.scanned_collection or found.current_collection_in_progress,
        found.status,
        found.total_rows_scanned,
        found.last_processed_key,
        found.maximum_key,
    )


@dataclass(slots=True)
class SnapshotProgress:
    """One snapshot, from its notifications. Its end does not show whether tables were read; ``scanned`` does."""

    number: str
    collections: tuple[str, ...]
    has_begun: bool = False
    is_over: bool = False
    scanned: dict[str, Notification] = field(default_factory=dict)

    def take(self, received: Notification) -> bool:
        """Add a notification; answers whether it is of this snapshot. After the start all notifications are."""
        if not self.has_begun and received.number != self.number:
            return False
        self.has_begun = True
        if received.kind is Kind.SCANNED and received.collection in self.collections:
            self.scanned[received.collection] = received
        self.is_over = received.kind in (Kind.COMPLETED, Kind.ABORTED)
        return True

    def unread(self) -> dict[str, str]:
        """The tables that were not read to their end, each with the reason."""
        found = {name: self.scanned.get(name) for name in self.collections}
        return {
            name: _MEANINGS.get(last.status, last.status) if last else "stopped before its end"
            for name, last in found.items()
            if last is None or not last.is_read
        }


_MEANINGS = {
    "SQL_EXCEPTION": "SQL_EXCEPTION: the database refused the query; check the condition, then Connect's log",
    "UNKNOWN_SCHEMA": "UNKNOWN_SCHEMA: the connector does not capture a table of this name",
    "NO_PRIMARY_KEY": "NO_PRIMARY_KEY: a table without a primary key can't be read in pieces",
}


def told_text(received: Notification) -> str:
    """A notification as one line of text."""
    if received.kind is Kind.IN_PROGRESS:
        return f"{received.collection}: key {received.key} of {received.last_key}"
    if received.kind is Kind.SCANNED:
        return f"{received.collection}: {received.status}, {received.rows} rows"
    return received.kind.lower()


def told_json(received: Notification) -> str:
    """A notification as a JSON object on one line."""
    return msgspec.json.encode(
        {
            "event": received.kind.lower(),
            "table": received.collection or None,
            "status": received.status or None,
            "rows": int(received.rows) if received.rows.isdecimal() else None,
            "key": received.key or None,
            "last_key": received.last_key or None,
        }
    ).decode()
