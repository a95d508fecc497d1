"""An envelope of the usual form is decoded in one step, and any other in two: both give the same change event."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from consumer.errors import RecordError
from consumer.events import envelope, usual_envelope
from consumer.events.avro import NO_SCHEMAS
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.events.record import SourceRecord
from consumer.events.row import Row
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
    monkeypatch.setattr(envelope, "usual_envelope", lambda *_: None)
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


def after_usual(usual: SourceRecord, each: SourceRecord) -> list[object]:
    """The answers about ``each`` in a topic that had the record ``usual`` before, so that its columns are expected."""
    usual_envelope._expected.clear()
    parse(usual)
    return [answers(each, databases) for databases in DATABASES]


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
    usual = [after_usual(record, each) for each in odd]
    monkeypatch.setattr(envelope, "usual_envelope", lambda *_: None)
    for each, expected in zip(odd, usual, strict=True):
        assert [answers(each, databases) for databases in DATABASES] == expected, each.value


UPDATE = next(
    each
    for each in read(PROJECT / "tests/recordings/scenarios-mysql-json.jsonl.gz")
    if isinstance(found := answers(each, DATABASES[0]), ChangeEvent) and found.before
)


def with_columns(names: list[str]) -> SourceRecord:
    value = msgspec.json.decode(UPDATE.value or b"") | {each: dict.fromkeys(names, 1) for each in ("before", "after")}
    return msgspec.structs.replace(UPDATE, value=msgspec.json.encode(value))


def columns(record: SourceRecord) -> tuple[type, list[str]]:
    event = parse(record)
    assert isinstance(event, ChangeEvent)
    assert event.after is not None
    return type(event.after), list(event.after)


def test_the_columns_of_the_last_record_are_expected_and_others_are_read_as_well() -> None:
    usual_envelope._expected.clear()
    for names in (["id", "a"], ["id", "a", "b"], ["b", "id"], ["id"]):
        kinds = [columns(with_columns(names)) for _ in range(2)]
        assert [each for _, each in kinds] == [names, names]
        assert [issubclass(kind, Row) for kind, _ in kinds] == [False, True], "the second time they are expected"


def test_in_a_topic_of_many_tables_nothing_is_expected() -> None:
    usual_envelope._expected.clear()
    for at in range(20):
        columns(with_columns(["id", f"c{at}"]))
    assert [columns(with_columns(["id", "a"])) for _ in range(2)] == [(dict, ["id", "a"])] * 2


def test_so_many_topics_do_not_fill_the_memory() -> None:
    usual_envelope._expected.clear()
    for at in range(3000):
        parse(msgspec.structs.replace(UPDATE, topic=f"t{at}"))
    assert len(usual_envelope._expected) <= 1024


def test_a_column_may_have_any_name() -> None:
    usual_envelope._expected.clear()
    for names in (["id", 'note "x"'], ["id", "a\\b"], ["id", "line\nbreak"], ["id", ""], ["id", "größe"]):
        assert [columns(with_columns(names))[1] for _ in range(2)] == [names, names]
