"""Which offsets may be committed after Kafka said that it does not know a topic."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kafka.errors import KafkaTimeoutError

from consumer.events.record import Partition
from consumer.source.clients.member import Extent
from consumer.source.deleted_topics import DeletedTopics

A, B, OTHER = Partition("a", 0), Partition("b", 0), Partition("c", 0)
OFFSETS = {A: 50, B: 50, OTHER: 50}


class Kafka:
    """Topics with so many records; it does not answer about others."""

    def __init__(self, **ends: int) -> None:
        self.ends = ends
        self.asked: list[str] = []
        self.now = 0.0

    def look_up(self, partitions: Collection[Partition]) -> Mapping[Partition, Extent]:
        (topic,) = {part.topic for part in partitions}
        self.asked.append(topic)
        if topic not in self.ends:
            raise KafkaTimeoutError
        return {part: Extent(0, self.ends[topic]) for part in partitions}


def doubted(kafka: Kafka) -> DeletedTopics:
    topics = DeletedTopics(kafka.look_up, lambda: kafka.now)
    topics.doubt([A, B])
    return topics


def test_offsets_that_the_topic_has_are_committed() -> None:
    topics = doubted(Kafka(a=50, b=49))
    assert topics.committable(OFFSETS, may_ask=True) == {A: 50, OTHER: 50}
    assert topics.committable(OFFSETS, may_ask=False) == {A: 50, OTHER: 50}
    topics.trust([B])
    assert topics.committable(OFFSETS, may_ask=False) == OFFSETS


def test_nobody_is_asked_where_nothing_may_be_asked() -> None:
    kafka = Kafka(a=50, b=50)
    assert doubted(kafka).committable(OFFSETS, may_ask=False) == {OTHER: 50}
    assert kafka.asked == []


def test_after_a_look_up_without_an_answer_there_is_a_pause_and_then_another_topic_is_first() -> None:
    kafka = Kafka(b=50)
    topics = doubted(kafka)
    assert topics.committable(OFFSETS, may_ask=True) == {OTHER: 50}
    assert topics.committable(OFFSETS, may_ask=True) == {OTHER: 50}
    assert kafka.asked == ["a"]
    kafka.now = 5.0
    assert topics.committable(OFFSETS, may_ask=True) == {B: 50, OTHER: 50}
    assert kafka.asked == ["a", "b", "a"]
