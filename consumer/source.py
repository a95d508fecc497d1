"""Records from Kafka, as a member of a consumer group.

The client is kafka-python 2.3 (docs/decisions/0002-kafka-client.md); nothing of it is seen outside this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import structlog
from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import (
    CommitFailedError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from kafka.structs import OffsetAndMetadata

from consumer.config import Kafka
from consumer.errors import ConfigError, ServerError
from consumer.kafka_client import open_consumer, to_record, topics
from consumer.record import SourceRecord
from consumer.watermark import Partition

_log = structlog.get_logger(__name__)
_KEEP_ALIVE_S = 0.5
_COMMIT_TIMEOUT_MS = 5000
_CLOSE_TIMEOUT_MS = 5000

OnPartitions = Callable[[Sequence[Partition]], None]


class KafkaSource:
    """A member of a consumer group. ``on_revoked`` is called while the partitions may still be committed."""

    def __init__(self, settings: Kafka, tables: Sequence[str], on_revoked: OnPartitions) -> None:
        self._settings = settings
        self._tables = tables
        self._pattern = topic_pattern(settings.topic_prefix, tables)
        self._is_held = False
        self._ahead: list[SourceRecord] = []
        self._consumer = open_consumer(
            settings,
            group_id=settings.group_id,
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
        present = topics(self._settings)
        if self._settings.topics:
            found = sorted(set(self._settings.topics) & present.keys())
            missing = ", ".join(sorted(set(self._settings.topics) - present.keys()))
        else:
            found = sorted(topic for topic in present if re.match(self._pattern, topic))
            missing = "" if found else f"topics like {self._settings.topic_prefix}.<db or schema>.<captured table>"
        captured = [topic for topic in found if topic.rpartition(".")[2] in self._tables]
        _refuse_twice(captured)
        _warn_if_apart({topic: present[topic] for topic in captured})
        return missing

    def subscribe(self) -> None:
        """Join the group."""
        if self._settings.topics:
            self._consumer.subscribe(topics=list(self._settings.topics), listener=self._listener)
        else:
            self._consumer.subscribe(pattern=self._pattern, listener=self._listener)

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        if self._is_held:
            self._is_held = False
            self._consumer.resume(*self._consumer.paused())
        if self._ahead:
            ahead, self._ahead = self._ahead, []
            return ahead
        return self._poll(timeout_s)

    def _poll(self, timeout_s: float) -> list[SourceRecord]:
        try:
            polled = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
        except NoOffsetForPartitionError as error:
            # A group's first time on these partitions: everything that Kafka still holds.
            self._consumer.seek_to_beginning(*error.args[0])
            return []
        except OffsetOutOfRangeError as error:
            raise ServerError(
                "Kafka",
                f"the committed offset is out of range: {_ranges(error)}",
                "records were deleted before they were read, or the topic was made anew: rebuild Redis, then reset "
                "the group's offsets",
            ) from None
        except KafkaError as error:
            if not error.retriable:
                raise ServerError("Kafka", type(error).__name__) from None
            _log.warning("poll failed, trying again", action="poll.retry", error=type(error).__name__)
            return []
        return [to_record(record) for records in polled.values() for record in records]

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
        except CommitFailedError:
            _log.warning("commit refused: the partitions are another member's now", action="commit.lost")
            return False
        except KafkaError as error:
            _log.info("commit put off", action="commit.later", error=type(error).__name__)
            return False
        return True

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
            if end is not None:
                lags[Partition(part.topic, part.partition)] = max(0, end - self._consumer.position(part))
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
        self._ahead = [record for record in self._ahead if (record.topic, record.partition) not in partitions]
        if self._is_held:
            self._consumer.pause(*(TopicPartition(*partition) for partition in partitions))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    def __init__(self, assigned: OnPartitions, revoked: OnPartitions) -> None:
        self._assigned = assigned
        self._revoked = revoked

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
            _log.exception("a listener failed", action="group.failed", error=type(error).__name__)


def topic_pattern(prefix: str, tables: Sequence[str]) -> str:
    """What the topics of the captured tables look like: ``<prefix>.<db or schema>.<table>``."""
    return rf"^{re.escape(prefix)}\.[^.]+\.({'|'.join(re.escape(table) for table in tables)})$"


def _warn_if_apart(partitions: Mapping[str, int]) -> None:
    """A user's tables meet on one member only where the topics have the same number of partitions."""
    if len(set(partitions.values())) > 1:
        _log.warning(
            "topics differ in their number of partitions: one database transaction may be told as several messages",
            action="start.not_copartitioned",
            partitions=partitions,
        )


def _refuse_twice(topics: Sequence[str]) -> None:
    by_table: dict[str, list[str]] = {}
    for topic in topics:
        by_table.setdefault(topic.rpartition(".")[2], []).append(topic)
    for table, found in by_table.items():
        if len(found) > 1:
            raise ConfigError(
                "CDC_KAFKA__TOPICS",
                f"more than one topic carries the table {table}: {', '.join(found)}",
                "the exact topics to follow, comma separated",
            )


def _ranges(error: Exception) -> str:
    found = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return ", ".join(f"{part.topic}[{part.partition}]@{offset}" for part, offset in found.items())
