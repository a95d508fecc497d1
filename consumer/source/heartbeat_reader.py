"""The time of a connector's newest heartbeat, or of its newest change. Read outside of the group."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from kafka import KafkaConsumer, TopicPartition

from consumer.errors import CdcError
from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import end_offsets, failed, open_consumer

_FETCH_BYTES = 65_536
# The last record of a partition may be a transaction marker: then the record before it has the time.
_LAST_RECORDS = 2
_POLL_MS = 200
_READ_S = 5.0
# Tables are read only if the newest heartbeat is older than this: during a snapshot Debezium sends no heartbeats.
_FRESH_S = 10.0


class HeartbeatReader:
    """Asks for the end offsets of the heartbeat topics, and reads the last record of each partition that has grown.

    If there is one heartbeat topic, changes in ``tables`` count as signs of the same connector. If there are several,
    it is not known which connector a change comes from.
    """

    def __init__(self, settings: Kafka, topics: Sequence[str], tables: Sequence[str]) -> None:
        self._settings = settings.model_copy(
            update={"fetch_max_bytes": 16 * _FETCH_BYTES, "max_partition_fetch_bytes": _FETCH_BYTES}
        )
        self._topics = topics
        self._tables = tables if len(topics) == 1 else ()
        self._consumer: KafkaConsumer | None = None
        self._ends: dict[TopicPartition, int] = {}
        self._newest: dict[str, float] = {}

    def look(self) -> Mapping[str, float | None]:
        """The newest time of each existing heartbeat topic, UTC seconds; None: the topic is empty.

        Raises:
            ServerError, ConfigError: Kafka can't be asked; the next call connects again.
        """
        try:
            return self._newest_times()
        except Exception as error:  # the client raises many kinds
            self.close()
            if isinstance(error, CdcError):
                raise
            raise failed(error) from None

    def close(self) -> None:
        """Close the connection. Only from the thread that calls :meth:`look`."""
        consumer, self._consumer = self._consumer, None
        self._ends.clear()
        if consumer is not None:
            consumer.close(autocommit=False, timeout_ms=0)

    def _newest_times(self) -> Mapping[str, float | None]:
        if self._consumer is None:
            self._consumer = open_consumer(self._settings, auto_offset_reset="earliest", max_poll_records=_LAST_RECORDS)
        consumer = self._consumer
        heartbeats = _parts(consumer, self._topics)
        if not heartbeats:
            return {}
        tables = _parts(consumer, self._tables)
        self._assign(consumer, {*heartbeats, *tables})
        self._store(self._last_times(consumer, heartbeats))
        (topic, *others) = {part.topic for part in heartbeats}
        if tables and not others and time.time() - self._newest.get(topic, 0.0) > _FRESH_S:
            self._store(self._last_times(consumer, tables), topic)
        return {topic: self._newest.get(topic) for topic in {part.topic for part in heartbeats}}

    def _store(self, found: Mapping[TopicPartition, float], topic: str = "") -> None:
        for part, at in found.items():
            name = topic or part.topic
            self._newest[name] = max(at, self._newest.get(name, 0.0))

    def _assign(self, consumer: KafkaConsumer, parts: Collection[TopicPartition]) -> None:
        """Assign all partitions, so that the client keeps their metadata; paused partitions fetch nothing."""
        if consumer.assignment() != parts:
            consumer.assign(list(parts))
            for part in parts:
                consumer.seek(part, 0)
                consumer.pause(part)

    def _last_times(self, consumer: KafkaConsumer, parts: Collection[TopicPartition]) -> dict[TopicPartition, float]:
        """The times of the last records of the partitions that have grown since the last call, UTC seconds."""
        ends = end_offsets(consumer, parts)
        left = {part: end for part, end in ends.items() if end and self._ends.get(part) != end}
        found: dict[TopicPartition, float] = {}
        for part, end in left.items():
            consumer.seek(part, max(0, end - _LAST_RECORDS))
            consumer.resume(part)
        deadline = time.monotonic() + _READ_S
        while left and time.monotonic() < deadline:
            for part, records in consumer.poll(timeout_ms=_POLL_MS).items():
                times = [record.timestamp_ms / 1000 for record in records if record.timestamp_ms >= 0]
                found[part] = max([*times, found.get(part, 0.0)])
            for part in [part for part, end in left.items() if consumer.position(part) >= end]:
                self._ends[part] = left.pop(part)
                consumer.pause(part)
        for part in left:
            consumer.pause(part)
        return {part: at for part, at in found.items() if at}


def _parts(consumer: KafkaConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    """The partitions of the existing topics of ``topics``."""
    return [
        TopicPartition(topic, number)
        for topic in topics
        for number in sorted(consumer.partitions_for_topic(topic) or ())
    ]
