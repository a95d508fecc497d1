"""Topics read once from beginning to end, by a client that is in no group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kafka import TopicPartition
from kafka.errors import KafkaError

from consumer.config import Kafka
from consumer.errors import ConfigError, ServerUnavailable
from consumer.kafka_client import open_consumer, to_record
from consumer.kafka_client import topics as present_topics
from consumer.record import SourceRecord

_POLL_MS = 500


def read_to_end(settings: Kafka, topics: Sequence[str]) -> Iterator[SourceRecord]:
    """Every record of ``topics`` up to the ends that they had at the start, partition by partition.

    Raises:
        ConfigError: a topic does not exist.
        ServerUnavailable: the broker went away.

    """
    present = present_topics(settings)
    if missing := set(topics) - present.keys():
        raise ConfigError("TOPIC", f"no such topic: {', '.join(sorted(missing))}", "a topic of this cluster")
    consumer = open_consumer(settings, auto_offset_reset="earliest")
    try:
        for topic in topics:
            for number in range(present[topic]):
                part = TopicPartition(topic, number)
                consumer.assign([part])
                consumer.seek_to_beginning(part)
                end = consumer.end_offsets([part])[part]
                # The position passes transaction markers and compacted gaps; the last record's offset may not.
                while consumer.position(part) < end:
                    polled = consumer.poll(timeout_ms=_POLL_MS)
                    yield from (to_record(record) for record in polled.get(part, ()) if record.offset < end)
    except KafkaError as error:
        raise ServerUnavailable("Kafka", type(error).__name__) from None
    finally:
        consumer.close(autocommit=False)
