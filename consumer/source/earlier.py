"""Reads records of the consumed topics that are before the current ones, with a client outside of any group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, KafkaTimeoutError

from consumer.errors import RecordError
from consumer.events.avro import Schemas
from consumer.events.envelope import parse
from consumer.events.event import PLACEHOLDER, ChangeEvent
from consumer.events.record import Partition, SourceRecord
from consumer.guard.search import Coverage
from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import beginning_offsets, end_offsets, failed, open_admin, open_consumer, to_record

_POLL_MS = 200
_POLL_RECORDS = 2000
_SILENCE_S = 20.0
_COVERAGE_AGE_S = 300.0
_KEEP_ALIVE_S = 1.0
_NEVER = 2**62


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
        self._known: dict[Partition, tuple[float, Coverage]] = {}

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
        known = self._known.get(partition)
        if known is None or time.monotonic() > known[0] + _COVERAGE_AGE_S:
            try:
                known = time.monotonic(), self._coverage(partition)
            except (KafkaError, OSError) as error:
                raise self._disconnected(error) from None
            self._known[partition] = known
        return known[1]

    def _coverage(self, partition: Partition) -> Coverage:
        client = self._connected()
        numbers = client.partitions_for_topic(partition.topic) or {partition.number}
        parts = [TopicPartition(partition.topic, number) for number in sorted(numbers)]
        begins = beginning_offsets(client, parts)
        own = TopicPartition(*partition)
        kept_ms = 0 if begins[own] == 0 else self._first_written_ms(own, begins[own])
        laid_out_ms = self._laid_out_ms(parts, begins)
        return Coverage(laid_out_ms, max(kept_ms, self._compacted_until_ms(partition.topic)))

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
        return int(time.time() * 1000) - lag_ms if lag_ms else _NEVER

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
            client.assign([part])
            client.seek(part, max(begin, beginning_offsets(client, [part])[part]))
            deadline = time.monotonic() + _SILENCE_S
            # The position also passes transaction markers and compacted gaps; the last record's offset may not.
            while (position := client.position(part)) < end:
                polled = client.poll(timeout_ms=_POLL_MS).get(part, ())
                records = [to_record(record) for record in polled if record.offset < end]
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
