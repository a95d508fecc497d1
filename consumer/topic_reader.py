"""Topics read once, whole or only their newest records, by a client that is in no group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from consumer.errors import ConfigError, ServerUnavailable
from consumer.kafka_client import failed, open_consumer, to_record
from consumer.kafka_client import topics as present_topics
from consumer.record import SourceRecord
from consumer.sections import Kafka

_POLL_MS = 500
# A look at a topic: so many records of each partition, not many more than so many in all, and not longer than that.
_NEWEST = 10
_NEWEST_IN_ALL = 500
_LOOK_S = 10.0
# A broker that hangs: its client would ask for ever.
_SILENCE_S = 30.0


def read_to_end(settings: Kafka, topics: Sequence[str]) -> Iterator[SourceRecord]:
    """Every record of ``topics`` up to the ends that they had at the start, partition by partition.

    Raises:
        ConfigError: a topic does not exist.
        ServerUnavailable: the broker went away.
        ServerError: it has records that can't be read.

    """
    present = present_topics(settings)
    if missing := set(topics) - present.keys():
        raise ConfigError("TOPIC", f"no such topic: {', '.join(sorted(missing))}", allowed="a topic of this cluster")
    consumer = open_consumer(settings, auto_offset_reset="earliest")
    try:
        for topic in topics:
            for number in range(present[topic]):
                part = TopicPartition(topic, number)
                consumer.assign([part])
                consumer.seek_to_beginning(part)
                end = consumer.end_offsets([part])[part]
                # The position passes transaction markers and compacted gaps; the last record's offset may not.
                deadline = time.monotonic() + _SILENCE_S
                while (place := consumer.position(part)) < end:
                    polled = consumer.poll(timeout_ms=_POLL_MS)
                    yield from (to_record(record) for record in polled.get(part, ()) if record.offset < end)
                    if consumer.position(part) > place:
                        deadline = time.monotonic() + _SILENCE_S
                    elif time.monotonic() > deadline:
                        raise KafkaTimeoutError(f"no record of {topic} came for {_SILENCE_S:.0f} s")
    except Exception as error:
        raise failed(error) from None
    finally:
        consumer.close(autocommit=False)


def ends(settings: Kafka, topic: str) -> dict[int, int]:
    """The next offset of each partition of ``topic``; none if there is no such topic.

    Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.kafka_client.open_consumer`.
    """
    consumer = open_consumer(settings)
    try:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        return {part.partition: end for part, end in consumer.end_offsets(parts).items()} if parts else {}
    except Exception as error:
        raise failed(error) from None
    finally:
        consumer.close(autocommit=False)


def read_newest(settings: Kafka, topic: str) -> list[SourceRecord]:
    """The last few records of each partition of ``topic``, as many as come within a few seconds.

    Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.kafka_client.open_consumer`.
        ServerError: the topic has records that can't be read.

    """
    consumer = open_consumer(settings, auto_offset_reset="earliest")
    found: list[SourceRecord] = []
    deadline = time.monotonic() + _LOOK_S
    try:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        each = max(1, min(_NEWEST, _NEWEST_IN_ALL // max(1, len(parts))))
        first, ends = consumer.beginning_offsets(parts), consumer.end_offsets(parts)
        parts = [part for part in parts if first[part] < ends[part]]
        consumer.assign(parts)
        for part in parts:
            consumer.seek(part, max(first[part], ends[part] - each))
        while time.monotonic() < deadline and any(consumer.position(part) < ends[part] for part in parts):
            for part, records in consumer.poll(timeout_ms=_POLL_MS).items():
                found += [to_record(record) for record in records if record.offset < ends[part]]
    except Exception as error:
        raise failed(error) from None
    finally:
        consumer.close(autocommit=False)
    if parts and not found and time.monotonic() >= deadline:
        raise ServerUnavailable("Kafka", f"no record of {topic} within {_LOOK_S:g} s")
    return found
