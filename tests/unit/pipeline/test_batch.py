"""What a batch makes of records that were done before, and of those that it is to drop; and how its plans are tried."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import pytest
from msgspec.structs import replace

from consumer.errors import ServerError, ServerUnavailable, UnknownReply
from consumer.events.record import Partition, SourceRecord
from consumer.guard.version import Verdict
from consumer.mapping.reference import reference
from consumer.pipeline.batch import Batch, Delivery, InFlight
from consumer.pipeline.protocols import Applied, Polled
from consumer.planning.decision import decide_all
from consumer.planning.effect import Plan
from consumer.planning.mark import mark_refused
from consumer.planning.shape import Mode
from tests.support.scenario import load_all

RULES = reference()
DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0]
DONE = Applied(Verdict.NEWER, None, None, 0, 0, "")


def deposits(*places: tuple[int, int]) -> list[SourceRecord]:
    """By partition and offset."""
    return [replace(DEPOSIT.record(offset), partition=number) for number, offset in places]


def batch_of(records: Sequence[SourceRecord], generations: Mapping[int, int] | None = None) -> Batch:
    topic = records[0].topic
    parts = {Partition(topic, number): generation for number, generation in (generations or {}).items()}
    return Batch(records, decide_all(records, RULES), "g", frozenset(), parts)


def delivery_of(batch: Batch, attempts: int = 3) -> Delivery:
    return Delivery(batch.plans(), lambda at: batch.plans()[at], lambda plan: mark_refused(plan, RULES), attempts)


class Answering:
    """A sink that answers each plan by what ``answer`` says of it; it keeps what it was asked."""

    def __init__(self, **answers: Applied | ServerError) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        for at, plan in enumerate(plans):
            self.asked.append(plan.mode)
            yield at, self._answers.get(plan.mode, DONE)

    def store_offsets(self, offsets: Mapping[Partition, int], replay_key: str = "") -> bool:
        return True

    def advance(self, offsets: Mapping[Partition, int]) -> bool:
        return True

    def stored_offsets(self) -> Mapping[Partition, int]:
        return {}

    def store_stop_offsets(self, offsets: Mapping[Partition, int]) -> None: ...

    def delete_stop_offsets(self, partitions: Collection[Partition]) -> None: ...

    def accept_new_connection(self) -> None: ...


def test_what_is_read_again_is_done_again_and_told_nobody() -> None:
    records = [DEPOSIT.record(1), DEPOSIT.record(2)]
    plans = Batch(records, decide_all(records, RULES), "g", frozenset({0})).plans()
    assert [(plan.is_repeated, bool(plan.messages)) for plan in plans.values()] == [(True, False), (False, True)]


def test_records_of_an_older_assignment_are_neither_tried_nor_done() -> None:
    batch = batch_of(deposits((0, 1), (1, 1), (0, 2)), {0: 1, 1: 1})
    in_flight = InFlight(batch, delivery_of(batch), None)
    topic = batch.records[0].topic
    in_flight.drop_revoked({Partition(topic, 0): 1, Partition(topic, 1): 2})
    sink = Answering()
    in_flight.delivery.attempt(sink)
    batch.answers = in_flight.delivery.answers
    assert len(sink.asked) == 2
    assert [result.record.place for result in batch.results()] == [batch.records[0].place, batch.records[2].place]
    assert list(batch.judged()) == [0, 2]


def test_every_mark_of_a_record_that_stays_is_set() -> None:
    """A record that can't be read may be of several tables. Only the first mark has the record's number."""
    unread, other = deposits((0, 5), (1, 7))
    unread = replace(unread, value=b"no JSON", topic="unknown.topic")
    records = [unread, other]
    decisions = decide_all(records, RULES)
    parts = {Partition.of(each): 1 for each in records}
    batch = Batch(records, decisions, "g", frozenset(), parts)
    flight = InFlight(batch, delivery_of(batch), None)
    flight.drop_revoked(parts | {Partition.of(other): 2})
    assert batch.dropped == {1}
    sink = Answering()
    flight.delivery.attempt(sink)
    assert sink.asked == ["mark"] * len(decisions[0].marks)
    assert len(sink.asked) > 1


def test_answers_to_what_was_dropped_since_are_taken_and_count_for_nothing() -> None:
    batch = batch_of(deposits((0, 1)), {0: 1})
    in_flight, sink = InFlight(batch, delivery_of(batch), None), Answering()
    in_flight.delivery.begin(sink)
    in_flight.drop_revoked({})
    over = [in_flight.delivery.is_over]  # nothing else may be asked of the sink before the answers are taken
    in_flight.delivery.attempt(sink)
    over.append(in_flight.delivery.is_over)
    assert over == [False, True]
    assert in_flight.delivery.answers == {}
    assert batch.results() == []


def test_a_dead_letter_of_an_older_assignment_is_not_written() -> None:
    bad = replace(DEPOSIT.record(1), value=b"no JSON")
    batch = batch_of([bad], {0: 1})
    assert len(batch.letters()) == 1
    assert batch.drop_revoked({Partition(bad.topic, 0): 2})
    assert batch.letters() == []


def test_of_two_polls_only_the_current_assignment_counts() -> None:
    first, second = deposits((0, 1), (1, 1)), deposits((0, 5))
    topic = first[0].topic
    one, other = Partition(topic, 0), Partition(topic, 1)
    polled = Polled(first, {one: 1, other: 1}).and_then(Polled(second, {one: 2, other: 1}))
    assert polled == Polled([first[1], second[0]], {one: 2, other: 1})


@pytest.mark.parametrize("attempts", [1, 3])
def test_an_unknown_reply_is_tried_again_so_often_and_then_refuses_the_plan(attempts: int) -> None:
    batch = batch_of(deposits((0, 1)))
    delivery = delivery_of(batch, attempts)
    sink = Answering(change=UnknownReply("Redis", "ERR what", "look", "ERR"))
    for _ in range(attempts - 1):
        with pytest.raises(UnknownReply):
            delivery.attempt(sink)
    while not delivery.is_over:
        delivery.attempt(sink)
    assert sink.asked == [Mode.CHANGE] * attempts + [Mode.MARK]
    (refused,) = delivery.refused.values()
    assert (refused.problem, refused.cause, refused.advice) == ("ERR what", "ERR", "look")


def test_while_redis_does_not_even_take_the_mark_it_is_no_fault_of_one_plan() -> None:
    delivery = delivery_of(batch_of(deposits((0, 1))), 1)
    unknown = UnknownReply("Redis", "ERR what")
    sink = Answering(change=unknown, mark=unknown)
    delivery.attempt(sink)
    for _ in range(100):
        with pytest.raises(UnknownReply):
            delivery.attempt(sink)
    assert not delivery.is_over


def test_a_server_that_is_away_uses_no_attempt_up() -> None:
    delivery = delivery_of(batch_of(deposits((0, 1))), 2)
    away = Answering(change=ServerUnavailable("Redis", "away"))
    for _ in range(100):
        with pytest.raises(ServerUnavailable):
            delivery.attempt(away)
    delivery.attempt(Answering())
    assert delivery.refused == {}
