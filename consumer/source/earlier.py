"""Reads records of the consumed topics that are before the current ones, with a client outside of any group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, KafkaTimeoutError

from consumer.errors import RecordError
from consumer.events.avro import Schemas
from consumer.events.envelope import parse
from consumer.events.event import PLACEHOLDER, ChangeEvent
from consumer.events.record import Partition, SourceRecord
from consumer.guard.search import NEVER, Coverage
from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import beginning_offsets, end_offsets, failed, open_admin, open_consumer

_POLL_MS = 200
_POLL_RECORDS = 2000
_SILENCE_S = 20.0
_COVERAGE_AGE_S = 300.0
_KEEP_ALIVE_S = 1.0


@dataclass(frozen=True, slots=True)
class _TopicCoverage:
    """What Kafka answered about a topic. ``at``: when, by the monotonic clock. Other times are UTC milliseconds.

    ``begins``: the oldest offset of each partition. ``kept_ms``: of the partitions that were asked for, the time of the
    oldest record, 0 if no record was removed.
    """

    at: float
    begins: Mapping[TopicPartition, int]
    laid_out_ms: int
    compacted_until_ms: int
    kept_ms: dict[TopicPartition, int] = field(default_factory=dict)


def _nothing() -> None:
    pass


class KafkaEarlierRecords:
    """Implements :class:`consumer.guard.search.EarlierRecords`. Connects at the first call.

    ``keep_alive`` is called about once a second during a read, because a read may take longer than the group waits for
    a member.
    """

    def __init__(self, settings: Kafka, schemas: Schemas, *, placeholder: str = PLACEHOLDER) -> None:
        self._settings = settings
        self._placeholder = placeholder
        self._schemas = schemas
        self.keep_alive: Callable[[], object] = _nothing
        self._alive_at = 0.0
        self._consumer: Any = None
        self._topics: dict[str, _TopicCoverage] = {}

    def close(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            self._consumer.close(autocommit=False)
            self._consumer = None

    def offset_at(self, partition: Partition, since_ms: int) -> int:
        part = TopicPartition(*partition)
        try:
            client = self._connected()
            found = client.offsets_for_times({part: max(0, since_ms)}).get(part)
            # None means that every record is older: then reading starts at the end, where there is nothing.
            return int(end_offsets(client, [part])[part] if found is None else found.offset)
        except (KafkaError, OSError) as error:
            raise self._disconnected(error) from None

    def changes(self, partition: Partition, begin: int, end: int) -> Iterator[tuple[Sequence[ChangeEvent], int]]:
        self._alive_at = time.monotonic()
        for records, position in self._records(partition, begin, end):
            found = (self._change(record) for record in records)
            yield [each for each in found if each is not None], position
            if time.monotonic() > self._alive_at + _KEEP_ALIVE_S:
                self._alive_at = time.monotonic()
                self.keep_alive()

    def coverage(self, partition: Partition) -> Coverage:
        known = self._topics.get(partition.topic)
        part = TopicPartition(*partition)
        try:
            if known is None or part not in known.begins or time.monotonic() > known.at + _COVERAGE_AGE_S:
                known = self._topics[partition.topic] = self._topic_coverage(part)
            kept_ms = known.kept_ms.get(part)
            if kept_ms is None:
                begin = known.begins[part]
                # If all records were removed, what is kept begins now.
                kept_ms = self._first_written_ms(part, begin) or int(time.time() * 1000) if begin else 0
                known.kept_ms[part] = kept_ms
        except (KafkaError, OSError) as error:
            raise self._disconnected(error) from None
        return Coverage(known.laid_out_ms, max(kept_ms, known.compacted_until_ms))

    def _topic_coverage(self, part: TopicPartition) -> _TopicCoverage:
        """What all partitions of a topic have in common. A member that begins with many of them asks only once."""
        numbers = self._connected().partitions_for_topic(part.topic) or set()
        parts = [TopicPartition(part.topic, number) for number in sorted({*numbers, part.partition})]
        begins = beginning_offsets(self._connected(), parts)
        laid_out_ms = self._laid_out_ms(parts, begins)
        return _TopicCoverage(time.monotonic(), begins, laid_out_ms, self._compacted_until_ms(part.topic))

    def _laid_out_ms(self, parts: Sequence[TopicPartition], begins: Mapping[TopicPartition, int]) -> int:
        """When the topic got its last partition, at the latest: when the first record there was written.

        Kafka adds partitions only behind the last one, so no partition is younger. If the last partitions have no
        records, this is the time of the last partition that has one.
        """
        for part in reversed(parts):
            if first_ms := self._first_written_ms(part, begins[part]):
                return first_ms
        return 0

    def _compacted_until_ms(self, topic: str) -> int:
        """Records written before this time may be compacted away; if the topic's settings can't be read, all may be."""
        with open_admin(self._settings) as admin:
            answers = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        found = {entry[0]: entry[1] for answer in answers for *_, entries in answer.resources for entry in entries}
        if "compact" not in found.get("cleanup.policy", "compact"):
            return 0
        lag_ms = int(found.get("min.compaction.lag.ms", 0))
        return int(time.time() * 1000) - lag_ms if lag_ms else NEVER

    def _first_written_ms(self, part: TopicPartition, begin: int) -> int:
        """When the first record was written, UTC milliseconds; 0 for a partition without records."""
        end = end_offsets(self._connected(), [part])[part]
        for records, _ in self._records(Partition(part.topic, part.partition), begin, end):
            if records:
                return records[0].timestamp_ms
        return 0

    def _records(self, partition: Partition, begin: int, end: int) -> Iterator[tuple[Sequence[SourceRecord], int]]:
        part = TopicPartition(*partition)
        if begin >= end:
            return
        try:
            client = self._connected()
            # A dead letter may be from before its topic was created again. Then the topic may end before the letter.
            end = min(end, end_offsets(client, [part])[part])
            client.assign([part])
            client.seek(part, max(begin, beginning_offsets(client, [part])[part]))
            deadline = time.monotonic() + _SILENCE_S
            # The position also passes transaction markers and compacted gaps; the last record's offset may not.
            while (position := client.position(part)) < end:
                polled = client.poll(timeout_ms=_POLL_MS).get(part, ())
                records = [record for record in polled if record.offset < end]
                if (reached := client.position(part)) > position:
                    deadline = time.monotonic() + _SILENCE_S
                elif time.monotonic() > deadline:
                    raise KafkaTimeoutError(f"no record of {partition.topic} arrived for {_SILENCE_S:.0f} s")
                yield records, min(reached, end)
        except (KafkaError, OSError) as error:
            raise self._disconnected(error) from None

    def _change(self, record: SourceRecord) -> ChangeEvent | None:
        try:
            found = parse(record, self._schemas, placeholder=self._placeholder)
        except RecordError:
            return None
        return found if isinstance(found, ChangeEvent) else None

    def _connected(self) -> Any:
        if self._consumer is None:
            self._consumer = open_consumer(self._settings, auto_offset_reset="earliest", max_poll_records=_POLL_RECORDS)
        return self._consumer

    def _disconnected(self, error: Exception) -> Exception:
        self.close()
        return failed(error)
