"""The recording that the demo plays: complete, in order, and without anything that must stay in the database."""

from __future__ import annotations

import gzip
from itertools import groupby

import pytest

from consumer.events.event import Operation
from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.planning.decision import Outcome, decide
from consumer.source import recording
from demo import recorded, story
from demo.admin import STEPS
from demo.expectation import Expected
from demo.outcome import OUTCOMES
from demo.record import in_order


@pytest.fixture(scope="module")
def records() -> list[SourceRecord]:
    return list(recording.read(recorded.RECORDING))


def test_holds_every_kind_of_record(records: list[SourceRecord]) -> None:
    decisions = [decide(record, reference()) for record in records]
    operations = {decision.event.op for decision in decisions if decision.event is not None}
    assert operations == {Operation.READ, Operation.CREATE, Operation.UPDATE, Operation.DELETE}
    assert {decision.outcome for decision in decisions} == {Outcome.PLANNED, Outcome.NOTHING, Outcome.IGNORED}
    assert any(record.value is None for record in records)
    assert any(record.headers for record in records)
    assert {record.topic for record in records} == set(recorded.TOPICS)


def test_each_partition_is_whole_and_in_order(records: list[SourceRecord]) -> None:
    by_partition = sorted(records, key=lambda each: (each.topic, each.partition))
    for _, group in groupby(by_partition, lambda each: (each.topic, each.partition)):
        offsets = [each.offset for each in group]
        assert offsets == list(range(len(offsets)))


def test_the_order_does_not_depend_on_how_the_records_came(records: list[SourceRecord]) -> None:
    assert in_order(reversed(records)) == records


def test_is_small_and_holds_no_secret(records: list[SourceRecord]) -> None:
    assert recorded.RECORDING.stat().st_size < 100_000
    text = b"".join((record.key or b"") + (record.value or b"") for record in records)
    assert len(gzip.decompress(recorded.RECORDING.read_bytes())) > len(text)
    for secret in (b"example.org", b"Ada", b"Bob", b"Eve", b"Fay", b"password"):
        assert secret not in text


def test_the_story_has_a_chapter_for_each_step_and_one_for_the_snapshot() -> None:
    chapters = story.load(recorded.STORY)
    assert [chapter.title for chapter in chapters[1:]] == [step.title for step in STEPS]
    assert [chapter.until for chapter in chapters] == sorted(chapter.until for chapter in chapters)


def test_the_expected_end_state_knows_who_stays_and_who_is_gone() -> None:
    expected = Expected.load(recorded.EXPECTED)
    assert set(expected.users) == {"live:7", "live:43", "demo:7", "demo:42"}
    assert set(expected.gone) == {"live:8", "live:42"}


def test_every_step_has_an_outcome() -> None:
    assert [step.name for step in STEPS] == list(OUTCOMES)
