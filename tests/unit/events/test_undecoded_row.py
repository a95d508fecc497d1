"""A row that is not in memory reads as the row that was decoded."""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from consumer.events import usual_envelope
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.events.record import SourceRecord
from consumer.events.row import columns_of, names_of, sorted_values, values_of
from consumer.events.undecoded_row import UndecodedRow, undecoded
from consumer.mapping.reference import reference
from tests.support.scenario import load_all

UPDATE = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0].record(7)
ENVELOPE = json.loads(UPDATE.value or b"")


def parsed(record: SourceRecord) -> ChangeEvent:
    found = parse(record, databases=reference().databases)
    assert isinstance(found, ChangeEvent)
    return found


@pytest.fixture
def event(monkeypatch: pytest.MonkeyPatch) -> ChangeEvent:
    """Of the second record of its topic: the columns of the first are expected in it."""
    monkeypatch.setattr(usual_envelope, "_expected", {})
    parsed(UPDATE)
    return parsed(UPDATE)


def test_it_is_equal_to_the_decoded_row_and_to_the_plain_one(event: ChangeEvent) -> None:
    found = undecoded(event, UPDATE)
    rows: list[object] = [found.before, found.after]
    assert [type(each) for each in rows] == [UndecodedRow, UndecodedRow]
    assert (found.before, found.after) == (event.before, event.after) == (ENVELOPE["before"], ENVELOPE["after"])
    assert structs.replace(found, before=None, after=None) == structs.replace(event, before=None, after=None)


def test_it_is_a_mapping(event: ChangeEvent) -> None:
    row, plain = undecoded(event, UPDATE).after, ENVELOPE["after"]
    assert row is not None
    assert dict(row) == plain
    assert [*row.items()] == [*plain.items()]
    assert (len(row), "id" in row, "x" in row) == (len(plain), True, False)
    assert (row["id"], row.get("id"), row.get("x", 7)) == (plain["id"], plain["id"], 7)
    assert names_of(columns_of(row)) == tuple(plain)
    assert values_of(row) == tuple(plain.values())
    assert event.after is not None
    assert sorted_values(row) == sorted_values(event.after)
    assert row != {**plain, "id": 8}


def test_its_text_has_no_values(event: ChangeEvent) -> None:
    assert repr(undecoded(event, UPDATE).after) == "UndecodedRow(after)"


def test_reading_it_does_not_change_what_is_expected_of_the_next_record(event: ChangeEvent) -> None:
    row = undecoded(event, UPDATE).after
    wider = structs.replace(
        UPDATE,
        value=json.dumps({**ENVELOPE, **{name: {**ENVELOPE[name], "new": 1} for name in ("before", "after")}}).encode(),
    )
    parsed(wider)
    assert row == ENVELOPE["after"]
    after: object = parsed(wider).after
    assert type(after).__name__ == "Row"


@pytest.mark.parametrize(
    "change",
    [
        {"before": {**ENVELOPE["before"], "margin": reference().placeholder}},
        {"before": dict(list(ENVELOPE["before"].items())[1:])},
    ],
    ids=["an unavailable value", "another column"],
)
def test_rows_that_decoding_again_would_not_give_stay_in_memory(change: dict[str, object], event: ChangeEvent) -> None:
    record = structs.replace(UPDATE, value=json.dumps(ENVELOPE | change).encode())
    event = parsed(record)
    assert undecoded(event, record) is event
