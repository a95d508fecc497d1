"""The rules as text, on what the databases really sent: three databases, JSON and Avro."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from msgspec import structs

from consumer.events.avro import Schemas
from consumer.events.record import SourceRecord
from consumer.events.value import timestamp
from consumer.mapping.reference import reference
from consumer.planning.decision import Decision, decide_all
from tests.support.scenario import Scenario, load_all, said
from tests.support.scenario_record import FORMATS, recorded
from tests.support.scenario_sql import NOT_BY_SQL, by_sql
from tests.support.stack.roster import DATABASES

SCENARIOS = by_sql()
# NULL in a column that has a default: Avro's converters send the default.
DEFAULTED = {'NULL is written as the empty text, never as "null"': ("margin=''", "margin=0.00")}

each_recording = pytest.mark.parametrize(
    ("database", "wire"), [(database, wire) for database in DATABASES for wire in FORMATS]
)


@cache
def recording(database: str, wire: str) -> tuple[dict[str, list[SourceRecord]], Schemas]:
    return recorded(database, wire)


@each_recording
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.title for each in SCENARIOS])
def test_recorded_scenario(scenario: Scenario, database: str, wire: str) -> None:
    records, schemas = recording(database, wire)
    decisions = _decided(records[scenario.title], schemas)
    for decision, change, outcome in zip(decisions, scenario.changes, scenario.outcomes, strict=True):
        assert decision.event is not None
        time = timestamp(decision.event.position.ts_ms)
        found = [line.replace(time, change.time) for line in said(decision, outcome)]
        assert found == _expected(scenario, outcome, wire), f"{scenario.place}: {scenario.title}"


def _decided(records: Sequence[SourceRecord], schemas: Schemas) -> list[Decision]:
    """What is decided about the changes; their offsets are those of the scenario. Tombstones are ignored."""
    renumbered = [structs.replace(each, offset=offset) for offset, each in enumerate(records)]
    decisions = decide_all(renumbered, reference(), schemas)
    assert all(
        decision.reason.startswith("a tombstone")
        for record, decision in zip(records, decisions, strict=True)
        if record.value is None
    )
    return [decision for record, decision in zip(records, decisions, strict=True) if record.value is not None]


def _expected(scenario: Scenario, outcome: list[str], wire: str) -> list[str]:
    if wire == "avro" and scenario.title in DEFAULTED:
        return [line.replace(*DEFAULTED[scenario.title]) for line in outcome]
    return outcome


@each_recording
def test_no_scenario_is_left_out(database: str, wire: str) -> None:
    records, _ = recording(database, wire)
    titles = [each.title for each in load_all()]
    assert len(titles) == len(set(titles))
    assert records.keys() == set(titles) - NOT_BY_SQL.keys()
    assert NOT_BY_SQL.keys() <= set(titles)
    assert len(NOT_BY_SQL) == 12
    assert len(records) >= 45
    assert all(
        (record.value or b"\0")[:1] == (b"\0" if wire == "avro" else b"{")
        for found in records.values()
        for record in found
        if record.value is not None
    )
