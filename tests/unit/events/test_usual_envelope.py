"""An envelope of the usual form is decoded in one step, and any other in two: both give the same change event."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from consumer.errors import RecordError
from consumer.events import envelope
from consumer.events.avro import NO_SCHEMAS
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.events.record import SourceRecord
from consumer.source.recording import read
from tests.support.stack.login import PROJECT

RECORDINGS = [*sorted(PROJECT.glob("tests/recordings/**/*.jsonl*")), PROJECT / "demo/recordings/trading.jsonl.gz"]
DATABASES = (frozenset[str](), frozenset({"trading"}), frozenset({"public"}), frozenset({"elsewhere"}))


def answers(record: SourceRecord, databases: frozenset[str]) -> object:
    try:
        return parse(record, NO_SCHEMAS, databases)
    except RecordError as error:
        return type(error), str(error)


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: file.name)
def test_both_ways_give_the_same_event_of_every_recorded_record(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = list(read(file))
    usual = [[answers(record, databases) for databases in DATABASES] for record in records]
    monkeypatch.setattr(envelope, "usual_envelope", lambda value: None)
    assert [[answers(record, databases) for databases in DATABASES] for record in records] == usual


ODD: tuple[object, ...] = (
    None,
    "",
    "x",
    -1,
    0,
    True,
    1.5,
    2**63,
    10**20,
    [],
    {},
    "incremental",
    "false",
    msgspec.UNSET,
)


def paths(value: object, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [at]
    return [at, *(path for name, each in value.items() for path in paths(each, (*at, name)))][0 if at else 1 :]


def changed(value: dict[str, object], path: tuple[str, ...], odd: object) -> dict[str, object]:
    name, *rest = path
    if rest:
        inner = value[name]
        assert isinstance(inner, dict)
        return value | {name: changed(inner, tuple(rest), odd)}
    return {each: found for each, found in (value | {name: odd}).items() if found is not msgspec.UNSET}


@pytest.mark.parametrize("database", ["mysql", "mariadb", "postgres"])
def test_both_ways_give_the_same_answer_whatever_is_wrong_with_a_record(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = list(read(PROJECT / f"tests/recordings/scenarios-{database}-json.jsonl.gz"))
    record = next(
        each for each in records if isinstance(found := answers(each, DATABASES[0]), ChangeEvent) and found.before
    )
    value = msgspec.json.decode(record.value or b"")
    odd = [
        msgspec.structs.replace(record, value=msgspec.json.encode(changed(value, path, one)))
        for path in paths(value)
        for one in ODD
    ]
    assert len(odd) > 500
    usual = [[answers(each, databases) for databases in DATABASES] for each in odd]
    monkeypatch.setattr(envelope, "usual_envelope", lambda value: None)
    for each, expected in zip(odd, usual, strict=True):
        assert [answers(each, databases) for databases in DATABASES] == expected, each.value
