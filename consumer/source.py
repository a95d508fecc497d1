"""Records from Kafka, as a member of a consumer group.

The client is kafka-python 2.3 (docs/decisions/0002-kafka-client.md); nothing of it is seen outside this module.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import (
    CommitFailedError,
    IncompatibleBrokerVersion,
    KafkaConfigurationError,
    KafkaError,
    NoBrokersAvailable,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from kafka.structs import OffsetAndMetadata

from consumer.config import Kafka
from consumer.errors import ConfigError, ServerError, ServerUnavailable
from consumer.record import SourceRecord
from consumer.watermark import Partition

_log = structlog.get_logger(__name__)
_KEEP_ALIVE_S = 0.5
_METADATA_AGE_MS = 3000
_COMMIT_TIMEOUT_MS = 5000
_CLOSE_TIMEOUT_MS = 5000

Revoked = Callable[[Sequence[Partition]], None]


class KafkaSource:
    """A member of a consumer group. ``on_revoked`` is called while the partitions may still be committed."""

    def __init__(self, settings: Kafka, tables: Sequence[str], on_revoked: Revoked) -> None:
        self._settings = settings
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
        self._listener = _Listener(self._assigned, on_revoked)

    def missing_topics(self) -> str:
        """What is waited for, or "" when there is something to follow.

        Raises:
            ConfigError: two topics carry the same table.

        """
        try:
            present = self._consumer.topics()
        except KafkaError as error:
            return f"{type(error).__name__} while listing topics"
        if self._settings.topics:
            return ", ".join(sorted(set(self._settings.topics) - present))
        found = sorted(topic for topic in present if re.match(self._pattern, topic))
        _refuse_twice(found)
        self._warn_if_apart(found)
        return "" if found else f"topics like {self._settings.topic_prefix}.<db or schema>.<captured table>"

    def _warn_if_apart(self, topics: Sequence[str]) -> None:
        """A user's tables meet on one member only where the topics have the same number of partitions."""
        counts = {topic: len(self._consumer.partitions_for_topic(topic) or ()) for topic in topics}
        if len(set(counts.values())) > 1:
            _log.warning(
                "topics differ in their number of partitions: one database transaction may be told as several messages",
                action="start.not_copartitioned",
                partitions=counts,
            )

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

    def _assigned(self, partitions: Sequence[Partition]) -> None:
        self._ahead = [record for record in self._ahead if (record.topic, record.partition) not in partitions]
        if self._is_held:
            self._consumer.pause(*(TopicPartition(*partition) for partition in partitions))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    def __init__(self, assigned: Revoked, revoked: Revoked) -> None:
        self._assigned = assigned
        self._revoked = revoked

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        partitions = [Partition(part.topic, part.partition) for part in assigned]
        _log.info("partitions assigned", action="group.assigned", partitions=len(partitions))
        self._assigned(partitions)

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        if not revoked:
            return
        _log.info("partitions revoked", action="group.revoked", partitions=len(revoked))
        try:
            self._revoked([Partition(part.topic, part.partition) for part in revoked])
        except Exception as error:  # the client would swallow it without a word
            _log.exception("a listener failed", action="group.failed", error=type(error).__name__)


def open_consumer(settings: Kafka, **options: Any) -> KafkaConsumer:
    """A connected client, in no group unless ``options`` say so.

    Raises:
        ServerUnavailable: no broker answered.
        ConfigError: a broker answered, but not to these credentials.

    """
    try:
        return KafkaConsumer(
            bootstrap_servers=[host.strip() for host in settings.bootstrap_servers.split(",")],
            enable_auto_commit=False,
            metadata_max_age_ms=_METADATA_AGE_MS,
            fetch_max_wait_ms=100,
            **_security(settings),
            **options,
        )
    except NoBrokersAvailable:
        raise ServerUnavailable("Kafka", f"no broker answers at {settings.bootstrap_servers}") from None
    except (FileNotFoundError, PermissionError) as error:
        raise ConfigError("CDC_KAFKA__SECURITY", f"{error.filename}: {error.strerror}", "readable files") from None
    except (KafkaConfigurationError, AssertionError, ValueError, TypeError) as error:
        raise ConfigError("CDC_KAFKA", str(error), "settings that go together") from None
    except (IncompatibleBrokerVersion, ssl.SSLError) as error:
        # The client says the former for a wrong password too.
        raise ConfigError(
            "CDC_KAFKA__SECURITY",
            f"the broker at {settings.bootstrap_servers} refused the connection: {error}",
            "the protocol, credentials and certificates that the listener asks for",
        ) from None


def _security(settings: Kafka) -> dict[str, Any]:
    security = settings.security
    return {
        "security_protocol": security.protocol,
        "sasl_mechanism": security.mechanism if security.protocol.startswith("SASL") else None,
        "sasl_plain_username": security.user,
        "sasl_plain_password": security.password.get_secret_value() if security.password else None,
        "ssl_cafile": str(security.ca) if security.ca else None,
        "ssl_certfile": str(security.certificate) if security.certificate else None,
        "ssl_keyfile": str(security.key) if security.key else None,
    }


def topic_pattern(prefix: str, tables: Sequence[str]) -> str:
    """What the topics of the captured tables look like: ``<prefix>.<db or schema>.<table>``."""
    return rf"^{re.escape(prefix)}\.[^.]+\.({'|'.join(re.escape(table) for table in tables)})$"


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


def to_record(record: Any) -> SourceRecord:
    return SourceRecord(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
    )


def _ranges(error: Exception) -> str:
    found = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return ", ".join(f"{part.topic}[{part.partition}]@{offset}" for part, offset in found.items())
