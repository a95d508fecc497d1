"""Columns that came, and columns that went."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.mapping.reference import reference
from consumer.mapping.schema_drift import Drift, DriftKind, drifts_of
from tests.support.scenario import load_all

DEPOSIT = parse(next(each for each in load_all() if each.title.startswith("A deposit")).changes[0].record(7))
assert isinstance(DEPOSIT, ChangeEvent)
EVENT: ChangeEvent = DEPOSIT


def event(added: Mapping[str, object], *gone: str) -> ChangeEvent:
    row = {name: value for name, value in (EVENT.after or {}).items() if name not in gone}
    return structs.replace(EVENT, after={**row, **added})


def drifts(changed: ChangeEvent) -> tuple[Drift, ...]:
    return drifts_of(changed, reference())


def test_a_row_of_the_mapping_has_no_drift() -> None:
    # Bookkeeping, credentials and hashed columns are known, though they have no field.
    known = event({"password": "x", "security_answer": "x", "bank_branch_name": "x", "updated_at": "x"})
    assert drifts(EVENT) == drifts(known) == ()


def test_new_and_lost_columns() -> None:
    assert drifts(event({"loyalty": 1})) == (Drift("live_users", "loyalty", DriftKind.UNKNOWN),)
    lost = tuple(Drift("live_users", name, DriftKind.MISSING) for name in ("country_id", "mam_id"))
    assert drifts(event({}, "mam_id", "country_id")) == lost


def test_a_delete_and_a_table_without_rules_have_none() -> None:
    assert drifts(structs.replace(EVENT, after=None)) == ()
    assert drifts(structs.replace(event({"x": 1}), table="invoices")) == ()
