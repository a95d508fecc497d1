"""confluent-kafka as a member of a group (docs/decisions/0021-second-kafka-client.md)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnknownMemberIdError,
)

from consumer.events.record import Partition, SourceRecord
from consumer.settings.sections import Kafka
from consumer.source.clients.confluent_client import by_name, named, open_consumer, to_record
from consumer.source.clients.member import LOOK_UP_TIMEOUT_MS, Extent, OnPartitions

_LOOK_UP_S = LOOK_UP_TIMEOUT_MS / 1000
_LIST_S = 1.0
_STATISTICS_MS = 1000
_COORDINATOR = "GroupCoordinator"
# Without one of its own a partition begins at the group's offset.
_OF_THE_GROUP = -1001


class _Broker(msgspec.Struct):
    state: str


class _Reading(msgspec.Struct):
    """How far a partition is: ``app_offset`` is known once a record was handed out, ``next_offset`` once it began."""

    app_offset: int
    next_offset: int
    hi_offset: int

    @property
    def lag(self) -> int | None:
        at = self.app_offset if self.app_offset >= 0 else self.next_offset
        return max(0, self.hi_offset - at) if min(at, self.hi_offset) >= 0 else None


class _Topic(msgspec.Struct):
    partitions: dict[str, _Reading]


class _Statistics(msgspec.Struct):
    """What the client says of itself once a second, as far as it matters here."""

    brokers: dict[str, _Broker]
    topics: dict[str, _Topic]


class ConfluentMember:
    """A :class:`consumer.source.clients.member.Member`."""

    def __init__(self, settings: Kafka) -> None:
        """Raises KafkaConfigurationError: the settings do not go together."""
        self._at_once = settings.max_poll_records
        self._statistics = msgspec.json.Decoder(_Statistics)
        self._known = _Statistics({}, {})
        self._failures: list[Exception] = []
        self._nowhere: dict[Partition, int | None] = {}
        """Partitions of which there is no record to go on with: the offset that is gone, or None without one."""
        self._sought: dict[Partition, int] = {}
        """Where partitions begin that were not begun at the group's offset."""
        self._rebalances = 0
        self._is_lost = False
        self._is_leaving = False
        options = {
            # Only this one keeps a partition number on one member over all topics: a user's tables stay together.
            "partition.assignment.strategy": "range",
            "auto.offset.reset": "error",
            "session.timeout.ms": settings.session_timeout_ms,
            "heartbeat.interval.ms": settings.session_timeout_ms // 3,
            "max.poll.interval.ms": settings.max_poll_interval_ms,
            "statistics.interval.ms": _STATISTICS_MS,
            "stats_cb": self._take_statistics,
        }
        name = {"group.instance.id": settings.instance_id} if settings.instance_id else {}
        self._consumer: Consumer = open_consumer(settings, options | name)

    def subscribe(self, topics: Sequence[str], pattern: str, assigned: OnPartitions, revoked: OnPartitions) -> None:
        def on_assign(_: Consumer, parts: list[TopicPartition]) -> None:
            self._is_lost = False
            self._consumer.assign(parts)
            assigned(_partitions(parts))

        def on_revoke(_: Consumer, parts: list[TopicPartition]) -> None:
            if self._is_leaving:
                return
            self._rebalances += 1
            try:
                revoked(_partitions(parts))
            finally:
                self._nowhere.clear()
                self._sought.clear()

        def on_lost(consumer: Consumer, parts: list[TopicPartition]) -> None:
            self._is_lost = True
            on_revoke(consumer, parts)

        with named():
            self._consumer.subscribe(
                list(topics) or [pattern], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost
            )

    def read(self, timeout_s: float) -> list[SourceRecord]:
        self._raise_what_failed()
        with named():
            # To wait for more than one is to wait until the timeout, however few there are.
            first = self._consumer.poll(timeout_s)
            before = self._rebalances
            more = [] if first is None else self._consumer.consume(self._at_once - 1, 0)
            # Partitions that were taken away in between begin at the group's offset, wherever they begin again.
            messages = more if first is None or self._rebalances > before else [first, *more]
        records = [to_record(message) for message in messages if message.error() is None]
        if len(records) < len(messages):
            self._take_errors(messages)
        if not records:
            self._raise_what_failed()
        return records

    def _raise_what_failed(self) -> None:
        if self._failures:
            raise self._failures.pop(0)
        if gone := {part: offset for part, offset in self._nowhere.items() if offset is not None}:
            raise OffsetOutOfRangeError(gone)
        if self._nowhere:
            raise NoOffsetForPartitionError(list(self._nowhere))

    def _take_errors(self, messages: Sequence[Message]) -> None:
        """The client says each once; what came with it is handed out first."""
        for message in messages:
            error = message.error()
            if error is None:
                continue
            if error.name() == "_AUTO_OFFSET_RESET":
                self._nowhere[Partition(str(message.topic()), int(message.partition() or 0))] = message.offset()
            else:
                self._failures.append(by_name(error))

    def _take_statistics(self, text: str) -> None:
        self._known = self._statistics.decode(text)

    def is_connected(self) -> bool:
        coordinator = self._known.brokers.get(_COORDINATOR)
        return coordinator is not None and coordinator.state == "UP"

    def assignment(self) -> frozenset[Partition]:
        with named():
            return frozenset(_partitions(self._consumer.assignment()))

    def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, int | None]:
        with named():
            found = self._consumer.committed([TopicPartition(*part) for part in partitions], _LOOK_UP_S)
        _raise_first(found)
        return {Partition(part.topic, part.partition): None if part.offset < 0 else part.offset for part in found}

    def extents(self, partitions: Collection[Partition]) -> Mapping[Partition, Extent]:
        with named():
            return {
                part: Extent(*self._consumer.get_watermark_offsets(TopicPartition(*part), _LOOK_UP_S))
                for part in partitions
            }

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        if self._is_lost:
            raise CommitFailedError
        wanted = [TopicPartition(*part, offset) for part, offset in offsets.items()]
        try:
            with named():
                _raise_first(self._consumer.commit(offsets=wanted, asynchronous=False) or ())
        except (IllegalGenerationError, UnknownMemberIdError) as error:
            raise CommitFailedError from error

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        # The client's own seek is refused of partitions that have just been assigned, and of those that are nowhere.
        with named():
            ours = self._consumer.assignment()
            places = {Partition(part.topic, part.partition): part.offset for part in self._consumer.position(ours)}
            read = {part: offset for part, offset in places.items() if offset >= 0}
            self._sought = self._sought | read | dict(offsets)
            self._consumer.assign([TopicPartition(*part, self._sought.get(part, _OF_THE_GROUP)) for part in places])
        for part in offsets:
            self._nowhere.pop(part, None)

    def pause(self, partitions: Collection[Partition]) -> None:
        with named():
            self._consumer.pause([TopicPartition(*part) for part in partitions])

    def resume(self) -> None:
        with named():
            self._consumer.resume(self._consumer.assignment())

    def topics(self) -> Collection[str]:
        with named():
            return frozenset(self._consumer.list_topics(timeout=_LIST_S).topics)

    def lag(self) -> Mapping[Partition, int]:
        ours = self.assignment()
        return {
            part: reading.lag
            for topic, known in self._known.topics.items()
            for number, reading in known.partitions.items()
            if (part := Partition(topic, int(number))) in ours and reading.lag is not None
        }

    def close(self) -> None:
        self._is_leaving = True
        self._consumer.close()


def _partitions(parts: Sequence[TopicPartition]) -> list[Partition]:
    return [Partition(part.topic, part.partition) for part in parts]


def _raise_first(parts: Sequence[TopicPartition]) -> None:
    """Of partitions that were asked about, or for."""
    for part in parts:
        if part.error is not None:
            raise by_name(part.error)
