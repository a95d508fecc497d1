"""Whose row it was, where the change itself could not be read; and what heals them."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import structs

from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.planning.decision import Decision, Outcome, decide, decide_all, healing_plan
from consumer.planning.effect import Plan
from consumer.planning.shape import Extent, Mode
from tests.support.scenario import load_all

RULES = reference()
SCENARIOS = {each.title: each for each in load_all()}


def record(beginning: str, offset: int = 7) -> SourceRecord:
    (found,) = (each for title, each in SCENARIOS.items() if title.startswith(beginning))
    return found.changes[0].record(offset)


def rejected(source: SourceRecord) -> Decision:
    decision = decide(source, RULES)
    assert decision.outcome is Outcome.REJECTED
    return decision


def marked(source: SourceRecord) -> Plan | None:
    marks = rejected(source).marks
    assert len(marks) <= 1
    return marks[0] if marks else None


@pytest.mark.parametrize("key", [b'{"id":123}', b'{"schema":{},"payload":{"id":123}}', b'{"id":"123"}'])
def test_an_unreadable_value_marks_the_user_of_its_key(key: bytes) -> None:
    mark = marked(structs.replace(record("A deposit"), key=key, value=b"\xff not JSON"))
    assert mark is not None
    assert (mark.mode, str(mark.user), mark.guard, mark.table) == (
        Mode.MARK,
        "live:123",
        "cdc:{live:123}",
        "live_users",
    )
    assert (mark.version.topic, mark.version.partition, mark.version.offset) == ("trading.trading.live_users", 0, 7)
    assert (mark.config, mark.balance, mark.update, mark.removed, mark.messages) == (None, None, None, None, ())


@pytest.mark.parametrize("key", [None, b"", b"no JSON", b"[1]", b"{}", b'{"id":-1}', b'{"id":true}', b'{"id":1.5}'])
def test_without_a_readable_key_nobody_is_marked(key: bytes | None) -> None:
    assert marked(structs.replace(record("A deposit"), key=key, value=b"no JSON")) is None


def test_a_row_that_could_be_read_in_part_says_whose_it_is() -> None:
    source = record("A deposit")
    envelope = msgspec.json.decode(source.value or b"")
    envelope["after"]["wallet_balance"] = "much"
    mark = marked(structs.replace(source, key=None, value=msgspec.json.encode(envelope)))
    assert mark is not None
    assert str(mark.user) == "live:123"


def test_a_linked_row_marks_nobody_for_its_key_does_not_say_which_type_of_user() -> None:
    source = structs.replace(record("A deposit"), topic="trading.trading.user_transactions", value=b"no JSON")
    assert marked(source) is None


def test_what_is_planned_has_no_mark() -> None:
    assert decide(record("A deposit"), RULES).marks == ()


def test_healing_writes_the_whole_image_clears_all_and_tells_every_channel() -> None:
    decision = decide(record("A column outside"), RULES)
    healing = healing_plan(decision, RULES)
    assert decision.plan is not None
    assert decision.plan.extent is Extent.CHANGED
    assert healing.extent is Extent.WHOLE
    assert healing.version == decision.plan.version
    assert healing.config is not None
    assert healing.config.changed.keys() >= healing.config.whole.keys()
    assert healing.balance is not None
    assert healing.update is not None
    assert set(healing.update.fields) == {"wallet_balance", "balance_updated_at", "group", "group_updated_at"}
    assert [message.channel for message in healing.messages] == [
        "user_updates",
        "admin_user_updates",
        "balance_updates",
        "group_updates",
    ]
    of_group = msgspec.json.decode(healing.messages[-1].body)
    assert (of_group["group_changed"], of_group["old_group"]) == (True, None)


def test_of_two_changes_in_one_transaction_only_the_unreadable_one_is_lost() -> None:
    """Joined they would be rejected together."""
    first, second = record("A deposit", 1), record("A deposit", 2)
    broken = msgspec.json.decode(second.value or b"")
    broken["source"]["pos"] += 1
    broken["before"] = broken["after"] | {}
    broken["after"] = broken["after"] | {"margin": "much"}
    one = msgspec.json.decode(first.value or b"")
    one["transaction"] = broken["transaction"] = {"id": "t:1", "total_order": 1, "data_collection_order": 1}
    decisions = decide_all(
        [
            structs.replace(first, value=msgspec.json.encode(one)),
            structs.replace(second, value=msgspec.json.encode(broken)),
        ],
        RULES,
    )
    assert [each.outcome for each in decisions] == [Outcome.PLANNED, Outcome.REJECTED]
    assert len(decisions[1].marks) == 1
