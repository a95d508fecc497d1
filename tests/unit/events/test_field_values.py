"""What is said of values that can't be used, of recordings after what users of such systems reported in public."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from consumer.commands.shared import options
from consumer.commands.shared.check.sampled import of_sample
from consumer.commands.shared.finding import Level
from consumer.errors import ConfigError, InvalidValue
from consumer.events.avro import NO_SCHEMAS
from consumer.events.codec import decode
from consumer.events.envelope import key_of, parse
from consumer.events.event import UNAVAILABLE, ChangeEvent, ColumnSchema, Tombstone
from consumer.events.record import SourceRecord
from consumer.events.value import Kind
from consumer.mapping import file as mapping
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.mapping.schema_drift import Drift, DriftKind
from consumer.planning.change_times import ChangeTimes
from consumer.planning.decision import Decision, Outcome, decide
from consumer.planning.diff import Change, diff
from consumer.planning.effect import Plan
from consumer.planning.plan import plan, user_of
from consumer.planning.rebuild import rebuild_user
from consumer.settings import sources as config
from consumer.source.recording import read
from tests.support.scenario import load_all

FOLDER = Path(__file__).parents[2] / "recordings" / "field"
RULES = reference()
LIVE = RULES.tables[0]
TIME = "copytrading_alloted_time"
DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0].record(7)
PARTITIONS = mapping.load(FOLDER / "k-partitions.toml")


def records(name: str) -> list[SourceRecord]:
    return list(read(FOLDER / f"{name}.jsonl"))


def decided(name: str, rules: Rules = RULES) -> list[Decision]:
    return [decide(record, rules) for record in records(name)]


def changed(record: SourceRecord, **images: dict[str, object]) -> SourceRecord:
    """``record`` with other values of some columns in its images."""
    envelope: dict[str, Any] = json.loads(record.value or b"")
    for name, columns in images.items():
        if envelope[name] is not None:
            envelope[name] |= columns
    return structs.replace(record, value=json.dumps(envelope).encode())


def refusals(found: list[Decision]) -> dict[int, tuple[str, str]]:
    return {
        at: (each.reason, each.error.advice)
        for at, each in enumerate(found)
        if each.outcome is Outcome.REJECTED and each.error is not None
    }


def test_an_amount_that_is_none_is_refused_with_the_right_advice() -> None:
    found = refusals(decided("c-pg-numeric-special"))
    assert len(found) == 5
    for reason, advice in found.values():
        assert "wallet_balance: no amount" in reason
        assert "CHECK" in advice
        assert "decimal.handling.mode" not in advice


def test_an_amount_that_is_none_in_an_optional_column_costs_that_column_alone() -> None:
    found = decide(changed(DEPOSIT, after={"copy_trading_wallet": "NaN"}), RULES)
    assert found.plan is not None
    assert found.plan.balance is not None
    assert "copy_trading_wallet" not in (found.plan.config.whole if found.plan.config else {})
    assert found.drifts == (Drift("live_users", "copy_trading_wallet", DriftKind.UNREADABLE),)


def test_a_change_of_nothing_but_a_column_that_can_not_be_read_is_counted() -> None:
    record = records("b-pg-infinity")[7]
    found = decide(changed(record, after={"wallet_balance": "1000.000000"}), RULES)
    assert found.outcome is Outcome.NOTHING
    assert found.drifts == (Drift("live_users", TIME, DriftKind.UNREADABLE),)


def test_a_value_that_could_not_be_read_before_is_a_change_from_something_unknown() -> None:
    """Also in a required column: else the change that corrects it would be refused too."""
    before, after = {"wallet_balance": "NaN", TIME: "infinity"}, {"wallet_balance": "5", TIME: "2024-01-15T10:30:00Z"}
    assert diff(before, after, LIVE, {}).fields == {
        "wallet_balance": Change(None, "5.00", old_known=False),
        TIME: Change(None, "2024-01-15T10:30:00.000Z", old_known=False),
    }
    assert diff(after, {**after, TIME: "infinity"}, LIVE, {}).fields == {}
    with pytest.raises(InvalidValue, match="wallet_balance"):
        diff(after, before, LIVE, {})


def test_several_changes_of_one_transaction_leave_what_the_last_readable_one_said() -> None:
    event = decide(DEPOSIT, RULES).event
    assert event is not None
    assert event.after is not None
    between = {**event.after, TIME: "2024-01-15T10:30:00Z"}
    last = {**event.after, TIME: "infinity"}
    planned = plan(structs.replace(event, between=(between,), after=last), LIVE, user_of(event, LIVE), RULES)
    assert isinstance(planned, Plan)
    assert planned.config is not None
    assert planned.config.changed[TIME] == "2024-01-15T10:30:00.000Z"


def test_a_rebuild_leaves_the_field_of_a_column_that_can_not_be_read() -> None:
    event = parse(records("b-pg-infinity")[0])
    assert isinstance(event, ChangeEvent)
    planned = rebuild_user([event], {}, LIVE, RULES)
    assert planned.config is not None
    assert TIME not in planned.config.gone
    assert TIME not in planned.config.whole
    assert planned.unreadable == (TIME,)


def test_a_bit_column_without_a_schema_is_a_number_where_the_mapping_says_so() -> None:
    columns = tuple(
        replace(each, kind=Kind.BITS) if each.name in ("status", "is_active") else each for each in LIVE.columns
    )
    rules = replace(RULES, tables=(replace(LIVE, columns=columns), RULES.tables[1]))
    found = decided("f-bit-columns", rules)
    assert [each.outcome for each in found] == [Outcome.PLANNED] * 4
    written = [each.plan.config.changed for each in found if each.plan is not None and each.plan.config is not None]
    assert [(each["status"], each["is_active"]) for each in written] == [("5", "1"), ("2", "0"), ("5", "1"), ("1", "1")]
    assert len(refusals(decided("f-bit-columns"))) == 3


def test_ids_of_every_spelling_and_what_is_said_of_the_one_that_can_not_be_told() -> None:
    found = decided("g-bigint-unsigned-precise")
    ((at, (reason, advice)),) = refusals(found).items()
    assert at == 0
    assert "id: should be an id" in reason
    assert "bigint.unsigned.handling.mode=long" in advice
    assert {str(each.plan.user) for each in found if each.plan is not None} == {"live:7"}


def test_a_key_that_is_a_decimal_is_a_number() -> None:
    schema = {
        "type": "struct",
        "fields": [
            {
                "type": "bytes",
                "name": "org.apache.kafka.connect.data.Decimal",
                "parameters": {"scale": "0"},
                "field": "id",
            }
        ],
    }
    key = json.dumps({"schema": schema, "payload": {"id": "Bw=="}}).encode()
    assert key_of(key, NO_SCHEMAS) == {"id": 7}


def test_other_converters_are_named() -> None:
    found = refusals(decided("h-other-converters"))
    names = ["CloudEvents", "JsonSchemaConverter", "AWS Glue", "Protobuf", "twice", "StringConverter"]
    for at, name in enumerate(names):
        assert name in " ".join(found[at]), at
        assert "flatten" not in found[at][1]
    assert list(found) == [0, 1, 2, 3, 4, 5, 7]


@pytest.mark.parametrize(
    "value", [None, b"null", b'{"schema": null, "payload": null}', b'{"schema":null,"payload":null}']
)
def test_every_form_of_null_is_a_tombstone(value: bytes | None) -> None:
    assert isinstance(parse(structs.replace(DEPOSIT, value=value)), Tombstone)


def test_a_byte_order_mark_is_no_part_of_json() -> None:
    mark = b"\xef\xbb\xbf"
    assert decode(mark + b"{}", NO_SCHEMAS).payload == {}
    with pytest.raises(Exception, match="not JSON"):
        decode(mark * 5000 + b"{}", NO_SCHEMAS)


def test_a_partition_without_a_mapping_is_refused_with_what_helps() -> None:
    for reason, advice in refusals(decided("k-partition-names")).values():
        assert "no rule names the table 'live_users_p" in reason
        assert "publish_via_partition_root" in advice
        assert "route" in advice
    with pytest.raises(ConfigError, match="two tables with users of this type: live") as refusal:
        mapping.load(FOLDER / "k-mapping.toml")
    assert "partitions = " in refusal.value.allowed


def test_partitions_are_the_table_they_are_parts_of() -> None:
    found = decided("k-partition-names", PARTITIONS)
    assert [each.plan.table for each in found if each.plan is not None] == ["live_users"] * 2
    assert [each.event.table for each in found if each.event is not None] == ["live_users"] * 2


def test_partitions_in_topics_of_their_own_are_refused() -> None:
    """The order of a delete in one and an insert in the other would be lost."""
    record = structs.replace(records("k-partition-names")[0], topic="trading.public.live_users_p0")
    found = decide(record, PARTITIONS)
    assert "in a topic of its own" in found.reason
    assert found.error is not None
    assert "publish_via_partition_root" in found.error.advice


def test_a_key_that_names_the_partition_is_refused() -> None:
    """As ByLogicalTableRouter makes it: then the rows of one user are in several partitions of the topic."""
    record = records("k-partition-names")[0]
    key = b'{"id": 7, "__dbz__physicalTableIdentifier": "trading.public.live_users_p0"}'
    found = decide(structs.replace(record, key=key), PARTITIONS)
    assert found.error is not None
    assert "key.enforce.uniqueness=false" in found.error.advice


def test_padded_values_of_a_linked_table_and_unknown_ones() -> None:
    outcomes = [(each.outcome, each.drifts) for each in decided("m-char-padding")]
    user_type = Drift("user_transactions", "user_type", DriftKind.VALUE)
    status = Drift("user_transactions", "status", DriftKind.VALUE)
    assert outcomes == [
        (Outcome.PLANNED, ()),
        (Outcome.NOTHING, (user_type,)),
        (Outcome.PLANNED, ()),
        (Outcome.NOTHING, (status,)),
        (Outcome.NOTHING, (user_type,)),
        (Outcome.REJECTED, ()),
        (Outcome.PLANNED, ()),
    ]


@pytest.mark.parametrize(
    ("status", "not_done", "is_told"),
    [
        ("pending", frozenset({"pending"}), False),
        ("pending ", frozenset({"pending"}), False),
        ("Pending", frozenset({"pending"}), True),
        ("COMPLETED", frozenset(), True),
        ("anything", frozenset(), False),
        ("", frozenset({"pending"}), True),
    ],
)
def test_which_status_is_unknown(status: str, not_done: frozenset[str], is_told: bool) -> None:
    rules = replace(RULES, linked=(replace(RULES.linked[0], not_done=not_done),))
    record = changed(records("m-char-padding")[0], after={"status": status})
    assert bool(decide(record, rules).drifts) is is_told


def test_types_of_users_that_no_table_holds_may_be_known() -> None:
    rules = replace(RULES, linked=(replace(RULES.linked[0], other_types=frozenset({"LIVE"})),))
    assert decide(records("m-char-padding")[1], rules).drifts == ()


def test_a_detail_that_can_not_be_read_is_left_out_of_the_message() -> None:
    found = decide(changed(records("m-char-padding")[0], after={"amount": "NaN"}), RULES)
    assert found.outcome is Outcome.PLANNED
    assert found.drifts == (Drift("user_transactions", "amount", DriftKind.UNREADABLE),)


def test_padding_is_no_change_whose_time_a_rebuild_knows() -> None:
    event = parse(changed(DEPOSIT, before={"group": "VIP"}, after={"group": "VIP       "}))
    assert isinstance(event, ChangeEvent)
    times = ChangeTimes(RULES, LIVE)
    known = times.by_name(times.after(event))
    assert "last_group_update" not in known
    assert "last_balance_update" in known


def test_another_placeholder_of_unavailable_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_SOURCE__UNAVAILABLE_PLACEHOLDER", "hex:c2a7c2a7")
    rules = options.rules_of(config.load())
    assert rules.placeholder == "§§"
    record = changed(DEPOSIT, before={"group": "§§"}, after={"group": "§§"})
    event = decide(
        structs.replace(record, value=json.dumps(json.loads(record.value or b""), ensure_ascii=False).encode()), rules
    ).event
    assert event is not None
    assert event.after is not None
    assert event.after["group"] is UNAVAILABLE
    monkeypatch.setenv("CDC_SOURCE__UNAVAILABLE_PLACEHOLDER", "hex:zz")
    with pytest.raises(ConfigError, match="CDC_SOURCE__UNAVAILABLE_PLACEHOLDER"):
        config.load()


def test_check_names_columns_with_values_that_can_not_be_used() -> None:
    found = list(of_sample("t", [*records("b-pg-infinity"), *records("m-char-padding")[:5]], RULES, NO_SCHEMAS))
    assert {each.level for each in found} == {Level.WARNING}
    said = " ".join(each.found for each in found)
    assert f"can't be read: {TIME};" in said
    assert "does not list: status, user_type;" in said
    assert "infinity" not in said
    assert "LIVE" not in said


def test_a_schema_says_the_unit_of_the_end_of_time() -> None:
    found = decided("a-date-9999")[3]
    assert found.event is not None
    assert found.event.schema[TIME] == ColumnSchema("io.debezium.time.Timestamp")
