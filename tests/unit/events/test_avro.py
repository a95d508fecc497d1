"""Avro: schemas as converters write them, exact values, and nothing but Undecodable from garbage."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import Undecodable
from consumer.events.avro import KnownSchemas, decode, read_schema
from consumer.events.event import ColumnSchema
from consumer.events.value import Kind, canonical, money

DECIMAL = {
    "type": "bytes",
    "scale": 6,
    "precision": 18,
    "connect.version": 1,
    "connect.parameters": {"scale": "6", "connect.decimal.precision": "18"},
    "connect.default": "\u0000",
    "connect.name": "org.apache.kafka.connect.data.Decimal",
    "logicalType": "decimal",
}
ROW = {
    "type": "record",
    "name": "Value",
    "fields": [
        {"name": "id", "type": "int"},
        {"name": "wallet_balance", "type": [DECIMAL, "null"], "default": "\u0000"},
        {"name": "group", "type": ["null", "string"], "default": None},
        {
            "name": "created_at",
            "type": ["null", {"type": "long", "connect.version": 1, "connect.name": "io.debezium.time.MicroTimestamp"}],
        },
        {"name": "plain_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["live", "demo"]}},
        {"name": "flag", "type": ["boolean", "null"]},
    ],
}
ENVELOPE = {
    "type": "record",
    "name": "Envelope",
    "namespace": "trading.trading.live_users",
    "fields": [
        {"name": "before", "type": ["null", ROW], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "op", "type": "string"},
    ],
}
SCHEMAS = KnownSchemas({7: json.dumps(ENVELOPE)})


def encoded(value: Any, schema: Any = ENVELOPE, number: int = 7) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return b"\x00" + number.to_bytes(4, "big") + out.getvalue()


ROWS = st.fixed_dictionaries(
    {
        "id": st.integers(0, 2**31 - 1),
        "wallet_balance": st.none() | st.decimals(places=6, min_value=-(10**11), max_value=10**11),
        "group": st.none() | st.text(max_size=20),
        "created_at": st.none() | st.integers(0, 2**60),
        "plain_time": st.integers(0, 2**50),
        "kind": st.sampled_from(["live", "demo"]),
        "flag": st.none() | st.booleans(),
    }
)


@given(before=st.none() | ROWS, after=st.none() | ROWS)
def test_what_was_written_is_read(before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    found, columns = decode(encoded({"before": before, "after": after, "op": "u"}), SCHEMAS)
    for image, expected in ((found["before"], before), (found["after"], after)):
        if expected is None:
            assert image is None
            continue
        amount, balance = expected["wallet_balance"], image["wallet_balance"]
        text = canonical(balance, Kind.MONEY, 2, columns["wallet_balance"])
        assert text == (None if amount is None else money(amount))
        assert {name: image[name] for name in expected if name not in ("wallet_balance", "plain_time")} == {
            name: expected[name] for name in expected if name not in ("wallet_balance", "plain_time")
        }
        assert isinstance(image["plain_time"], int)


def test_the_columns_types() -> None:
    columns = read_schema(json.dumps(ENVELOPE)).columns
    assert columns["wallet_balance"] == ColumnSchema("org.apache.kafka.connect.data.Decimal", 6)
    assert columns["created_at"] == ColumnSchema("io.debezium.time.MicroTimestamp")
    assert columns["plain_time"] == ColumnSchema("MicroTimestamp")
    assert columns["group"] == ColumnSchema()
    assert read_schema(json.dumps(ROW)).columns.keys() == columns.keys(), "a key or a flattened row is a record itself"
    assert read_schema('"string"').columns == {}


@given(st.integers(-(10**60), 10**60))
def test_a_decimal_beyond_its_declared_precision_is_not_rounded(unscaled: int) -> None:
    size = (unscaled.bit_length() + 8) // 8
    data = unscaled.to_bytes(size, "big", signed=True)
    digits = tuple(int(digit) for digit in str(abs(unscaled)))
    exact = Decimal((int(unscaled < 0), digits, -6))
    assert canonical(data, Kind.MONEY, 2, ColumnSchema("Decimal", 6)) == money(exact)


ROW_BYTES = encoded(
    {
        "before": None,
        "after": {
            **dict.fromkeys(("wallet_balance", "group", "created_at", "flag")),
            "id": 1,
            "plain_time": 5,
            "kind": "demo",
        },
        "op": "c",
    }
)


@pytest.mark.parametrize("length", range(len(ROW_BYTES)))
def test_a_truncated_record(length: int) -> None:
    if length:
        with pytest.raises(Undecodable):
            decode(ROW_BYTES[:length], SCHEMAS)


def test_bytes_left_over_are_another_schemas() -> None:
    with pytest.raises(Undecodable, match=r"1 of .* left over") as refusal:
        decode(ROW_BYTES + b"\x00", SCHEMAS)
    assert "headers.enabled=false" in refusal.value.advice


@given(st.binary(max_size=60))
def test_garbage_is_undecodable(body: bytes) -> None:
    with suppress(Undecodable):
        decode(b"\x00\x00\x00\x00\x07" + body, SCHEMAS)


def test_an_unknown_id_is_named_with_what_may_be_wrong() -> None:
    # A create whose schema id is in a header: byte 0 is the null image, and what follows is no id.
    with pytest.raises(Undecodable, match="no schema 33685506") as refusal:
        decode(b"\x00\x02\x02\x00\x02rest", SCHEMAS)
    assert "use-id=contentId" in refusal.value.advice


@pytest.mark.parametrize(
    "schema",
    [
        "{",
        "{}",
        "7",
        '"unknown.Type"',
        '{"type":"record","name":"R"}',
        '{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}',
        '{"type":"record","name":"R","namespace":"n","fields":[{"name":"x","type":{"type":"array","items":"n.R"}}]}',
        '{"type":"array","items":"null"}',
        '{"type":"enum","name":"E"}',
        '{"type":"record","name":"R","fields":[{"name":null,"type":"long"}]}',
        '{"type":"fixed","name":"F","size":0}',
        '{"type":"record","name":"R","fields":[{"name":"nothing","type":"null"}]}',
        '{"type":"record","name":"R","fields":[{"name":"nothing","type":{"type":"null"}}]}',
        '{"type":"array","items":{"type":"null"}}',
        '{"type":"array","items":{"type":"fixed","name":"F","size":0}}',
        '{"type":"array","items":{"type":"record","name":"R","fields":[]}}',
        '{"type":"array","items":{"type":"record","name":"R","fields":[{"name":"nothing","type":"null"}]}}',
        '{"type":"record","name":"R","fields":[{"name":"e","type":{"type":"record","name":"E","fields":[]}}]}',
    ],
)
def test_what_is_no_schema_of_a_row(schema: str) -> None:
    with pytest.raises(Undecodable):
        read_schema(schema)


def test_null_in_a_union_and_null_alone_have_a_schema() -> None:
    schemas = KnownSchemas({1: '[{"type":"null"},"string"]', 2: '"null"'})
    assert decode(b"\x00\x00\x00\x00\x01\x00", schemas) == (None, {})
    assert decode(b"\x00\x00\x00\x00\x02", schemas) == (None, {})
