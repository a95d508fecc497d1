"""kafka-python 2.3 as a member of a group (docs/decisions/0002-kafka-client.md), with workarounds for its bugs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain

import structlog
from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.base import HeartbeatThread, MemberState
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from kafka.structs import OffsetAndMetadata

from consumer.events.record import Partition, SourceRecord
from consumer.settings.sections import Kafka
from consumer.source.clients.connections import DeferringConnections, poll
from consumer.source.clients.kafka import open_consumer
from consumer.source.clients.member import LOOK_UP_TIMEOUT_MS, Extent, OnPartitions, Reading

_log = structlog.get_logger(__name__)
_COMMIT_TIMEOUT_MS = 5000
_CLOSE_TIMEOUT_MS = 5000


class KafkaPythonMember:
    """kafka-python as a :class:`consumer.source.clients.member.Member`."""

    def __init__(self, settings: Kafka) -> None:
        """Raises ServerUnavailable and ConfigError as :func:`consumer.source.clients.kafka.open_consumer`."""
        self._listener: _Listener | None = None
        self._assigned: tuple[set[TopicPartition], frozenset[Partition]] = set(), frozenset()
        """The client's partitions, and the same in this program's type: a batch needs them eight times."""
        self._consumer = open_consumer(
            settings,
            kafka_client=DeferringConnections,
            group_id=settings.group_id,
            group_instance_id=settings.instance_id,
            auto_offset_reset="none",
            # Only the range assignor assigns a partition number of all topics to one member: a user's tables stay
            # together.
            partition_assignment_strategy=[RangePartitionAssignor],
            max_poll_records=settings.max_poll_records,
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.session_timeout_ms // 3,
            max_poll_interval_ms=settings.max_poll_interval_ms,
        )

    def subscribe(self, topics: Sequence[str], pattern: str, assigned: OnPartitions, revoked: OnPartitions) -> None:
        listener = self._listener = _Listener(assigned, revoked, self._consumer._coordinator)  # noqa: SLF001
        if topics:
            self._consumer.subscribe(topics=list(topics), listener=listener)
        else:
            self._consumer.subscribe(pattern=pattern, listener=listener)

    def read(self, timeout_s: float) -> list[SourceRecord]:
        self._stay_in_the_group()
        try:
            polled = poll(self._consumer, timeout_s)
        except (NoOffsetForPartitionError, OffsetOutOfRangeError):
            raise
        except Exception:
            # kafka-python 2.3.3: records that failed to parse stay queued, and every later poll fails with them.
            # This drops them, so that they are fetched again. It closes no connection. There is no public method.
            self._consumer._fetcher.close()  # noqa: SLF001
            raise
        if self._listener is not None and self._listener.failure is not None:
            raise self._listener.failure
        return [*chain.from_iterable(polled.values())]

    def _stay_in_the_group(self) -> None:
        """Two more workarounds for kafka-python 2.3.3.

        It may take a membership that was lost in between for a join that just succeeded, and then never joins again.
        And it starts the thread that sends heartbeats only before a join, also if that thread ended with an error.
        """
        coordinator = self._consumer._coordinator  # noqa: SLF001
        if coordinator.state is MemberState.UNJOINED:
            coordinator.request_rejoin()
        elif coordinator.state is MemberState.STABLE and coordinator._heartbeat_thread is None:  # noqa: SLF001
            coordinator._start_heartbeat_thread()  # noqa: SLF001
            thread: HeartbeatThread = coordinator._heartbeat_thread  # noqa: SLF001
            thread.enable()

    def is_connected(self) -> bool:
        return bool(self._consumer._coordinator.connected())  # noqa: SLF001  # there is no public method

    def assignment(self) -> frozenset[Partition]:
        parts = self._consumer.assignment()
        if parts != self._assigned[0]:
            self._assigned = parts, frozenset(Partition(*part) for part in parts)
        return self._assigned[1]

    def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, int | None]:
        return {
            part: self._consumer.committed(TopicPartition(*part), timeout_ms=LOOK_UP_TIMEOUT_MS) for part in partitions
        }

    def extents(self, partitions: Collection[Partition]) -> Mapping[Partition, Extent]:
        parts = [TopicPartition(*part) for part in partitions]
        # The public methods of these names wait for minutes.
        oldest = self._consumer._fetcher.beginning_offsets(parts, LOOK_UP_TIMEOUT_MS)  # noqa: SLF001
        ends = self._consumer._fetcher.end_offsets(parts, LOOK_UP_TIMEOUT_MS)  # noqa: SLF001
        return {Partition(*part): Extent(oldest[part], ends[part]) for part in parts}

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        self._consumer.commit(_wanted(offsets), timeout_ms=_COMMIT_TIMEOUT_MS)

    def begin_commit(self, offsets: Mapping[Partition, int]) -> Callable[[], bool]:
        # Not by the future: if the coordinator is not known, the client answers the future of its look-up.
        answers: list[object] = []
        try:
            self._consumer.commit_async(_wanted(offsets), callback=lambda _, answer: answers.append(answer))
        except Exception as error:
            answers.append(error)

        def is_done() -> bool:
            if answers and isinstance(answers[0], Exception):
                raise answers[0]
            return bool(answers)

        return is_done

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        for part, offset in offsets.items():
            self._consumer.seek(TopicPartition(*part), offset)

    def pause(self, partitions: Collection[Partition]) -> None:
        self._consumer.pause(*(TopicPartition(*part) for part in partitions))

    def resume(self) -> None:
        self._consumer.resume(*self._consumer.paused())

    def topics(self) -> Collection[str]:
        # The public method sends a request to the broker and waits for the answer.
        return frozenset(self._consumer._client.cluster.topics())  # noqa: SLF001

    def readings(self) -> Mapping[Partition, Reading]:
        return {
            # Without a timeout the look-up of a position may wait for a broker.
            Partition(*part): Reading(self._consumer.position(part, timeout_ms=0), self._consumer.highwater(part))
            for part in self._consumer.assignment()
        }

    def begin_again(self, partitions: Collection[Partition]) -> None:
        client, fetcher = self._consumer._client, self._consumer._fetcher  # noqa: SLF001  # nothing of this is public
        leaders = {client.cluster.leader_for_partition(TopicPartition(*part)) for part in partitions}
        for leader in leaders - {None, -1}:
            client.close(leader)
        # The client sends no fetch to a broker while it believes that one is under way.
        fetcher._nodes_with_pending_fetch_requests -= leaders  # noqa: SLF001
        client.cluster.request_update()
        self._consumer.resume(*(TopicPartition(*part) for part in partitions))

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=_CLOSE_TIMEOUT_MS)


def _wanted(offsets: Mapping[Partition, int]) -> Mapping[TopicPartition, OffsetAndMetadata]:
    return {TopicPartition(*part): OffsetAndMetadata(offset, "", -1) for part, offset in offsets.items()}


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    """Calls back. ``failure`` is what a callback raised: the client would ignore it silently."""

    def __init__(self, assigned: OnPartitions, revoked: OnPartitions, coordinator: ConsumerCoordinator) -> None:
        self._assigned = assigned
        self._revoked = revoked
        self._coordinator = coordinator
        self.failure: Exception | None = None

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        # kafka-python 2.3.3 keeps the request for committed offsets that a timeout interrupted, and takes its answer
        # when the same partitions are assigned again, however old it is.
        self._coordinator._offset_fetch_futures.clear()  # noqa: SLF001
        self._call(self._assigned, assigned)

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        # kafka-python 2.3.3: if a poll ends between a join request and its answer after topics were added, the client
        # believes it has joined and never applies the new assignment. request_rejoin (not public) makes it finish.
        self._coordinator.request_rejoin()
        self._call(self._revoked, revoked)

    def _call(self, callback: OnPartitions, partitions: Sequence[TopicPartition]) -> None:
        try:
            callback([Partition(*part) for part in partitions])
        except Exception as error:
            self.failure = error
            _log.error("the listener for partitions failed", action="group.failed", error=str(error))
