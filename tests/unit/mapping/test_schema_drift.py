"""Columns that came, and columns that went."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.mapping.reference import reference
from consumer.mapping.schema_drift import Drift, DriftKind, SchemaDrifts
from tests.support.scenario import load_all

DEPOSIT = parse(next(each for each in load_all() if each.title.startswith("A deposit")).changes[0].record(7))
assert isinstance(DEPOSIT, ChangeEvent)
EVENT: ChangeEvent = DEPOSIT


def event(added: Mapping[str, object], *gone: str) -> ChangeEvent:
    row = {name: value for name, value in (EVENT.after or {}).items() if name not in gone}
    return structs.replace(EVENT, after={**row, **added})


def test_a_row_of_the_mapping_has_no_drift() -> None:
    # Bookkeeping, credentials and hashed columns are known, though they have no field.
    known = event({"password": "x", "security_answer": "x", "bank_branch_name": "x", "updated_at": "x"})
    assert SchemaDrifts(reference()).counted([EVENT, known]) == {}


def test_new_and_lost_columns_are_counted_and_told_once() -> None:
    drifts = SchemaDrifts(reference())
    found = drifts.counted([event({"loyalty": 1}), event({"loyalty": 2}), event({}, "mam_id", "country_id"), EVENT])
    unknown = Drift("live_users", "loyalty", DriftKind.UNKNOWN)
    missing = {Drift("live_users", name, DriftKind.MISSING) for name in ("mam_id", "country_id")}
    assert found == {unknown: 2} | dict.fromkeys(missing, 1)
    assert [drifts.is_first(unknown) for _ in range(3)] == [True, False, False]
    assert drifts.counted([event({"loyalty": 3})]) == {unknown: 1}


def test_a_delete_and_a_table_without_rules_have_none() -> None:
    drifts = SchemaDrifts(reference())
    assert (
        drifts.counted([structs.replace(EVENT, after=None), structs.replace(event({"x": 1}), table="invoices")]) == {}
    )
