"""The ends of the consumed topics, the group's lag, and single records; read by a client outside of any group."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Self

from kafka import TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from consumer.errors import Place, RecordError
from consumer.events.avro import Schemas
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.events.record import Partition, SourceRecord
from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import beginning_offsets, end_offsets, failed, open_consumer, topics
from consumer.source.range_reader import committed
from consumer.source.topic_selection import Selection

_POLL_MS = 200
_LAST_RECORDS = 2
_SILENCE_S = 30.0


class Topics:
    """The topics that the consumer reads."""

    def __init__(self, settings: Kafka, selection: Selection, schemas: Schemas) -> None:
        """Connect.

        Raises:
            ServerUnavailable, ConfigError: as :func:`consumer.source.clients.kafka.open_consumer`.
        """
        self._settings = settings
        self._selection = selection
        self._schemas = schemas
        # Each read needs one record; the rest of a fetch of many megabytes would be thrown away.
        small = settings.model_copy(update={"fetch_max_bytes": 65536, "max_partition_fetch_bytes": 65536})
        self._consumer = open_consumer(small, auto_offset_reset="earliest", max_poll_records=_LAST_RECORDS)
        self._parts: list[TopicPartition] = []
        self.look()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close(autocommit=False)

    def may_carry(self, topic: str, table: str) -> bool:
        """Whether ``topic`` may contain rows of ``table``."""
        return self._selection.tables.may_carry(topic, (table,))

    def look(self) -> None:
        """Add the topics and partitions that were created since. Their records are then waited for too.

        Raises:
            ServerUnavailable, ServerError: from the broker.
        """
        # The consumer's topics() may miss topics: it may take the reply to an earlier request about the assigned ones.
        present = topics(self._settings)
        self._parts = [
            TopicPartition(name, number)
            for name in sorted(present)
            if self._selection.takes(name, self._settings.topics)
            for number in range(present[name])
        ]

    def ends(self) -> Mapping[Partition, int]:
        """The present end offset of each partition.

        Raises:
            ServerUnavailable, ServerError: from the broker.
        """
        try:
            found = end_offsets(self._consumer, self._parts)
        except (KafkaError, OSError) as error:
            raise failed(error) from None
        return {Partition(part.topic, part.partition): end for part, end in found.items()}

    def behind(self, ends: Mapping[Partition, int]) -> frozenset[Partition]:
        """The partitions in which the committed offset of the consumer's group is below ``ends``.

        Raises:
            ServerUnavailable, ServerError: from the broker.
        """
        reached = committed(self._settings)
        return frozenset(part for part, end in ends.items() if reached.get(part, 0) < end)

    def newest(self) -> list[ChangeEvent]:
        """The last change of each partition, if the last record is a change and can be read.

        Raises:
            ServerUnavailable, ServerError: from the broker, or from the registry.
        """
        ends = self.ends()
        found = self._at({part: end - 1 for part, end in ends.items() if end})
        # The last record of a partition may be a tombstone or a transaction marker: then read the one before it.
        missing = {part: ends[part] - 2 for part in ends if part not in found and ends[part] > 1}
        return [*found.values(), *self._at(missing).values()]

    def changes(self, places: Collection[Place]) -> dict[Place, ChangeEvent]:
        """The changes at ``places``, if they still exist and can be read.

        Raises:
            ServerUnavailable, ServerError: from the broker, or from the registry.
        """
        left: dict[Partition, list[int]] = {}
        for place in places:
            left.setdefault(Partition(place.topic, place.partition), []).append(place.offset)
        found: dict[Place, ChangeEvent] = {}
        while left:
            step = {part: offsets.pop() for part, offsets in left.items()}
            for part, event in self._at(step).items():
                found[Place(part.topic, part.number, step[part])] = event
            left = {part: offsets for part, offsets in left.items() if offsets}
        return found

    def _at(self, offsets: Mapping[Partition, int]) -> dict[Partition, ChangeEvent]:
        """The changes at these offsets, at most one of each partition."""
        wanted = {TopicPartition(part.topic, part.number): offset for part, offset in offsets.items()}
        found: dict[Partition, ChangeEvent] = {}
        try:
            known = {part: offset for part, offset in wanted.items() if part in self._parts}
            # An offset may be after the end: of a topic that was deleted and created again.
            first, ends = beginning_offsets(self._consumer, known), end_offsets(self._consumer, known)
            left = {part: offset for part, offset in known.items() if first[part] <= offset < ends[part]}
            self._consumer.assign(list(left))
            for part, offset in left.items():
                self._consumer.resume(part)  # a pause survives a new assignment
                self._consumer.seek(part, offset)
            missing, deadline = len(left), time.monotonic() + _SILENCE_S
            while left:
                if len(left) < missing:
                    missing, deadline = len(left), time.monotonic() + _SILENCE_S
                if time.monotonic() > deadline:
                    silent = ", ".join(sorted({part.topic for part in left}))
                    raise KafkaTimeoutError(f"no record of {silent} arrived for {_SILENCE_S:.0f} s")
                for part, records in self._consumer.poll(timeout_ms=_POLL_MS).items():
                    if part in left and records:
                        # If the record was compacted away, or is a marker, a later record arrives.
                        event = self._event(records[0]) if records[0].offset == left[part] else None
                        if event is not None:
                            found[Partition(part.topic, part.partition)] = event
                        del left[part]
                        self._consumer.pause(part)
                for part in [part for part, offset in left.items() if self._consumer.position(part) > offset]:
                    del left[part]
        except (KafkaError, OSError) as error:
            raise failed(error) from None
        return found

    def _event(self, record: SourceRecord) -> ChangeEvent | None:
        try:
            found = parse(record, self._schemas, self._selection.databases)
        except RecordError:
            return None
        return found if isinstance(found, ChangeEvent) else None
