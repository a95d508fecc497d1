"""What the confluent member makes of errors between records, which a real broker can not be made to send so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition
from kafka.errors import CorruptRecordError, KafkaStorageError

from consumer.settings.sections import Kafka
from consumer.source.clients.confluent_member import ConfluentMember

CORRUPT, STORAGE = 2, 56
TOPIC = "t.trading.live_users"


def message(offset: int, error: int | None = None, topic: str | None = TOPIC) -> SimpleNamespace:
    """As the client's: a record, or an error of a partition, or one without a topic."""
    return SimpleNamespace(
        error=lambda: None if error is None else KafkaError(error),
        topic=lambda: topic,
        partition=lambda: 0,
        offset=lambda: offset,
        timestamp=lambda: (1, 0),
        key=lambda: b"",
        value=lambda: b"",
        headers=lambda: None,
    )


class Queue:
    """The client's, with the messages of each poll. It counts how often the partitions began again."""

    def __init__(self, *polls: Sequence[SimpleNamespace]) -> None:
        self._polls = [list(each) for each in polls]
        self.begun: list[list[tuple[str, int, int]]] = []

    def poll(self, _: float) -> SimpleNamespace | None:
        self._now = self._polls.pop(0) if self._polls else []
        return self._now.pop(0) if self._now else None

    def consume(self, *_: float) -> list[SimpleNamespace]:
        return self._now

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(TOPIC, 0)]

    def position(self, parts: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(part.topic, part.partition, 7) for part in parts]

    def assign(self, parts: list[TopicPartition]) -> None:
        self.begun.append([(part.topic, part.partition, part.offset) for part in parts])


@pytest.fixture
def member() -> Iterator[ConfluentMember]:
    member = ConfluentMember(Kafka(topic_prefix="t", bootstrap_servers="127.0.0.1:1", group_id="g"))
    client = member._consumer
    yield member
    client.close()


def read(member: ConfluentMember, queue: Queue) -> list[Any]:
    """Offsets or the class of the error, of each read until nothing comes."""
    member._consumer = queue  # type: ignore[assignment]
    found: list[Any] = []
    while True:
        try:
            records = member.read(0)
        except Exception as error:
            found.append(type(error))
            continue
        if not records:
            return found
        found.append([record.offset for record in records])


def test_hundreds_of_the_same_error_are_one(member: ConfluentMember) -> None:
    queue = Queue([message(0, CORRUPT) for _ in range(300)], [message(7)])
    assert read(member, queue) == [CorruptRecordError, [7]]


def test_records_come_before_the_errors_of_the_same_poll(member: ConfluentMember) -> None:
    queue = Queue([message(5), message(0, CORRUPT), message(6), message(0, STORAGE), message(0, CORRUPT)], [message(7)])
    assert read(member, queue) == [[5, 6], CorruptRecordError, KafkaStorageError, [7]]


def test_after_an_error_of_a_partition_all_begin_again_at_their_places(member: ConfluentMember) -> None:
    queue = Queue([message(5)], [message(0, CORRUPT)], [message(7)])
    assert read(member, queue) == [[5], CorruptRecordError, [7]]
    assert queue.begun == [[(TOPIC, 0, 7)]]


def test_after_another_error_none_begins_again(member: ConfluentMember) -> None:
    queue = Queue([message(0, STORAGE, topic=None)], [message(7)])
    assert read(member, queue) == [KafkaStorageError, [7]]
    assert queue.begun == []
