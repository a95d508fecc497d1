"""What Debezium is told, and what it tells; the notifications are as Debezium 3.5 wrote them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumer.commands.snapshot.request import (
    Kind,
    Scan,
    SnapshotProgress,
    condition_of,
    execute,
    notification,
    stop,
    told_json,
    told_text,
)
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference

TABLE = "trading.live_users"


def told(kind: str, number: str = "one", aggregate: str = "Incremental Snapshot", **data: str) -> bytes:
    value: dict[str, Any] = {
        "id": number,
        "type": kind,
        "aggregate_type": aggregate,
        "additional_data": {"connector_name": "t", **data},
        "timestamp": 1795453981607,
    }
    return json.dumps(value).encode()


def scanned(status: str = "SUCCEEDED", table: str = TABLE, number: str = "one") -> bytes:
    data = {"scanned_collection": table, "total_rows_scanned": "60", "status": status}
    return told("TABLE_SCAN_COMPLETED", number, **data)


def course(*values: bytes, tables: tuple[str, ...] = (TABLE,)) -> SnapshotProgress:
    found = SnapshotProgress("one", tables)
    for value in values:
        said = notification(value)
        assert said is not None
        found.take(said)
    return found


def test_a_signal_for_whole_tables() -> None:
    assert json.loads(execute("one", [Scan(TABLE), Scan("trading.demo_users")])) == {
        "id": "one",
        "type": "execute-snapshot",
        "data": {"type": "INCREMENTAL", "data-collections": [TABLE, "trading.demo_users"]},
    }


def test_a_signal_for_some_users() -> None:
    table = reference().table("live_users")
    assert table is not None
    condition = condition_of(table, [UserId("live", 4), UserId("live", 5)])
    assert json.loads(execute("one", [Scan(TABLE, condition)]))["data"]["additional-conditions"] == [
        {"data-collection": TABLE, "filter": "id IN (4, 5)"}
    ]
    assert Scan(TABLE).table == "live_users"


@pytest.mark.parametrize(
    ("tables", "data"),
    [((), {"type": "INCREMENTAL"}), ((TABLE,), {"type": "INCREMENTAL", "data-collections": [TABLE]})],
)
def test_a_signal_to_stop(tables: tuple[str, ...], data: dict[str, object]) -> None:
    assert json.loads(stop("two", tables)) == {"id": "two", "type": "stop-snapshot", "data": data}


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"{}",
        told("STARTED", aggregate="Initial Snapshot"),
        told("SOMETHING"),
        b'{"id":1,"type":"STARTED","aggregate_type":"Incremental Snapshot"}',
    ],
)
def test_what_is_about_something_else(value: bytes | None) -> None:
    assert notification(value) is None


def test_progress_is_told() -> None:
    data = {"current_collection_in_progress": TABLE, "maximum_key": "60", "last_processed_key": "20"}
    found = notification(told("IN_PROGRESS", **data))
    assert found is not None
    assert (found.kind, found.collection, found.key, found.last_key) == (Kind.IN_PROGRESS, TABLE, "20", "60")
    assert told_text(found) == f"{TABLE}: key 20 of 60"
    assert json.loads(told_json(found))["key"] == "20"


def test_what_was_read_is_told() -> None:
    found = notification(scanned())
    assert found is not None
    assert told_text(found) == f"{TABLE}: SUCCEEDED, 60 rows"
    assert json.loads(told_json(found)) == {
        "event": "table_scan_completed",
        "table": TABLE,
        "status": "SUCCEEDED",
        "rows": 60,
        "key": None,
        "last_key": None,
    }


def test_a_snapshot_that_was_read_whole() -> None:
    found = course(told("STARTED"), scanned(), told("COMPLETED"))
    assert found.is_over
    assert found.unread() == {}
    assert course(told("STARTED"), scanned("EMPTY"), told("COMPLETED")).unread() == {}


@pytest.mark.parametrize(
    ("status", "beginning"),
    [
        ("SQL_EXCEPTION", "SQL_EXCEPTION: the database refused"),
        ("UNKNOWN_SCHEMA", "UNKNOWN_SCHEMA: the connector"),
        ("SKIPPED", "SKIPPED"),
    ],
)
def test_completed_does_not_mean_read(status: str, beginning: str) -> None:
    found = course(told("STARTED"), scanned(status), told("COMPLETED"))
    assert found.is_over
    assert found.unread()[TABLE].startswith(beginning)


@pytest.mark.parametrize("end", ["COMPLETED", "ABORTED"])
def test_one_that_ends_without_a_table_was_stopped(end: str) -> None:
    found = course(told("STARTED"), scanned(table="trading.other"), told(end))
    assert found.is_over
    assert found.unread() == {TABLE: "stopped before its end"}


def test_what_another_snapshot_tells_is_not_ours_until_ours_has_begun() -> None:
    found = course(told("STARTED", "zero"), scanned("SQL_EXCEPTION", number="zero"), told("COMPLETED", "zero"))
    assert (found.has_begun, found.is_over, found.scanned) == (False, False, {})


def test_one_that_was_added_to_ends_under_the_id_of_the_later_signal() -> None:
    found = course(told("STARTED"), scanned(number="two"), told("COMPLETED", "two"))
    assert found.is_over
    assert found.unread() == {}
