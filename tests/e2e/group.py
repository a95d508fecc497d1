"""What the broker wrote down of a group."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition

from tests.support.stack.kafka import PATIENT, Kafka

GROUPS = "__consumer_offsets"
GROUP_METADATA = 2
"""The version of keys of that topic that speak of the group, not of its offsets."""


@dataclass(frozen=True)
class Written:
    """What the broker noted of a group: its generations, one each time that the group changed, and its commits."""

    generations: list[int]
    commits: int


def written(kafka: Kafka, group: str) -> Written:
    """Read from the broker's own topic; there is no request that answers with a generation."""
    consumer = KafkaConsumer(**PATIENT, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")
    try:
        parts = [TopicPartition(GROUPS, number) for number in consumer.partitions_for_topic(GROUPS) or ()]
        consumer.assign(parts)
        ends = consumer.end_offsets(parts)
        records = []
        while any(consumer.position(part) < ends[part] for part in parts):
            records += [record for batch in consumer.poll(100).values() for record in batch]
    finally:
        consumer.close()
    generations: list[int] = []
    commits = 0
    for record in records:
        (version,) = struct.unpack_from(">h", record.key)
        if _text(record.key, 2) != group or record.value is None:
            continue
        if version == GROUP_METADATA:
            protocol_type = _text(record.value, 2)
            generations += struct.unpack_from(">i", record.value, 4 + len(protocol_type))
        elif version < GROUP_METADATA:
            commits += 1
    return Written(generations, commits)


def _text(data: bytes, at: int) -> str:
    """Two bytes of length, then the text."""
    (length,) = struct.unpack_from(">h", data, at)
    return data[at + 2 : at + 2 + length].decode()
