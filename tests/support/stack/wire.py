"""Records as they lie in Kafka, for tests that look at the wire itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from consumer.events.record import SourceRecord
from tests.support.stack.kafka import PATIENT, Kafka

POLL_MS = 50


@dataclass(frozen=True, slots=True)
class Record:
    """One record, bytes as sent."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None

    @property
    def source_record(self) -> SourceRecord:
        """The record as the program takes it."""
        return SourceRecord(self.topic, self.partition, self.offset, 0, self.key, self.value)

    @property
    def envelope(self) -> Any:
        """The value read as JSON; None for a tombstone."""
        return None if self.value is None else json.loads(self.value)


def read(
    kafka: Kafka, topics: Iterable[str], enough: Callable[[list[Record]], bool], timeout_s: float = 20.0
) -> list[Record]:
    """Read from the beginning until ``enough`` says so. Topics may come into being while it waits.

    Partitions are assigned by hand: a subscription without a group starts over with each new topic.
    """
    wanted, found = set(topics), list[Record]()
    assigned: set[TopicPartition] = set()
    deadline = time.monotonic() + timeout_s
    consumer = KafkaConsumer(**PATIENT, bootstrap_servers=kafka.bootstrap_servers, enable_auto_commit=False)
    try:
        while not enough(found):
            if time.monotonic() > deadline:
                got = ", ".join(f"{each.topic} {each.key!r}" for each in found) or "nothing"
                raise TimeoutError(f"not enough records in {sorted(wanted)} after {timeout_s:g} s; got {got}")
            if fresh := _partitions(consumer, wanted) - assigned:
                assigned |= fresh
                positions = {each: consumer.position(each) for each in assigned - fresh}
                consumer.assign(list(assigned))
                for each in assigned:
                    consumer.seek(each, positions.get(each, 0))
            for batch in consumer.poll(POLL_MS).values():
                found += [Record(each.topic, each.partition, each.offset, each.key, each.value) for each in batch]
            if not assigned:
                time.sleep(POLL_MS / 1000)
    finally:
        consumer.close()
    return found


def _partitions(consumer: KafkaConsumer, topics: set[str]) -> set[TopicPartition]:
    """The partitions that exist now. Asking for a topic by name would create it; asking for all does not."""
    existing = topics & set(consumer.topics())
    return {TopicPartition(topic, number) for topic in existing for number in consumer.partitions_for_topic(topic)}
