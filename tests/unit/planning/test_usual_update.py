"""Both ways to decide about an update give the same decision."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from consumer.events import usual_envelope
from consumer.events.record import SourceRecord
from consumer.events.undecoded_row import UndecodedRow
from consumer.guard.history import Histories
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.planning import decision
from consumer.planning.decision import Decision, Outcome, decide, decide_all
from consumer.planning.usual_update import usual_update
from tests.support.scenario import load_all

RULES = reference()
RECORDS = [change.record(at) for scenario in load_all() for at, change in enumerate(scenario.changes)]
UPDATE = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0].record(7)
ENVELOPE = json.loads(UPDATE.value or b"")

_TEXTS = [None, "", "0", "1.50", "1.5", "-0.00", "abc", "ABC  ", "Bf2CIA==", "true", "NaN", "1e3", "9" * 90]
_OTHERS = [0, 1, -1, True, False, 10**85, 1.5, [], {}, RULES.placeholder, "2026-11-29T10:00:00Z", 1_795_000_000_000]
_VALUES = st.sampled_from([*_TEXTS, *_OTHERS])
_COLUMNS = st.sampled_from([*ENVELOPE["after"], "loyalty", "bank_branch_name"])
_CHANGES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["before", "after", "both"]), _COLUMNS, _VALUES),
        st.tuples(st.sampled_from(["drop before", "drop after", "drop both"]), _COLUMNS, st.none()),
        st.tuples(
            st.just("source"),
            st.sampled_from(["ts_ms", "db", "table", "gtid", "file", "pos", "connector", "snapshot", "server_id"]),
            st.sampled_from([None, "", "x", 0, -1, 10**16, "live_users", "demo_users", "mysql", "mariadb", "true"]),
        ),
        st.tuples(st.just("op"), st.just(""), st.sampled_from(["c", "d", "r", "u", "t", "x"])),
        st.tuples(st.just("no image"), st.sampled_from(["before", "after"]), st.none()),
    ),
    max_size=4,
)


def stage_by_stage(records: Sequence[SourceRecord], rules: Rules, monkeypatch: pytest.MonkeyPatch) -> list[Decision]:
    with monkeypatch.context() as patch:
        patch.setattr(decision, "usual_update", lambda *_: None)
        return decide_all(records, rules, history=Histories(None, 5000))


def seen(found: Decision) -> tuple[object, ...]:
    """What can be compared: errors by their text."""
    return (*structs.astuple(structs.replace(found, error=None)), str(found.error))


def changed(changes: Sequence[tuple[str, str, object]]) -> SourceRecord:
    envelope = json.loads(json.dumps(ENVELOPE))
    for what, name, value in changes:
        where = what.removeprefix("drop ")
        for image in [each for each in ("before", "after") if where in (each, "both") and envelope[each] is not None]:
            if what.startswith("drop"):
                envelope[image].pop(name, None)
            else:
                envelope[image][name] = value
        if what == "source":
            envelope["source"][name] = value
        if what == "op":
            envelope["op"] = value
        if what == "no image":
            envelope[name] = None
        if what == "turn":
            envelope |= {each: dict(reversed(envelope[each].items())) for each in ("before", "after")}
    return structs.replace(UPDATE, value=json.dumps(envelope).encode())


def test_the_records_of_all_scenarios(monkeypatch: pytest.MonkeyPatch) -> None:
    for record in RECORDS:
        (found,) = decide_all([record], RULES, history=Histories(None, 5000))
        (wanted,) = stage_by_stage([record], RULES, monkeypatch)
        assert seen(found) == seen(wanted)
    all_at_once = decide_all(RECORDS, RULES, history=Histories(None, 5000))
    assert list(map(seen, all_at_once)) == list(map(seen, stage_by_stage(RECORDS, RULES, monkeypatch)))


@settings(max_examples=1500, deadline=None)
@given(_CHANGES)
def test_records_that_are_changed_at_random(changes: list[tuple[str, str, object]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        record = changed(changes)
        (found,) = decide_all([record], RULES, history=Histories(None, 5000))
        (wanted,) = stage_by_stage([record], RULES, patch)
    assert seen(found) == seen(wanted)


MONEY = [name for name, _ in (RULES.table("live_users") or RULES.tables[0]).money()]


@pytest.mark.parametrize(
    "changes",
    [
        [("after", "margin", "7.00"), ("after", "leverage", 77), ("turn", "", None)],
        [("before", "group", None), ("after", "group", "")],
        [("before", "mam_id", None), ("after", "mam_id", "")],
        [*(("both", name, "AA==") for name in MONEY), ("after", "margin", "Bf2CIA==")],
        [*(("both", name, "1234") for name in MONEY), ("before", "margin", "Bf2CIA=="), ("after", "margin", None)],
        [("both", "wallet_balance", "1.00"), ("after", "bank_branch_name", "x")],
        [
            *(("before", "margin", {"scale": 2, "value": "AMg="}), ("after", "margin", "2.00")),
            ("after", "wallet_balance", "3.00"),
        ],
    ],
)
def test_records_that_chance_makes_seldom(
    changes: list[tuple[str, str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = changed(changes)
    (found,) = decide_all([record], RULES, history=Histories(None, 5000))
    (wanted,) = stage_by_stage([record], RULES, monkeypatch)
    assert seen(found) == seen(wanted)
    assert found.plan is not None


def is_usual(record: SourceRecord) -> bool:
    found = decide(record, RULES)
    return found.event is not None and found.plan is not None and usual_update(found.event, record, RULES) is not None


def test_its_rows_are_decoded_again_when_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usual_envelope, "_expected", {})
    record = changed([("after", "margin", "7.00")])
    decide(UPDATE, RULES)
    (found,), (wanted,) = decide_all([record], RULES), stage_by_stage([record], RULES, monkeypatch)
    assert found.event is not None
    assert found.plan is not None
    after: object = found.event.after
    assert type(after) is UndecodedRow
    assert structs.replace(found, event=None) == structs.replace(wanted, event=None)
    assert found.event == wanted.event
    assert found.plan.values["margin"] == "7.00"


def test_it_is_the_way_of_an_ordinary_update() -> None:
    """Else the others would compare one way with itself."""
    assert is_usual(UPDATE)
    assert sum(map(is_usual, RECORDS)) > 5


@pytest.mark.parametrize("key", [None, b"", b"\0\0\0\0\x07\x0e", b'{"schema":{},"payload":{"id":123}}', b"7"])
def test_another_key_makes_no_difference(key: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    record = structs.replace(UPDATE, key=key)
    (found,) = decide_all([record], RULES, history=Histories(None, 5000))
    (wanted,) = stage_by_stage([record], RULES, monkeypatch)
    assert seen(found) == seen(wanted)


def test_what_was_sent_again_is_told_as_before() -> None:
    again = structs.replace(UPDATE, offset=9, timestamp_ms=UPDATE.timestamp_ms + 60_000)
    first, second = decide_all([UPDATE, again], RULES, history=Histories(None, 5000))
    assert (first.outcome, second.outcome, second.first_sent) == (Outcome.PLANNED, Outcome.NOTHING, 7)


def test_a_column_that_changes_and_changes_back_in_one_transaction_is_written() -> None:
    """Seen from the first image to the last one, it has not changed."""
    there = changed([("after", "margin", "7.00")])
    after = json.loads(there.value or b"")["after"]
    back = changed([*(("before", name, value) for name, value in after.items()), ("after", "wallet_balance", "3.00")])
    _, last = decide_all([there, structs.replace(back, offset=8)], RULES, history=Histories(None, 5000))
    assert last.plan is not None
    assert last.plan.config is not None
    assert last.plan.config.changed["margin"] == last.plan.values["margin"]


def test_another_mapping_has_shapes_of_its_own() -> None:
    other = replace(reference(), balance_ttl_s=7)
    plans = [decide(UPDATE, rules).plan for rules in (RULES, other, RULES)]
    assert [each.balance.ttl_s for each in plans if each is not None and each.balance is not None] == [3600, 7, 3600]
