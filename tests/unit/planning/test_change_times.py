"""The time fields that a change sets in a rebuild are those that the stream's plan sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from consumer.errors import RecordError
from consumer.events.avro import KnownSchemas
from consumer.events.decimals import with_decimal_schema
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent, Operation
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.change_times import ChangeTimes
from consumer.planning.effect import Plan
from consumer.planning.plan import healing, plan, user_of
from consumer.planning.shape import TIME
from consumer.source import recording
from tests.support.scenario import load_all

RULES = reference()
LIVE = RULES.tables[0]
RECORDINGS = sorted((Path(__file__).parents[2] / "recordings").glob("*json*.jsonl.gz"))
DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0]


def stamped(event: ChangeEvent, table: UserTable, rules: Rules, *, is_marked: bool = False) -> set[str]:
    """The fields to which the stream's plan gives the time of the change."""
    planned = (healing if is_marked else plan)(event, table, user_of(event, table), rules)
    if not isinstance(planned, Plan):
        return set()
    return {name for name, source in (*planned.shape.changed, *planned.shape.updated) if source == TIME}


def known(event: ChangeEvent, table: UserTable, rules: Rules, *, is_marked: bool = False) -> set[str]:
    times = ChangeTimes(rules, table)
    found = times.by_name(times.after(event, is_marked=is_marked))
    assert set(found.values()) <= {event.position.ts_ms}
    return set(found)


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: file.name.removesuffix(".jsonl.gz"))
def test_of_real_records(file: Path) -> None:
    compared = 0
    for record in recording.read(file):
        try:
            event = parse(record, KnownSchemas({}))
        except RecordError:
            continue
        if not isinstance(event, ChangeEvent) or (table := RULES.table(event.table)) is None or event.after is None:
            continue
        event = with_decimal_schema(event, table.money())
        try:
            expected = stamped(event, table, RULES)
        except RecordError:
            assert "double" in file.name  # the fold finds it when the plan is made
            continue
        assert known(event, table, RULES) == expected
        compared += event.op is Operation.UPDATE
    assert compared or "double" in file.name


values = {
    "wallet_balance": st.sampled_from(["1.50", "1.5", "2.50", "1.500000", "100", 7, None]),
    "margin": st.sampled_from(["1.00", "abcd", "+1.0", "-0.0", "0.00", "00.0", "NaN0", None]),
    "group": st.sampled_from(["VIP", "VIP  ", "STD", "", None]),
    "leverage": st.sampled_from([100, 50, "100", None]),
    "is_active": st.sampled_from([1, 0, 2, True, False, None]),
    "mam_id": st.sampled_from([None, 5, 6]),
    "sending_orders": st.sampled_from(["rock", "rock ", "rick", None]),
    "name": st.sampled_from(["a", "b", None]),
    "updated_at": st.sampled_from(["1", "2"]),
}
rows = st.fixed_dictionaries({}, optional=values)


@given(before=rows, after=rows, is_marked=st.booleans(), is_stamped_outside=st.booleans())
def test_of_any_values(
    before: dict[str, object], after: dict[str, object], is_marked: bool, is_stamped_outside: bool
) -> None:
    rules = (
        replace(RULES, outside=replace(RULES.outside, stamps=("last_profile_update",))) if is_stamped_outside else RULES
    )
    assert DEPOSIT.after is not None
    event = parse(DEPOSIT.record(5))
    assert isinstance(event, ChangeEvent)
    event = structs.replace(event, before=DEPOSIT.after | before, after=DEPOSIT.after | after)
    try:
        expected = stamped(event, LIVE, rules, is_marked=is_marked)
    except RecordError:
        return  # the stream rejects it, and so does the fold
    assert known(event, LIVE, rules, is_marked=is_marked) == expected
