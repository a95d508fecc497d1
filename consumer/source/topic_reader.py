"""Reads topics once, completely or only their newest records, with a client outside of any group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from consumer.errors import ConfigError, ServerUnavailable
from consumer.events.record import SourceRecord
from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import beginning_offsets, end_offsets, failed, open_consumer
from consumer.source.clients.kafka import topics as present_topics

_POLL_MS = 500
# Limits of a read of the newest records: per partition, approximately in total, and in seconds.
_NEWEST = 10
_NEWEST_IN_ALL = 500
_READ_S = 10.0
# Without this limit the client would ask a hanging broker for ever.
_SILENCE_S = 30.0


def read_to_end(settings: Kafka, topics: Sequence[str]) -> Iterator[SourceRecord]:
    """Every record of ``topics`` up to the ends at the start of the call, partition by partition.

    Raises:
        ConfigError: a topic does not exist.
        ServerUnavailable: the broker went away.
        ServerError: a topic has records that can't be read.

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
                end = end_offsets(consumer, [part])[part]
                # The position also passes transaction markers and compacted gaps; the last record's offset may not.
                deadline = time.monotonic() + _SILENCE_S
                while (place := consumer.position(part)) < end:
                    polled = consumer.poll(timeout_ms=_POLL_MS)
                    yield from (record for record in polled.get(part, ()) if record.offset < end)
                    if consumer.position(part) > place:
                        deadline = time.monotonic() + _SILENCE_S
                    elif time.monotonic() > deadline:
                        raise KafkaTimeoutError(f"no record of {topic} arrived for {_SILENCE_S:.0f} s")
    except Exception as error:
        raise failed(error) from None
    finally:
        consumer.close(autocommit=False)


def ends(settings: Kafka, topic: str) -> dict[int, int]:
    """The end offset of each partition of ``topic``; empty if there is no such topic.

    Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.source.clients.kafka.open_consumer`.
    """
    consumer = open_consumer(settings)
    try:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        return {part.partition: end for part, end in end_offsets(consumer, parts).items()}
    except Exception as error:
        raise failed(error) from None
    finally:
        consumer.close(autocommit=False)


def read_edges(settings: Kafka, topics: Sequence[str]) -> list[SourceRecord]:
    """The first and the last few records of each partition of ``topics``; stops after some seconds.

    Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.source.clients.kafka.open_consumer`.
        ServerError: a topic has records that can't be read.

    """
    return _read_some(settings, topics, has_oldest=True)


def read_newest(settings: Kafka, topic: str) -> list[SourceRecord]:
    """The last few records of each partition of ``topic``; stops after some seconds.

    Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.source.clients.kafka.open_consumer`.
        ServerError: the topic has records that can't be read.

    """
    return _read_some(settings, [topic], has_oldest=False)


def _read_some(settings: Kafka, topics: Sequence[str], *, has_oldest: bool) -> list[SourceRecord]:
    consumer = open_consumer(settings, auto_offset_reset="earliest")
    found: list[SourceRecord] = []
    deadline = time.monotonic() + _READ_S
    try:
        parts = [
            TopicPartition(topic, number) for topic in topics for number in consumer.partitions_for_topic(topic) or ()
        ]
        each = max(1, min(_NEWEST, _NEWEST_IN_ALL // max(1, len(parts))))
        first, ends = beginning_offsets(consumer, parts), end_offsets(consumer, parts)
        parts = [part for part in parts if first[part] < ends[part]]
        newest = {part: (max(first[part], ends[part] - each), ends[part]) for part in parts}
        if has_oldest:
            oldest = {part: (first[part], min(first[part] + each, newest[part][0])) for part in parts}
            found += _read(consumer, oldest, deadline)
        found += _read(consumer, newest, deadline)
    except Exception as error:
        raise failed(error) from None
    finally:
        consumer.close(autocommit=False)
    if parts and not found and time.monotonic() >= deadline:
        raise ServerUnavailable("Kafka", f"no record of {', '.join(topics)} within {_READ_S:g} s")
    return found


def _read(
    consumer: KafkaConsumer, spans: Mapping[TopicPartition, tuple[int, int]], deadline: float
) -> Iterator[SourceRecord]:
    """The records of these ranges that arrive before ``deadline``."""
    left = {part: end for part, (begin, end) in spans.items() if begin < end}
    consumer.assign(list(left))
    for part in left:
        consumer.seek(part, spans[part][0])
    while time.monotonic() < deadline and any(consumer.position(part) < end for part, end in left.items()):
        for part, records in consumer.poll(timeout_ms=_POLL_MS).items():
            yield from (record for record in records if record.offset < left[part])
