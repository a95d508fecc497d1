"""Bytes to envelopes: what Kafka Connect writes, and what is not that."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from consumer.errors import NotAnEnvelope, RecordError, Undecodable, Unsupported
from consumer.events.avro import NO_SCHEMAS, KnownSchemas
from consumer.events.codec import decode
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent, Ignored, Tombstone
from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.planning.decision import Outcome, decide
from tests.support.scenario import load_all
from tests.unit.events.test_avro import encoded

DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0].record(7)


def _record(value: object) -> SourceRecord:
    return structs.replace(DEPOSIT, value=value if isinstance(value, bytes | None) else json.dumps(value).encode())


def _envelope(**changes: object) -> dict[str, object]:
    assert DEPOSIT.value is not None
    return {**json.loads(DEPOSIT.value), **changes}


def test_an_envelope_with_its_schema_decides_the_same() -> None:
    row = [{"type": "string", "optional": True, "field": "wallet_balance"}]
    schema = {"type": "struct", "fields": [{"type": "struct", "fields": row, "optional": True, "field": "after"}]}
    wrapped = decide(_record({"schema": schema, "payload": _envelope()}), reference())
    assert wrapped.plan == decide(DEPOSIT, reference()).plan
    assert wrapped.plan is not None


def test_a_precise_decimal_is_read_with_the_schemas_scale() -> None:
    parameters = {"scale": "6", "connect.decimal.precision": "18"}
    column = {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": parameters}
    row = [column | {"field": "wallet_balance"}]
    schema = {"type": "struct", "fields": [{"type": "struct", "fields": row, "field": "after"}]}
    envelope = _envelope()
    before, after = envelope["before"], envelope["after"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    before["wallet_balance"], after["wallet_balance"] = "AA==", "Bf2CIA=="
    plan = decide(_record({"schema": schema, "payload": envelope}), reference()).plan
    assert plan is not None
    assert plan.balance is not None
    assert plan.balance.value == "100.50"


@pytest.mark.parametrize("spelling", ['{"schema":%s,"payload":%s}', '{ "schema": %s, "payload": %s }', "%s%s"])
def test_the_schema_is_found_however_it_is_spelled(spelling: str) -> None:
    column = {"field": "created_at", "type": "int64", "name": "io.debezium.time.MicroTimestamp"}
    schema, payload = json.dumps({"fields": [{"field": "after", "fields": [column]}]}), json.dumps({"after": {}})
    text = spelling % (schema, payload) if "{" in spelling else f'{{"payload":{payload},"schema":{schema}}}'
    for _ in range(2):
        found = decode(text.encode(), NO_SCHEMAS)
        assert found.payload == {"after": {}}
        assert found.columns["created_at"].name == "io.debezium.time.MicroTimestamp"


def test_schemas_of_one_length_are_told_apart() -> None:
    for name in ("a.MicroTimestamp", "b.MicroTimestamp", "a.MicroTimestamp"):
        fields = [{"field": "t", "name": name}, {"field": "x" * 100, "name": ""}]
        assert (
            decode(json.dumps({"schema": {"fields": fields}, "payload": 1}).encode(), NO_SCHEMAS).columns["t"].name
            == name
        )


def test_a_row_with_a_column_named_schema_is_no_schema() -> None:
    with pytest.raises(NotAnEnvelope):
        parse(_record({"schema": "public", "id": 1}))


def test_a_tombstone_is_not_a_delete() -> None:
    assert isinstance(parse(_record(None)), Tombstone)


@pytest.mark.parametrize(
    "value",
    [
        {"ts_ms": 1},
        {"status": "BEGIN", "id": "uuid:7", "event_count": None, "data_collections": None, "ts_ms": 1},
        {"source": {}, "databaseName": "trading", "ddl": "ALTER TABLE x", "tableChanges": []},
        {"op": "m", "message": {"prefix": "p", "content": ""}, "source": {}},
    ],
)
def test_debeziums_other_records_are_ignored(value: object) -> None:
    assert isinstance(parse(_record(value)), Ignored)


@pytest.mark.parametrize(
    ("value", "kind", "field"),
    [
        (b"", Undecodable, ""),
        (b"\x00\x01\x02", Undecodable, ""),
        (b'{"op": "u"', Undecodable, ""),
        (b"[1]", NotAnEnvelope, ""),
        ({"id": 1, "wallet_balance": "1.00"}, NotAnEnvelope, "op"),
        ({"id": 1, "wallet_balance": "1.00", "__op": "u", "__deleted": "false"}, NotAnEnvelope, "op"),
        # A flattened row with columns of these names.
        ({"id": 1, "op": "buy"}, NotAnEnvelope, "op"),
        ({"id": 1, "op": "u", "ts_ms": 5}, NotAnEnvelope, "op"),
        ({"id": 1, "ddl": "x", "__op": "c"}, NotAnEnvelope, "op"),
        (_envelope(op="x"), NotAnEnvelope, "op"),
        (_envelope(op=["u"]), NotAnEnvelope, "op"),
        (_envelope(op="t"), Unsupported, "op"),
        (_envelope(source=None), NotAnEnvelope, "source"),
        (_envelope(source={"connector": "mysql"}), NotAnEnvelope, "source.table"),
        (_envelope(source={"connector": "oracle", "table": "live_users"}), NotAnEnvelope, "source.connector"),
        (_envelope(after=None), NotAnEnvelope, "after"),
        (_envelope(before=[1]), NotAnEnvelope, "before"),
    ],
)
def test_what_is_no_envelope_says_where_and_which_field(value: object, kind: type[RecordError], field: str) -> None:
    with pytest.raises(kind) as refusal:
        parse(_record(value))
    assert refusal.value.field == field
    assert str(refusal.value).startswith("trading.trading.live_users[0]@7: ")


@pytest.mark.parametrize("row", [{"id": 1}, {"id": 1, "op": "u"}, {"id": 1, "__op": "u", "ddl": ""}])
@pytest.mark.parametrize("is_avro", [False, True])
def test_a_flattened_row_says_that_the_old_image_is_gone(row: dict[str, object], is_avro: bool) -> None:
    value, schemas = json.dumps(row).encode(), NO_SCHEMAS
    if is_avro:
        fields = [{"name": name, "type": ["null", "string" if name != "id" else "int"]} for name in row]
        schema = {"type": "record", "name": "Value", "fields": fields}
        value, schemas = encoded(row, schema, 3), KnownSchemas({3: json.dumps(schema)})
    with pytest.raises(NotAnEnvelope) as refusal:
        parse(_record(value), schemas)
    assert "ExtractNewRecordState" in refusal.value.advice


@given(
    st.dictionaries(
        st.text(max_size=10),
        st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.text(),
    ),
    st.booleans(),
)
def test_json_is_read_as_it_was_written(row: dict[str, object], is_wrapped: bool) -> None:
    payload = {"before": None, "after": row}
    schema = {"type": "struct", "fields": [{"field": "after", "fields": [{"field": "x", "name": "y"}]}]}
    data = json.dumps({"schema": schema, "payload": payload} if is_wrapped else payload).encode()
    assert decode(data, NO_SCHEMAS).payload == payload


@pytest.mark.parametrize(
    "schema",
    [None, 7, [], {"fields": None}, {"fields": [7]}, {"fields": [{"field": "after", "fields": 7}]}]
    + [
        {"fields": [{"field": "a", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": scale}}]}
        for scale in ("", "x", "9" * 5000, 7)
    ],
)
def test_a_schema_that_connect_did_not_write_says_nothing(schema: object) -> None:
    found = decode(json.dumps({"schema": schema, "payload": {"a": 1}}).encode(), NO_SCHEMAS)
    assert found.payload == {"a": 1}
    assert all(column.scale is None for column in found.columns.values())


def test_an_update_without_the_old_image_says_what_to_set() -> None:
    decision = decide(_record(_envelope(before=None)), reference())
    assert decision.outcome is Outcome.REJECTED
    assert decision.error is not None
    assert "REPLICA IDENTITY FULL" in decision.error.advice


def test_an_update_without_the_old_image_may_be_accepted_as_a_change_of_everything() -> None:
    rules = replace(reference(), accept_missing_before=True)
    plan = decide(_record(_envelope(before=None)), rules).plan
    assert plan is not None
    assert plan.config is not None
    owned = {column.field for column in rules.tables[0].columns} & _envelope()["after"].keys()  # type: ignore[attr-defined]
    assert owned <= plan.config.changed.keys()
    assert {message.channel for message in plan.messages} >= {"user_updates", "balance_updates", "group_updates"}
    assert all('"old_group":null' in message.body for message in plan.messages)


@pytest.mark.parametrize(
    ("transaction", "source", "expected"),
    [
        ({"id": "771:2200"}, {}, "771"),
        (None, {"txId": 771}, "771"),
        (None, {"txId": 771, "snapshot": "true"}, None),
        (None, {"txId": None}, None),
    ],
)
def test_a_transaction_of_postgresql_is_known_by_its_number(
    transaction: object, source: dict[str, object], expected: str | None
) -> None:
    place = {"connector": "postgresql", "table": "live_users", "sequence": '["9","10"]', "ts_ms": 1}
    event = parse(_record(_envelope(transaction=transaction, source=place | source)))
    assert isinstance(event, ChangeEvent)
    assert event.transaction_id == expected


def test_an_unknown_table_is_named() -> None:
    source = _envelope()["source"]
    assert isinstance(source, dict)
    decision = decide(_record(_envelope(source=source | {"table": "invoices"})), reference())
    assert decision.outcome is Outcome.REJECTED
    assert "'invoices'" in decision.reason


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.text(),
        lambda each: st.dictionaries(
            st.sampled_from(["op", "source", "after", "before", "schema", "payload", "table"]), each
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_bytes_raise_anything_else(value: bytes) -> None:
    assert decide(_record(value), reference()).outcome in Outcome


def test_an_error_repeats_no_value() -> None:
    event = parse(DEPOSIT)
    assert isinstance(event, ChangeEvent)
    for column in ("wallet_balance", "status", "group"):
        envelope = _envelope()
        after = envelope["after"]
        assert isinstance(after, dict)
        after[column] = {"secret": "hunter2"}
        assert "hunter2" not in decide(_record(envelope), reference()).reason


def test_a_change_whose_transaction_is_not_known_is_planned_all_the_same() -> None:
    """MySQL without GTIDs, and no transaction metadata: nothing joins it to others."""
    source = {**json.loads(DEPOSIT.value or b"")["source"], "gtid": None}
    decision = decide(_record(_envelope(transaction=None, source=source)), reference())
    assert decision.plan is not None
    assert [json.loads(each.body)["database_transaction_id"] for each in decision.plan.messages] == [None, None]
