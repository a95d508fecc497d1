"""Records from Kafka, as a member of a consumer group.

The client is kafka-python 2.3 (docs/decisions/0002-kafka-client.md); nothing of it is seen outside this module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog
from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import CommitFailedError, NoBrokersAvailable, NoOffsetForPartitionError, OffsetOutOfRangeError
from kafka.structs import OffsetAndMetadata

from consumer.errors import CdcError, ConfigError, ServerUnavailable
from consumer.followed import missing, topic_pattern
from consumer.interruption import Interruption
from consumer.kafka_client import failed, open_consumer, refused, to_record, topics
from consumer.kafka_handshake import shake_hands
from consumer.policy import failure, rule_for
from consumer.protocols import Observer, Start
from consumer.record import SourceRecord
from consumer.sections import Kafka
from consumer.watermark import Partition

_log = structlog.get_logger(__name__)
_KEEP_ALIVE_S = 0.5
_COMMIT_TIMEOUT_MS = 5000
_CLOSE_TIMEOUT_MS = 5000
_LOOK_UP_TIMEOUT_MS = 5000

OnPartitions = Callable[[Sequence[Partition]], None]


class KafkaSource:
    """A member of a consumer group. ``on_revoked`` is called while the partitions may still be committed."""

    def __init__(
        self, settings: Kafka, tables: Sequence[str], on_revoked: OnPartitions, observer: Observer | None = None
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._observer = observer or Observer()
        self._interruption = Interruption(self._observer)
        self._has_joined = False
        self._is_held = False
        self._ahead: list[SourceRecord] = []
        self._consumer = open_consumer(
            settings,
            group_id=settings.group_id,
            group_instance_id=settings.instance_id,
            auto_offset_reset="none",
            # Only this one keeps a partition number on one member over all topics: a user's tables stay together.
            partition_assignment_strategy=[RangePartitionAssignor],
            max_poll_records=settings.max_poll_records,
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.session_timeout_ms // 3,
            max_poll_interval_ms=settings.max_poll_interval_ms,
        )
        self._listener = _Listener(self._assigned, self._revoked)
        self._on_revoked = on_revoked

    def missing_topics(self) -> str:
        """What is waited for, or "" when there is something to follow.

        Raises:
            ConfigError: two topics carry the same table, or the broker refuses the settings.
            ServerUnavailable: the broker does not answer.

        """
        return missing(topics(self._settings), self._settings, self._tables)

    def subscribe(self) -> None:
        """Join the group."""
        if self._settings.topics:
            self._consumer.subscribe(topics=list(self._settings.topics), listener=self._listener)
        else:
            pattern = topic_pattern(self._settings.topic_prefix, self._tables)
            self._consumer.subscribe(pattern=pattern, listener=self._listener)

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        if self._is_held:
            self._is_held = False
            self._consumer.resume(*self._consumer.paused())
        if self._ahead:
            ahead, self._ahead = self._ahead, []
            return ahead
        return self._poll(timeout_s)

    def _poll(self, timeout_s: float) -> list[SourceRecord]:
        if (rest_s := self._interruption.rest_s) > 0:
            time.sleep(min(rest_s, timeout_s))
            return []
        try:
            records = self._read(timeout_s)
            if self._listener.failure is not None:
                raise self._listener.failure
        except CdcError:
            raise
        except Exception as error:
            self._wait_out(error)
            return []
        self._look_at_connection()
        return records

    def _read(self, timeout_s: float) -> list[SourceRecord]:
        try:
            polled = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
        except NoOffsetForPartitionError as error:
            # A group's first time on these partitions: everything that Kafka still holds.
            _log.info("no offsets yet: from the oldest records", action="offset.first", partitions=len(error.args[0]))
            self._consumer.seek_to_beginning(*error.args[0])
            return []
        except OffsetOutOfRangeError as error:
            self._jump(error)
            return []
        return [to_record(record) for records in polled.values() for record in records]

    def _jump(self, error: OffsetOutOfRangeError) -> None:
        """The next record is gone: deleted before it was read, or the topic was made anew and ends before it."""
        wanted: Mapping[TopicPartition, int] = error.args[0]
        if self._settings.out_of_range == "halt":
            where = ", ".join(f"{part.topic}[{part.partition}]@{offset}" for part, offset in wanted.items())
            raise failure("Kafka", error, f"the committed offset is out of range: {where}") from None
        # The public call of that name waits for minutes, and seek_to_beginning does not say where it went.
        earliest = self._consumer._fetcher.beginning_offsets(list(wanted), _LOOK_UP_TIMEOUT_MS)  # noqa: SLF001
        for part, offset in wanted.items():
            to = earliest[part]
            self._consumer.seek(part, to)
            _log.warning(
                "the next record is gone; going on from the earliest",
                action="offset.jumped",
                topic=part.topic,
                partition=part.partition,
                wanted=offset,
                goes_on_at=to,
            )
            partition = Partition(part.topic, part.partition)
            self._on_revoked([partition])  # offsets may come again now: what was done is committed and forgotten
            self._observer.jumped(partition, offset, to)

    def _wait_out(self, error: Exception) -> None:
        """Take note of a failure that may pass.

        Raises:
            ConfigError: it never worked, and a setting is to blame.
            ServerError: it will not pass.

        """
        # kafka-python 2.3.3: records whose reading failed half-way stay in place, and the next poll would turn around
        # them for ever. This lets them go, to be fetched again; nothing is closed. There is no public call.
        self._consumer._fetcher.close()  # noqa: SLF001
        is_setting = rule_for(error).is_setting
        if is_setting and not self._has_joined:
            raise refused(self._settings, error) from None
        found = failed(error)
        if not isinstance(found, ServerUnavailable):
            raise found from None
        self._interruption.failed(found, self._cause() if is_setting else "")

    def _look_at_connection(self) -> None:
        """The client polls without a word while brokers are away. There is no public call for this."""
        if not self._has_joined or self._consumer._coordinator.connected():  # noqa: SLF001
            self._interruption.worked()
        else:
            away = failure("Kafka", NoBrokersAvailable(), "no connection to the group's coordinator")
            self._interruption.unconnected(away, self._cause)

    def _cause(self) -> str:
        """A certificate or a password that was good before."""
        try:
            shake_hands(self._settings)
        except ConfigError as error:
            return str(error)
        return ""

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        ours = self._consumer.assignment()
        wanted = {
            TopicPartition(*partition): OffsetAndMetadata(offset, "", -1)
            for partition, offset in offsets.items()
            if TopicPartition(*partition) in ours
        }
        if not wanted:
            return True
        try:
            self._consumer.commit(wanted, timeout_ms=_COMMIT_TIMEOUT_MS)
        except CommitFailedError as error:
            _log.warning("commit refused: the partitions are another member's now", action="commit.lost")
            self._observer.uncommitted(failed(error))
            return False
        except Exception as error:
            found = failed(error)
            if not isinstance(found, ServerUnavailable):
                raise found from None
            if rule_for(error).is_setting:  # then heartbeats are refused too, which the client keeps to itself
                self._interruption.failed(found, self._cause())
            else:
                self._observer.uncommitted(found)
            # One that timed out may land all the same, in order: it says nothing that is not true.
            _log.info("commit put off", action="commit.later", error=type(error).__name__)
            return False
        return True

    def assignment(self) -> frozenset[Partition]:
        return frozenset(Partition(part.topic, part.partition) for part in self._consumer.assignment())

    def starts(self, partitions: Collection[Partition]) -> Mapping[Partition, Start]:
        parts = [TopicPartition(*partition) for partition in partitions]
        try:
            # The public calls of these names wait for minutes.
            oldest = self._consumer._fetcher.beginning_offsets(parts, _LOOK_UP_TIMEOUT_MS)  # noqa: SLF001
            ends = self._consumer._fetcher.end_offsets(parts, _LOOK_UP_TIMEOUT_MS)  # noqa: SLF001
            committed = {part: self._consumer.committed(part, timeout_ms=_LOOK_UP_TIMEOUT_MS) for part in parts}
        except Exception as error:
            raise failed(error) from None
        found = {}
        for part in parts:
            offset = committed[part]
            # Out of range: reading goes on at the oldest, or has been halted.
            is_there = offset is not None and oldest[part] <= offset <= ends[part]
            start = Start(offset if is_there else oldest[part], oldest[part], offset is None)
            found[Partition(part.topic, part.partition)] = start
        return found

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        self._ahead = [record for record in self._ahead if (record.topic, record.partition) not in offsets]
        ours = self._consumer.assignment()
        for partition, offset in offsets.items():
            if (part := TopicPartition(*partition)) in ours:
                self._consumer.seek(part, offset)

    def idle(self, seconds: float) -> None:
        self._is_held = True
        while seconds > 0:
            self._consumer.pause(*self._consumer.assignment())
            step = min(seconds, _KEEP_ALIVE_S)
            # What a partition that was assigned this moment brings is kept for the next poll.
            self._ahead += self._poll(step)
            seconds -= step

    def lag(self) -> Mapping[Partition, int]:
        lags = {}
        for part in self._consumer.assignment():
            end = self._consumer.highwater(part)
            position = self._consumer.position(part, timeout_ms=0)  # without the limit it may wait for a broker
            if end is not None and position is not None:
                lags[Partition(part.topic, part.partition)] = max(0, end - position)
        return lags

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=_CLOSE_TIMEOUT_MS)

    def _revoked(self, partitions: Sequence[Partition]) -> None:
        # kafka-python 2.3.3: where a poll ends between a join and its answer after topics were added, the client takes
        # itself for joined and never applies the new assignment; asked to join, it finishes. There is no public call.
        self._consumer._coordinator.request_rejoin()  # noqa: SLF001
        if partitions:
            self._on_revoked(partitions)

    def _assigned(self, partitions: Sequence[Partition]) -> None:
        self._has_joined = True
        self._observer.assigned(partitions)
        self._ahead = [record for record in self._ahead if (record.topic, record.partition) not in partitions]
        if self._is_held:
            self._consumer.pause(*(TopicPartition(*partition) for partition in partitions))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    def __init__(self, assigned: OnPartitions, revoked: OnPartitions) -> None:
        self._assigned = assigned
        self._revoked = revoked
        self.failure: Exception | None = None

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        partitions = [Partition(part.topic, part.partition) for part in assigned]
        _log.info("partitions assigned", action="group.assigned", partitions=len(partitions))
        self._assigned(partitions)

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        if revoked:
            _log.info("partitions revoked", action="group.revoked", partitions=len(revoked))
        try:
            self._revoked([Partition(part.topic, part.partition) for part in revoked])
        except Exception as error:  # the client would swallow it without a word
            self.failure = error
            _log.error("a listener failed", action="group.failed", error=str(error))
