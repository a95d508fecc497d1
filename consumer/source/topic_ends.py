"""How far connector and consumer are, and single records, asked of Kafka by a client that is in no group."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from types import TracebackType
from typing import Self

from kafka import TopicPartition
from kafka.errors import KafkaError

from consumer.errors import Place, RecordError
from consumer.events.avro import Schemas
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.events.record import Partition, SourceRecord
from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import beginning_offsets, end_offsets, failed, open_consumer, to_record
from consumer.source.range_reader import committed
from consumer.source.topic_selection import Selection

_POLL_MS = 200
_FEW = 2
_LOOK_S = 5.0


class Topics:
    """The topics that the consumer follows."""

    def __init__(self, settings: Kafka, selection: Selection, schemas: Schemas) -> None:
        """Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.source.clients.kafka.open_consumer`.
        """
        self._settings = settings
        self._selection = selection
        self._schemas = schemas
        # A look at a place needs one record; a fetch of many megabytes for each would be thrown away.
        small = settings.model_copy(update={"fetch_max_bytes": 65536, "max_partition_fetch_bytes": 65536})
        self._consumer = open_consumer(small, auto_offset_reset="earliest", max_poll_records=_FEW)
        self._parts: list[TopicPartition] = []
        self._take(selection.topics)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go."""
        self._consumer.close(autocommit=False)

    def may_carry(self, topic: str, table: str) -> bool:
        """Whether rows of ``table`` may lie in ``topic``."""
        return self._selection.tables.may_carry(topic, (table,))

    def look(self) -> None:
        """Take in topics and partitions that were made since: what is in them is waited for too.

        Raises:
            ServerUnavailable, ServerError: of the broker.
        """
        try:
            # It asks the brokers: what the client remembers may be minutes old.
            present = self._consumer.topics()
            self._take(sorted(name for name in present if self._selection.takes(name, self._settings.topics)))
        except (KafkaError, OSError) as error:
            raise failed(error) from None

    def _take(self, names: Iterable[str]) -> None:
        self._parts = [
            TopicPartition(name, number)
            for name in names
            for number in sorted(self._consumer.partitions_for_topic(name) or ())
        ]

    def ends(self) -> Mapping[Partition, int]:
        """The next offset of each partition, as it is now.

        Raises:
            ServerUnavailable, ServerError: of the broker.
        """
        try:
            found = end_offsets(self._consumer, self._parts)
        except (KafkaError, OSError) as error:
            raise failed(error) from None
        return {Partition(part.topic, part.partition): end for part, end in found.items()}

    def behind(self, ends: Mapping[Partition, int]) -> frozenset[Partition]:
        """The partitions in which the consumer's group has not come to ``ends``.

        Raises:
            ServerUnavailable, ServerError: of the broker.
        """
        reached = committed(self._settings)
        return frozenset(part for part, end in ends.items() if reached.get(part, 0) < end)

    def newest(self) -> list[ChangeEvent]:
        """The last change of each partition, of those whose last record is one and can be read.

        Raises:
            ServerUnavailable, ServerError: of the broker, or of the registry.
        """
        ends = self.ends()
        found = self._at({part: end - 1 for part, end in ends.items() if end})
        # The end of a partition may be a tombstone or a marker of a transaction: then the record before it tells.
        lacking = {part: ends[part] - 2 for part in ends if part not in found and ends[part] > 1}
        return [*found.values(), *self._at(lacking).values()]

    def changes(self, places: Collection[Place]) -> dict[Place, ChangeEvent]:
        """The changes at ``places``, of those that are still there and can be read.

        Raises:
            ServerUnavailable, ServerError: of the broker, or of the registry.
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
        """The changes at these offsets, one of each partition at most."""
        wanted = {TopicPartition(part.topic, part.number): offset for part, offset in offsets.items()}
        found: dict[Partition, ChangeEvent] = {}
        deadline = time.monotonic() + _LOOK_S
        try:
            known = {part: offset for part, offset in wanted.items() if part in self._parts}
            first = beginning_offsets(self._consumer, known)
            left = {part: offset for part, offset in known.items() if offset >= first[part]}
            self._consumer.assign(list(left))
            for part, offset in left.items():
                self._consumer.resume(part)  # it keeps its pause over an assignment
                self._consumer.seek(part, offset)
            while left and time.monotonic() < deadline:
                for part, records in self._consumer.poll(timeout_ms=_POLL_MS).items():
                    if part in left and records:
                        # Where it was compacted away, or is a marker, a later one comes.
                        event = self._event(to_record(records[0])) if records[0].offset == left[part] else None
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
