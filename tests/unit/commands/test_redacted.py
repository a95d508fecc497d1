"""What is shown of a record that may hold anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs

from consumer.commands.shared.dead_letters.redacted import REDACTED, digest, visible
from consumer.events.avro import NO_SCHEMAS
from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from tests.support.scenario import load_all

SECRET = "hunter2"
DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0].record(7)


def shown(record: SourceRecord) -> Mapping[str, Any]:
    found = visible(record, ("live_users",), reference(), NO_SCHEMAS)
    assert SECRET not in json.dumps(found)
    return found


def changed(**parts: object) -> SourceRecord:
    """The deposit with parts of its envelope set."""
    return structs.replace(DEPOSIT, value=json.dumps({**json.loads(DEPOSIT.value or b""), **parts}).encode())


def row(**columns: object) -> dict[str, object]:
    envelope = json.loads(DEPOSIT.value or b"")
    return {**envelope["after"], **columns}


def test_owned_columns_are_shown_and_all_others_hidden() -> None:
    found = shown(changed(after=row(password=SECRET, email=SECRET, view_password=None, wallet_balance="7.5")))
    after = found["value"]["after"]
    assert (after["wallet_balance"], after["id"]) == ("7.5", 123)
    assert (after["password"], after["email"], after["view_password"]) == (REDACTED,) * 3
    assert found["value"]["op"] == "u"
    assert found["value_problem"] == ""
    assert found["key"] == {"id": 123}


def test_an_owned_column_that_holds_more_than_a_value_is_hidden() -> None:
    assert shown(changed(after=row(wallet_balance={"a": SECRET})))["value"]["after"]["wallet_balance"] == REDACTED
    assert shown(changed(after=row(wallet_balance=[SECRET])))["value"]["after"]["wallet_balance"] == REDACTED


def test_of_the_source_only_where_it_stood_is_shown() -> None:
    source = {**json.loads(DEPOSIT.value or b"")["source"], "query": SECRET, "file": "binlog.000007"}
    found = shown(changed(source=source, more=SECRET, transaction={"id": "a:1", "more": SECRET}))
    assert found["value"]["source"]["file"] == "binlog.000007"
    assert found["value"]["transaction"] == {"id": "a:1"}
    assert "more" not in found["value"]


def test_a_linked_row_shows_what_the_mapping_reads() -> None:
    source = {**json.loads(DEPOSIT.value or b"")["source"], "table": "user_transactions"}
    after = {"id": 1, "user_id": 5, "status": "completed", "transaction_id": "T1", "metadata": SECRET}
    found = shown(changed(source=source, before=None, after=after))
    assert found["value"]["before"] is None
    assert found["value"]["after"] == {**after, "metadata": REDACTED}


@pytest.mark.parametrize(
    "value",
    [
        b"\x07hunter2",
        b'"hunter2"',
        b'["hunter2"]',
        b'{"hunter2": 1}',
        b'{"id": 1, "password": "hunter2"}',
        b'{"op": "u", "hunter2": "hunter2"}',
        b"",
        b"\x00\x00\x00\x00\x01hunter2",
    ],
)
def test_what_is_no_change_event_is_only_a_length_and_a_hash(value: bytes) -> None:
    found = shown(structs.replace(DEPOSIT, value=value))
    assert found["value"] == digest(value)
    assert found["value"].startswith(f"{len(value)} bytes, sha256 ")


def test_a_table_that_no_rule_names_is_only_a_length_and_a_hash() -> None:
    record = changed(source={"table": "secrets"}, after={"id": SECRET})
    assert shown(record)["value"] == digest(record.value)


def test_keys_and_headers_that_may_hold_anything_are_not_shown() -> None:
    found = shown(structs.replace(DEPOSIT, key=b"hunter2", headers=(("trace", b"hunter2"), ("no", None))))
    assert found["key"] == digest(b"hunter2")
    assert found["headers"] == {"trace": digest(b"hunter2"), "no": "null"}
    assert shown(structs.replace(DEPOSIT, key=b'{"id":1,"name":"hunter2"}'))["key"] == {"id": 1, "name": REDACTED}
    assert shown(structs.replace(DEPOSIT, key=None, value=None))["value"] == "null"
