"""The newest sign of life of a connector: its heartbeats, else the changes of its tables. Read outside of the group."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from kafka import KafkaConsumer, TopicPartition

from consumer.errors import CdcError
from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import end_offsets, failed, open_consumer

_SMALL = 65_536
# The last record of a partition may be the marker of a transaction: then the one before it tells.
_FEW = 2
_POLL_MS = 200
_READ_S = 5.0
# Tables are looked at only when heartbeats are older: during a snapshot Debezium sends none.
_FRESH_S = 10.0


class HeartbeatReader:
    """Asks for the ends of the heartbeat topics, and reads the last record where one has moved.

    Where there is one heartbeat topic, changes in ``tables`` are signs of the same connector. With several nobody
    knows whose they are.
    """

    def __init__(self, settings: Kafka, topics: Sequence[str], tables: Sequence[str]) -> None:
        self._settings = settings.model_copy(
            update={"fetch_max_bytes": 16 * _SMALL, "max_partition_fetch_bytes": _SMALL}
        )
        self._topics = topics
        self._tables = tables if len(topics) == 1 else ()
        self._consumer: KafkaConsumer | None = None
        self._ends: dict[TopicPartition, int] = {}
        self._newest: dict[str, float] = {}

    def look(self) -> Mapping[str, float | None]:
        """The time of the newest sign, UTC seconds, of each heartbeat topic that is there; None: it is empty.

        Raises:
            ServerError, ConfigError: Kafka can't be asked; the next look connects anew.
        """
        try:
            return self._looked()
        except Exception as error:  # the client's own have many kinds
            self.close()
            if isinstance(error, CdcError):
                raise
            raise failed(error) from None

    def close(self) -> None:
        """Let the connection go. Only from the thread that looks."""
        consumer, self._consumer = self._consumer, None
        self._ends.clear()
        if consumer is not None:
            consumer.close(autocommit=False, timeout_ms=0)

    def _looked(self) -> Mapping[str, float | None]:
        if self._consumer is None:
            self._consumer = open_consumer(self._settings, auto_offset_reset="earliest", max_poll_records=_FEW)
        consumer = self._consumer
        heartbeats = _parts(consumer, self._topics)
        if not heartbeats:
            return {}
        tables = _parts(consumer, self._tables)
        self._assign(consumer, {*heartbeats, *tables})
        self._note(self._moved(consumer, heartbeats))
        (topic, *others) = {part.topic for part in heartbeats}
        if tables and not others and time.time() - self._newest.get(topic, 0.0) > _FRESH_S:
            self._note(self._moved(consumer, tables), topic)
        return {topic: self._newest.get(topic) for topic in {part.topic for part in heartbeats}}

    def _note(self, found: Mapping[TopicPartition, float], topic: str = "") -> None:
        for part, at in found.items():
            name = topic or part.topic
            self._newest[name] = max(at, self._newest.get(name, 0.0))

    def _assign(self, consumer: KafkaConsumer, parts: Collection[TopicPartition]) -> None:
        """The client keeps what it knows of topics that are assigned; nothing is fetched of what is paused."""
        if consumer.assignment() != parts:
            consumer.assign(list(parts))
            for part in parts:
                consumer.seek(part, 0)
                consumer.pause(part)

    def _moved(self, consumer: KafkaConsumer, parts: Collection[TopicPartition]) -> dict[TopicPartition, float]:
        """The times of the last records of those partitions that have grown since the last look, UTC seconds."""
        ends = end_offsets(consumer, parts)
        left = {part: end for part, end in ends.items() if end and self._ends.get(part) != end}
        found: dict[TopicPartition, float] = {}
        for part, end in left.items():
            consumer.seek(part, max(0, end - _FEW))
            consumer.resume(part)
        deadline = time.monotonic() + _READ_S
        while left and time.monotonic() < deadline:
            for part, records in consumer.poll(timeout_ms=_POLL_MS).items():
                times = [record.timestamp / 1000 for record in records if record.timestamp >= 0]
                found[part] = max([*times, found.get(part, 0.0)])
            for part in [part for part, end in left.items() if consumer.position(part) >= end]:
                self._ends[part] = left.pop(part)
                consumer.pause(part)
        for part in left:
            consumer.pause(part)
        return {part: at for part, at in found.items() if at}


def _parts(consumer: KafkaConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    """The partitions of those topics that are there."""
    return [
        TopicPartition(topic, number)
        for topic in topics
        for number in sorted(consumer.partitions_for_topic(topic) or ())
    ]
