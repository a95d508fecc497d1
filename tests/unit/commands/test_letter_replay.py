"""What would become of a dead letter, by what its topic and Redis hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest
from msgspec import structs

from consumer.commands.shared.dead_letters.reapply import OF_OLD_TOPIC, LetterHistory, predicted
from consumer.errors import Undecodable
from consumer.events.avro import NO_SCHEMAS
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.events.record import Partition, SourceRecord
from consumer.guard.search import Coverage
from consumer.guard.state import GuardState
from consumer.guard.version import Version
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.pipeline.dead_letter import DeadLetter
from consumer.pipeline.letter_state import LetterResult, LetterStates, Outcome
from consumer.planning.decision import decide
from consumer.planning.effect import Plan
from consumer.sink.comparison import StoredKeys
from tests.support.scenario import load_all

RULES = reference()
DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0]
LATER_MS = 600_000


class RedisStub:
    """Holds a version of the user, and nothing else."""

    def __init__(self, version: str) -> None:
        self._version = version

    def stored_keys(self, plans: Sequence[Plan]) -> Sequence[StoredKeys]:
        return [StoredKeys(version=self._version) for _ in plans]

    def guards(self, users: Sequence[UserId], rules: Rules) -> Sequence[GuardState]:
        return [GuardState.read({"live_users": self._version}) for _ in users]


class TopicStub:
    """The records of the one partition."""

    def __init__(self, *records: SourceRecord) -> None:
        self._records = records

    def offset_at(self, partition: Partition, since_ms: int) -> int:
        return next((each.offset for each in self._records if each.timestamp_ms >= since_ms), 0)

    def changes(self, partition: Partition, begin: int, end: int) -> Iterator[tuple[Sequence[ChangeEvent], int]]:
        found = [parse(each) for each in self._records if begin <= each.offset < end]
        yield [each for each in found if isinstance(each, ChangeEvent)], end

    def coverage(self, partition: Partition) -> Coverage:
        return Coverage(0, 0)


def version(offset: int, later_ms: int = 0) -> Version:
    """Of a change at ``offset``."""
    plan = decide(DEPOSIT.record(offset), RULES).plan
    assert plan is not None
    known = plan.version
    return structs.replace(known, written_ms=known.written_ms + later_ms, ts_ms=known.ts_ms + later_ms)


def result(record: SourceRecord, stored: str, topic: TopicStub, partitions: Mapping[str, int]) -> LetterResult:
    """The expected result of the letter of ``record``."""
    letter = DeadLetter(record, Undecodable("7 bytes"), (UserId("live", 123),), "g", ("live_users",))
    states = LetterStates("g")
    states.add(SourceRecord("dlq", 0, 0, 0, record.key, record.value, tuple(letter.headers())))
    history = LetterHistory(topic, 5000, partitions)
    (found,) = predicted(states.open(), RedisStub(stored), RULES, NO_SCHEMAS, history)
    return found


def test_a_copy_that_debezium_sent_again_has_no_effect() -> None:
    """Its first record, at 10, was applied, and a newer change, at 12, too."""
    first, later = DEPOSIT.record(10), DEPOSIT.record(12)
    copy = structs.replace(first, offset=50, timestamp_ms=first.timestamp_ms + LATER_MS)
    found = result(copy, version(12).to_text(), TopicStub(first, later), {first.topic: 1})
    assert (found.outcome, found.why) == (Outcome.NOTHING, "sent before, at offset 10: Debezium sends it again")


def test_a_change_that_was_not_sent_before_is_applied() -> None:
    record = DEPOSIT.record(50)
    topic = TopicStub(DEPOSIT.record(10), DEPOSIT.record(12))
    assert result(record, version(12).to_text(), topic, {record.topic: 1}).outcome is Outcome.APPLIED
    assert result(record, version(12).to_text(), topic, {}).outcome is Outcome.APPLIED, "the topic is gone"


@pytest.mark.parametrize(
    ("later_ms", "suffix", "outcome", "why"),
    [
        (LATER_MS, "", Outcome.STAYS, OF_OLD_TOPIC),
        (LATER_MS, "|d", Outcome.SUPERSEDED, ""),
        (0, "", Outcome.APPLIED, ""),
    ],
    ids=["a new topic", "the user was deleted since", "the same topic"],
)
def test_a_higher_offset_is_not_newer_in_a_topic_that_was_created_again(
    later_ms: int, suffix: str, outcome: Outcome, why: str
) -> None:
    record, stored = DEPOSIT.record(48_213), version(5, later_ms).to_text() + suffix
    found = result(record, stored, TopicStub(), {record.topic: 1})
    assert (found.outcome, found.why) == (outcome, why)


def test_a_tombstone_deletes_the_user_if_the_topic_no_longer_has_the_delete() -> None:
    update = DEPOSIT.record(50)
    tombstone = structs.replace(update, value=None)
    delete = next(each for each in load_all() if each.title.startswith("A deleted user")).changes[0].record(49)
    known, partitions = version(12).to_text(), {update.topic: 1}
    assert result(tombstone, known, TopicStub(DEPOSIT.record(12)), partitions).outcome is Outcome.APPLIED
    found = result(tombstone, known, TopicStub(DEPOSIT.record(12), delete), partitions)
    assert (found.outcome, found.why) == (Outcome.NOTHING, "a tombstone: the delete came before it")
