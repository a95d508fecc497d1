"""The Avro schemas of what is needed, against the rules, against Avro's own resolution, and against other writers."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.mapping import file as mapping
from consumer.mapping.reference import reference
from consumer.mapping.row_schema import incompatibilities, reader_schemas
from schemas import FOLDER
from tests.docs.markdown import PROJECT

RULES = reference()
READERS = reader_schemas(RULES)
DECIMAL = {
    "type": "bytes",
    "scale": 6,
    "precision": 18,
    "connect.version": 1,
    "connect.parameters": {"scale": "6", "connect.decimal.precision": "18"},
    "connect.name": "org.apache.kafka.connect.data.Decimal",
    "logicalType": "decimal",
}
MICROS = {"type": "long", "connect.version": 1, "connect.name": "io.debezium.time.MicroTimestamp"}


def writer(**changes: object) -> dict[str, Any]:
    """What Debezium writes for live_users; a column given as None is left out."""
    money = ["wallet_balance", "margin", "net_profit", "copy_trading_wallet"]
    texts = ["group", "account_number", "sending_orders", "name"]
    ints = ["leverage", "status", "country_id", "mam_id", "mam_status", "pam_id", "pam_status"]
    ints += ["copytrader_id", "copytrading_status"]
    types: dict[str, object] = {"id": "int"}
    types |= dict.fromkeys(money, "string") | dict.fromkeys(texts, "string") | dict.fromkeys(ints, "int")
    types |= {"is_active": {"type": "int", "connect.type": "int16"}, "copytrading_alloted_time": MICROS}
    types |= changes
    columns = [
        {"name": name, "type": kind if name == "id" else ["null", kind], "default": None}
        for name, kind in types.items()
        if kind is not None
    ]
    del columns[0]["default"]
    row = {"type": "record", "name": "Value", "fields": columns, "connect.name": "trading.trading.live_users.Value"}
    return {
        "type": "record",
        "name": "Envelope",
        "namespace": "trading.trading.live_users",
        "fields": [
            {"name": "before", "type": ["null", row], "default": None},
            {"name": "after", "type": ["null", "Value"], "default": None},
            {"name": "op", "type": "string"},
        ],
    }


def test_each_table_has_its_file() -> None:
    assert {file.stem for file in FOLDER.glob("*.avsc")} == set(RULES.captured())


@pytest.mark.parametrize("table", sorted(READERS))
def test_the_file_is_an_avro_schema_that_names_what_the_rules_name(table: str) -> None:
    schema = json.loads((FOLDER / f"{table}.avsc").read_text())
    fastavro.parse_schema(deepcopy(schema))
    named = {field["name"]: "default" not in field for field in schema["fields"]}
    if (users := RULES.table(table)) is not None:
        assert named == {users.key: True} | {column.name: column.required for column in users.columns}
        return
    linked = RULES.linked_table(table)
    assert linked is not None
    required = {linked.key, linked.user_id, linked.status, *linked.writes, linked.user_type_column} - {""}
    assert {name for name, is_required in named.items() if is_required} == required
    assert set(named) == required | {each.column for each in linked.enriches}


def test_another_mapping_has_other_needs() -> None:
    readers = reader_schemas(mapping.load(PROJECT / "tests" / "unit" / "mapping" / "broker.toml"))
    assert set(readers) == {"live_accounts", "practice_accounts", "ledger"}
    assert [field["name"] for field in readers["practice_accounts"]["fields"]] == ["account_id", "balance", "tier"]


GOOD: Mapping[str, dict[str, object]] = {
    "as our connectors write": {},
    "precise decimals": {"wallet_balance": DECIMAL},
    "a wider integer": {"leverage": "long"},
    "flags as booleans": {"is_active": "boolean"},
    "an account number that is a number": {"account_number": "long"},
    "a country code as text": {"country_id": "string"},
    "times as text": {
        "copytrading_alloted_time": {"type": "string", "connect.name": "io.debezium.time.ZonedTimestamp"}
    },
    "times in Avro's own type": {"copytrading_alloted_time": {"type": "long", "logicalType": "timestamp-millis"}},
    "an enumeration": {"group": {"type": "enum", "name": "Group", "symbols": ["VIP"]}},
    "an optional column left out": {"country_id": None},
    "a column that nobody knows": {"shoe_size": "double"},
}


@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD)
def test_what_can_be_read(changes: dict[str, object]) -> None:
    assert incompatibilities(writer(**changes), READERS["live_users"]) == []


BAD: Mapping[str, tuple[dict[str, object], str]] = {
    "a required column missing": ({"group": None}, "group: missing, and it is required"),
    "the key missing": ({"id": None, "name": "string"}, "id: missing"),
    "money as double": ({"margin": "double"}, "margin: double can not be read as money: a floating"),
    "money as float": ({"margin": "float"}, "decimal.handling.mode=string"),
    "money as plain bytes": ({"margin": "bytes"}, "without the logical type decimal"),
    "money of any scale": (
        {"margin": {"type": "record", "name": "VariableScaleDecimal", "fields": []}},
        "margin: record",
    ),
    "a number as double": ({"leverage": "double"}, "leverage: double can not be read as integer: should be one of"),
    "text as bytes": ({"group": "bytes"}, "group: bytes can not be read as text"),
    "a date": ({"copytrading_alloted_time": {"type": "int", "connect.name": "io.debezium.time.Date"}}, "as time"),
    "a time that is any number": ({"copytrading_alloted_time": "long"}, "its unit is unknown"),
    "an optional column of a wrong kind": ({"mam_id": {"type": "array", "items": "int"}}, "mam_id: array"),
}


@pytest.mark.parametrize(("changes", "said"), BAD.values(), ids=BAD)
def test_what_can_not_be_read_is_named(changes: dict[str, object], said: str) -> None:
    schema = writer(**changes)
    if changes.get("id", 0) is None:
        row = schema["fields"][0]["type"][1]
        row["fields"] = [field for field in row["fields"] if field["name"] != "id"]
    (problem,) = incompatibilities(schema, READERS["live_users"])
    assert said in problem


def test_every_problem_is_named() -> None:
    found = incompatibilities(writer(group=None, margin="double", leverage="float"), READERS["live_users"])
    assert [problem.partition(":")[0] for problem in found] == ["margin", "leverage", "group"]


def test_a_row_or_an_envelope_in_either_order() -> None:
    envelope = writer()
    row = envelope["fields"][0]["type"][1]
    assert incompatibilities(row, READERS["live_users"]) == []
    envelope["fields"][0]["type"][1], envelope["fields"][1]["type"][1] = "Value", row
    assert incompatibilities(envelope, READERS["live_users"]) == []


@pytest.mark.parametrize(
    "schema", [None, "string", [], {}, {"type": "record"}, {"type": "record", "fields": [], "name": "Envelope"}]
)
def test_what_is_no_row(schema: object) -> None:
    assert incompatibilities(schema, READERS["live_users"]) == [
        "the schema is neither a Debezium envelope with the field after nor a row"
    ]


simple = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
anything = st.recursive(
    st.one_of(simple, st.none(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "name", "fields", "items", "logicalType", "connect.name"]), inner),
    ),
    max_leaves=10,
)


@given(anything)
def test_no_schema_makes_the_check_fail(schema: Any) -> None:
    envelope = {"type": "record", "name": "X", "fields": [{"name": "after", "type": schema}]}
    row = {"type": "record", "name": "X", "fields": [{"name": "id", "type": schema}, {"name": "group", "type": schema}]}
    for each in (schema, envelope, row):
        assert all(isinstance(problem, str) for problem in incompatibilities(each, READERS["live_users"]))


@given(
    st.dictionaries(
        st.sampled_from(["wallet_balance", "leverage", "group", "country_id", "is_active"]),
        st.one_of(simple, st.none()),
    )
)
def test_what_is_accepted_avro_resolves(changes: dict[str, object]) -> None:
    """Avro's own resolution reads what the check accepts, and does not where a required column is missing."""
    schema = writer(**{name: kind for name, kind in changes.items() if kind != "null"})
    row = schema["fields"][0]["type"][1]
    problems = incompatibilities(row, READERS["live_users"])
    buffer = io.BytesIO()
    record = {field["name"]: 7 if field["name"] == "id" else None for field in row["fields"]}
    fastavro.schemaless_writer(buffer, deepcopy(row), record)
    buffer.seek(0)
    reader = deepcopy(READERS["live_users"])
    if not problems:
        read = fastavro.schemaless_reader(buffer, deepcopy(row), reader)
        assert isinstance(read, dict)
        assert read["id"] == 7
    elif any("missing" in problem for problem in problems):
        with pytest.raises(fastavro.read.SchemaResolutionError):
            fastavro.schemaless_reader(buffer, deepcopy(row), reader)


def test_precise_decimals_are_read_as_decimals() -> None:
    row = writer(wallet_balance=DECIMAL)["fields"][0]["type"][1]
    buffer = io.BytesIO()
    record = {field["name"]: None for field in row["fields"]} | {"id": 7, "wallet_balance": Decimal("100.500000")}
    fastavro.schemaless_writer(buffer, deepcopy(row), record)
    buffer.seek(0)
    read = fastavro.schemaless_reader(buffer, deepcopy(row), deepcopy(READERS["live_users"]))
    assert isinstance(read, dict)
    assert read["wallet_balance"] == Decimal("100.5")
