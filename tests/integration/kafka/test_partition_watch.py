"""A client that stops reading a partition, and the number of records left, on a real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaProducer
from structlog.testing import capture_logs

from consumer.source import group_consumer, partition_watch
from consumer.source.leaders import Leaders
from consumer.source.standstill import Answers, Standstill
from tests.e2e.topic import EITHER_CLIENT, Member, Topic
from tests.support.redis_view import eventually
from tests.support.stack import Stack

pytestmark = [pytest.mark.stack, EITHER_CLIENT]


@pytest.fixture
def topic(stack: Stack, topic_prefix: str, client: str) -> Iterator[Topic]:
    topic = Topic(stack, topic_prefix, client)
    topic.make(partitions=2)
    yield topic
    topic.close()


@pytest.fixture(autouse=True)
def checks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_watch, "_EVERY_S", 1.0)


def has_read(member: Member, count: int) -> Callable[[], bool]:
    def holds() -> bool:
        member.poll()
        return len(member.offsets) == count

    return holds


def left(member: Member) -> list[int | None]:
    """The records that are left in each partition."""
    member.poll()
    return [each for _, each in sorted(member.source.lag().items())]


def answers(monkeypatch: pytest.MonkeyPatch) -> list[Answers]:
    """What the leaders answer from now on."""
    seen, take = list[Answers](), Standstill.answered

    def keep(standstill: Standstill, found: Answers, *given: Any, **more: Any) -> None:
        seen.append(found)
        take(standstill, found, *given, **more)

    monkeypatch.setattr(Standstill, "answered", keep)
    return seen


def test_a_partition_that_the_client_stops_reading_is_read_again(topic: Topic) -> None:
    """The fault is one that librdkafka had: the partition stays paused, and nobody knows."""
    with topic.member() as member:
        topic.send(2, partition=0)
        topic.send(3, partition=1)
        eventually(has_read(member, 5), 30)
        eventually(lambda: left(member) == [0, 0], 30)
        member.source._member.pause([topic.part])
        topic.send(1, partition=1)
        eventually(has_read(member, 6), 30, "the other one is read")
        topic.send(4, partition=0)
        eventually(lambda: left(member) == [4, 0] or len(member.offsets) == 10, 30, "the records are counted")
        with capture_logs() as lines:
            eventually(has_read(member, 10), 30)
        assert [line["partitions"] for line in lines if line.get("action") == "partitions.stuck"] == [
            f"{topic.name}[0]"
        ]
        assert sorted(member.offsets) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5], "each was read once"


def test_a_member_with_nothing_to_read_does_not_stand_still(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """One partition was read before, the other one is empty."""
    monkeypatch.setattr(partition_watch, "_EVERY_S", 0.2)
    monkeypatch.setattr(group_consumer, "_PARTITIONS_AGE_S", 0.1)
    topic.send(2, partition=0)
    topic.commit(2, partition=0)
    seen = answers(monkeypatch)
    with topic.member() as member, capture_logs() as lines:
        eventually(lambda: left(member) == [0, 0] and len(seen) >= 10, 30)
        assert seen[-1] == Answers({topic.part: 2, topic.part._replace(number=1): 0}, frozenset())
        assert member.offsets == []
    assert not [line for line in lines if line.get("action") in ("partitions.stuck", "kafka.waiting")]


def test_a_topic_that_is_deleted_stays_deleted(topic: Topic, stack: Stack, topic_prefix: str, client: str) -> None:
    """A question about it would create it again, if brokers create topics by themselves."""
    other = Topic(stack, topic_prefix, client)
    other.name = f"{topic_prefix}.trading.other"
    other.make()
    leaders = Leaders(topic.settings())

    def ask() -> Answers:
        leaders.ask([topic.part, other.part])
        return answer_of(leaders)

    assert ask() == Answers({topic.part: 0, other.part: 0}, frozenset())
    topic.delete()
    for _ in range(3):
        assert ask() == Answers({other.part: 0}, frozenset())
    assert not topic._exists()
    leaders.close()
    other.delete()


def answer_of(leaders: Leaders) -> Answers:
    found: list[Answers | None] = []

    def has_answered() -> bool:
        found.append(leaders.answer())
        return found[-1] is not None

    eventually(has_answered, 30)
    assert found[-1] is not None
    return found[-1]


def test_the_marker_at_the_end_of_a_transaction_is_not_a_record_that_is_left(topic: Topic, stack: Stack) -> None:
    """Debezium with exactly-once delivery writes transactions."""
    with topic.member() as member:
        producer = KafkaProducer(bootstrap_servers=stack.kafka.bootstrap_servers, transactional_id=topic.prefix)
        producer.init_transactions()
        producer.begin_transaction()
        for partition in (0, 1):
            producer.send(topic.name, b"record", partition=partition)
        producer.commit_transaction()
        producer.close()
        eventually(has_read(member, 2), 30)
        eventually(lambda: left(member) == [0, 0], 10)
