"""confluent-kafka as a member of a group (docs/decisions/0021-second-kafka-client.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
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
from consumer.source.clients.member import LOOK_UP_TIMEOUT_MS, Extent, OnPartitions, Reading

_REQUEST_TIMEOUT_S = LOOK_UP_TIMEOUT_MS / 1000
_LIST_S = 1.0
_STATISTICS_MS = 1000
_COORDINATOR = "GroupCoordinator"
# librdkafka's OFFSET_STORED: the partition starts at the group's committed offset.
_STORED_OFFSET = -1001


class _Broker(msgspec.Struct):
    state: str


class _Partition(msgspec.Struct):
    """``app_offset`` is known after the first record was returned, ``next_offset`` after the first fetch."""

    app_offset: int
    next_offset: int
    hi_offset: int

    @property
    def reading(self) -> Reading:
        position = self.app_offset if self.app_offset >= 0 else self.next_offset
        return Reading(position if position >= 0 else None, self.hi_offset if self.hi_offset >= 0 else None)


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition]


class _Statistics(msgspec.Struct):
    """The used parts of the client's statistics. The client sends them once a second."""

    brokers: dict[str, _Broker]
    topics: dict[str, _Topic]


class ConfluentMember:
    """confluent-kafka as a :class:`consumer.source.clients.member.Member`."""

    def __init__(self, settings: Kafka) -> None:
        """Raises KafkaConfigurationError: the settings contradict each other."""
        self._poll_records = settings.max_poll_records
        self._statistics = msgspec.json.Decoder(_Statistics)
        self._latest = _Statistics({}, {})
        self._failures: dict[type[Exception], Exception] = {}
        """What was not raised yet. One of each class: the client may queue hundreds of the same error."""
        self._must_begin_again = False
        self._without_position: dict[Partition, int | None] = {}
        """Partitions without a valid position: the offset whose record does not exist; None if there is no offset."""
        self._sought: dict[Partition, int] = {}
        """The start offsets of partitions that did not start at the group's offset."""
        self._assigned: frozenset[Partition] = frozenset()
        """Kept here, because the client asks a thread of its own, and a batch needs the assignment eight times."""
        self._answers: dict[frozenset[tuple[str, int, int]], Exception | None] = {}
        """The answers to commits that nobody has asked for yet: by their offsets, with the error if there is one."""
        self._rebalances = 0
        self._is_lost = False
        self._is_leaving = False
        options = {
            # Only the range assignor assigns a partition number of all topics to one member: a user's tables stay
            # together.
            "partition.assignment.strategy": "range",
            "auto.offset.reset": "error",
            "session.timeout.ms": settings.session_timeout_ms,
            "heartbeat.interval.ms": settings.session_timeout_ms // 3,
            "max.poll.interval.ms": settings.max_poll_interval_ms,
            "statistics.interval.ms": _STATISTICS_MS,
            "stats_cb": self._store_statistics,
            "on_commit": self._store_answer,
        }
        name = {"group.instance.id": settings.instance_id} if settings.instance_id else {}
        self._consumer: Consumer = open_consumer(settings, options | name)

    def subscribe(self, topics: Sequence[str], pattern: str, assigned: OnPartitions, revoked: OnPartitions) -> None:
        def on_assign(_: Consumer, parts: list[TopicPartition]) -> None:
            self._is_lost = False
            self._consumer.assign(parts)
            # librdkafka keeps a partition paused that was paused when it was revoked.
            self._consumer.resume(parts)
            self._assigned = frozenset(_partitions(parts))
            assigned(_partitions(parts))

        def on_revoke(_: Consumer, parts: list[TopicPartition]) -> None:
            if self._is_leaving:
                return
            self._rebalances += 1
            try:
                revoked(_partitions(parts))
            finally:
                # Until here they are ours: what is done is still committed.
                self._assigned = frozenset()
                self._without_position.clear()
                self._sought.clear()

        def on_lost(consumer: Consumer, parts: list[TopicPartition]) -> None:
            self._is_lost = True
            on_revoke(consumer, parts)

        with named():
            self._consumer.subscribe(
                list(topics) or [pattern], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost
            )

    def read(self, timeout_s: float) -> list[SourceRecord]:
        self._raise_failure()
        if self._must_begin_again:
            self._must_begin_again = False
            self.seek({})
        with named():
            # consume() for more than one record always waits for the whole timeout, so only one record is waited for.
            first = self._consumer.poll(timeout_s)
            before = self._rebalances
            more = [] if first is None else self._consumer.consume(self._poll_records - 1, 0)
            # After a rebalance in between, the partition of the first record starts again at the group's offset.
            messages = more if first is None or self._rebalances > before else [first, *more]
        records = [to_record(message) for message in messages if message.error() is None]
        if len(records) < len(messages):
            self._store_errors(messages)
        if not records:
            self._raise_failure()
        return records

    def _raise_failure(self) -> None:
        if self._failures:
            raise self._failures.pop(next(iter(self._failures)))
        if gone := {part: offset for part, offset in self._without_position.items() if offset is not None}:
            raise OffsetOutOfRangeError(gone)
        if self._without_position:
            raise NoOffsetForPartitionError(list(self._without_position))

    def _store_errors(self, messages: Sequence[Message]) -> None:
        """Keep errors until the records of the same poll are returned.

        The client reports an error of a partition once, however long it lasts, and may leave the partition alone. So
        the partitions begin again, each at its place, before the next poll.
        """
        for message in messages:
            error = message.error()
            if error is None:
                continue
            if error.name() == "_AUTO_OFFSET_RESET":
                part = Partition(str(message.topic()), int(message.partition() or 0))
                self._without_position[part] = message.offset()
            else:
                failure = by_name(error)
                self._failures.setdefault(type(failure), failure)
                self._must_begin_again |= message.topic() is not None

    def _store_statistics(self, text: str) -> None:
        self._latest = self._statistics.decode(text)

    def is_connected(self) -> bool:
        coordinator = self._latest.brokers.get(_COORDINATOR)
        return coordinator is not None and coordinator.state == "UP"

    def assignment(self) -> frozenset[Partition]:
        return self._assigned

    def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, int | None]:
        with named():
            found = self._consumer.committed([TopicPartition(*part) for part in partitions], _REQUEST_TIMEOUT_S)
        _raise_first(found)
        return {Partition(part.topic, part.partition): None if part.offset < 0 else part.offset for part in found}

    def extents(self, partitions: Collection[Partition]) -> Mapping[Partition, Extent]:
        with named():
            return {
                part: Extent(*self._consumer.get_watermark_offsets(TopicPartition(*part), _REQUEST_TIMEOUT_S))
                for part in partitions
            }

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        if self._is_lost:
            raise CommitFailedError
        wanted = [TopicPartition(*part, offset) for part, offset in offsets.items()]
        with _of_a_commit(), named():
            _raise_first(self._consumer.commit(offsets=wanted, asynchronous=False) or ())

    def begin_commit(self, offsets: Mapping[Partition, int]) -> Callable[[], bool]:
        begun = frozenset((*part, offset) for part, offset in offsets.items())
        self._answers.clear()
        try:
            if self._is_lost:
                raise CommitFailedError
            with named():
                self._consumer.commit(offsets=[TopicPartition(*each) for each in begun], asynchronous=True)
        except Exception as error:
            self._answers[begun] = error

        def is_done() -> bool:
            error = self._answers.get(begun)
            if error is not None:
                with _of_a_commit():
                    raise error
            return begun in self._answers

        return is_done

    def _store_answer(self, error: KafkaError | None, parts: list[TopicPartition]) -> None:
        errors = [each for each in (error, *(part.error for part in parts)) if each is not None]
        answered = frozenset((part.topic, part.partition, part.offset) for part in parts)
        self._answers[answered] = by_name(errors[0]) if errors else None

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        # The client's own seek fails for partitions that were just assigned and for those without a position.
        with named():
            ours = self._consumer.assignment()
            places = {Partition(part.topic, part.partition): part.offset for part in self._consumer.position(ours)}
            read = {part: offset for part, offset in places.items() if offset >= 0}
            self._sought = self._sought | read | dict(offsets)
            self._consumer.assign([TopicPartition(*part, self._sought.get(part, _STORED_OFFSET)) for part in places])
        for part in offsets:
            self._without_position.pop(part, None)

    def pause(self, partitions: Collection[Partition]) -> None:
        with named():
            self._consumer.pause([TopicPartition(*part) for part in partitions])

    def resume(self) -> None:
        with named():
            self._consumer.resume(self._consumer.assignment())

    def topics(self) -> Collection[str]:
        with named():
            return frozenset(self._consumer.list_topics(timeout=_LIST_S).topics)

    def readings(self) -> Mapping[Partition, Reading]:
        ours = self.assignment()
        return {
            part: found.reading
            for topic, known in self._latest.topics.items()
            for number, found in known.partitions.items()
            if (part := Partition(topic, int(number))) in ours
        }

    def begin_again(self, partitions: Collection[Partition]) -> None:
        self.resume()
        self.seek({})

    def close(self) -> None:
        self._is_leaving = True
        self._consumer.close()


def _partitions(parts: Sequence[TopicPartition]) -> list[Partition]:
    return [Partition(part.topic, part.partition) for part in parts]


def _raise_first(parts: Sequence[TopicPartition]) -> None:
    """Raise the first error of these partitions."""
    for part in parts:
        if part.error is not None:
            raise by_name(part.error)


@contextmanager
def _of_a_commit() -> Iterator[None]:
    """A commit that is refused because this member has left the group, as kafka-python's error for it."""
    try:
        yield
    except (IllegalGenerationError, UnknownMemberIdError) as error:
        raise CommitFailedError from error
