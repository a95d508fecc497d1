"""Connected Kafka clients, whose failures are this program's own errors; and what a cluster has of topics.

kafka-python hides why a connection failed behind several exceptions, and waits for ever in some calls when a listener
does not speak the protocol that was asked for: so the first words are spoken beforehand.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, NoBrokersAvailable, UnknownTopicOrPartitionError

from consumer.errors import ConfigError, ServerError
from consumer.events.record import SourceRecord
from consumer.net.tls import Renewed
from consumer.pipeline.policy import Action, failure, rule_for
from consumer.settings.sections import Kafka
from consumer.source.clients.handshake import BLAME, files, shake_hands

_REQUEST_TIMEOUT_MS = 10_000
# How soon a topic that Debezium has just made is seen; the client's own five minutes are too long for a new table.
METADATA_AGE_MS = 3000
# How long a broker may hold back an empty answer: short, for a poll in that time also sees the program's signals.
FETCH_WAIT_MS = 100
# The longest pause between two attempts to connect. The client's own 30 s would be added to every outage.
LONGEST_BACKOFF_MS = 3000

# How long a consumer outside of a group waits for one answer. In a group a join may take the whole poll interval, which
# is what the client's own five minutes are for; alone they would only keep a hung broker from being noticed.
ALONE_TIMEOUT_MS = 30_000

_T = TypeVar("_T")


def open_consumer(settings: Kafka, **options: Any) -> KafkaConsumer:
    """A connected consumer, in no group unless ``options`` say so.

    Raises:
        ServerUnavailable: no broker answered.
        ConfigError: a broker answered, but not to these settings.
    """
    if "group_id" not in options:
        options["request_timeout_ms"] = ALONE_TIMEOUT_MS
    return _opened(
        settings,
        lambda: KafkaConsumer(
            **_connection(settings),
            enable_auto_commit=False,
            metadata_max_age_ms=METADATA_AGE_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            # With sessions an idle partition is not spoken of again after a rebalance, and its end stays unknown.
            enable_incremental_fetch_sessions=False,
            reconnect_backoff_max_ms=LONGEST_BACKOFF_MS,
            # The client's own limit of 1 MB is below what a fetch may bring, and breaks the connection.
            receive_message_max_bytes=2**31 - 1,
            fetch_max_bytes=settings.fetch_max_bytes,
            max_partition_fetch_bytes=settings.max_partition_fetch_bytes,
            **options,
        ),
    )


def topics(settings: Kafka) -> Mapping[str, int]:
    """Every topic with its number of partitions.

    Raises:
        ServerUnavailable, ConfigError: as :func:`open_consumer`.
    """

    def describe() -> Mapping[str, int]:
        with open_admin(settings) as admin:
            return {each["topic"]: len(each["partitions"]) for each in admin.describe_topics()}

    return _translated(settings, describe)


def committed_topics(settings: Kafka) -> frozenset[str]:
    """The topics of which the group has offsets; asked without joining it.

    Raises:
        ServerUnavailable, ConfigError: as :func:`open_consumer`.
    """

    def describe() -> frozenset[str]:
        with open_admin(settings) as admin:
            found = admin.list_consumer_group_offsets(settings.group_id)
            return frozenset(part.topic for part, offset in found.items() if offset.offset >= 0)

    return _translated(settings, describe)


def cluster_id(settings: Kafka) -> str:
    """The cluster's own name for itself, whatever its address.

    Raises:
        ServerUnavailable, ConfigError: as :func:`open_consumer`.
    """

    def describe() -> str:
        with open_admin(settings) as admin:
            return str(admin.describe_cluster()["cluster_id"])

    return _translated(settings, describe)


@contextmanager
def open_admin(settings: Kafka) -> Iterator[KafkaAdminClient]:
    """A client that asks for and makes topics, until the end of the block.

    Raises:
        ServerUnavailable, ConfigError: as :func:`open_consumer`.
    """
    admin = _opened(settings, lambda: KafkaAdminClient(**_connection(settings), request_timeout_ms=_REQUEST_TIMEOUT_MS))
    try:
        yield admin
    finally:
        admin.close()


def open_producer(settings: Kafka, **options: Any) -> KafkaProducer:
    """A connected producer, whose records are safe once acknowledged.

    Raises:
        ServerUnavailable, ConfigError: as :func:`open_consumer`.
    """
    return _opened(
        settings,
        lambda: KafkaProducer(
            **_connection(settings),
            acks="all",
            max_in_flight_requests_per_connection=1,
            max_block_ms=_REQUEST_TIMEOUT_MS,
            **options,
        ),
    )


def _opened(settings: Kafka, attempt: Callable[[], _T]) -> _T:
    shake_hands(settings)
    return _translated(settings, attempt)


def _translated(settings: Kafka, attempt: Callable[[], _T]) -> _T:
    try:
        return attempt()
    except NoBrokersAvailable as error:
        raise failure("Kafka", error, f"no broker answers at {settings.bootstrap_servers}") from None
    except (AssertionError, ValueError, TypeError) as error:
        if isinstance(error, ssl.SSLError):  # a certificate that is not trusted is a ValueError too
            raise refused(settings, error) from None
        problem = "the Kafka client does not take these settings together"
        fix = "compare CDC_KAFKA__SESSION_TIMEOUT_MS, __MAX_POLL_INTERVAL_MS and the sizes with docs/settings.md"
        raise ConfigError("CDC_KAFKA", problem, fix=fix) from error
    except (KafkaError, OSError) as error:
        raise (refused(settings, error) if rule_for(error).is_setting else failed(error)) from None


def failed(error: Exception) -> ServerError:
    """A client's exception as this program's own: its class says what follows."""
    # A check of Python's own may quote what it looked at.
    problem = str(error) if isinstance(error, (KafkaError, OSError)) else type(error).__name__
    return failure("Kafka", error, problem or type(error).__name__)


def refused(settings: Kafka, error: Exception) -> ConfigError:
    """The same at the start, for what a setting is to blame for."""
    rule = rule_for(error)
    if rule.action is Action.RETRY:
        # The client says IncompatibleBrokerVersion of a wrong password, and of a listener with another protocol.
        problem = f"the broker at {settings.bootstrap_servers} refused: {error}"
        return ConfigError("CDC_KAFKA__SECURITY", problem, fix=rule.advice)
    return ConfigError("CDC_KAFKA", str(error), fix=rule.advice)


def _connection(settings: Kafka) -> dict[str, Any]:
    security = settings.security
    return {
        "bootstrap_servers": [host.strip() for host in settings.bootstrap_servers.split(",")],
        "security_protocol": security.protocol,
        "sasl_mechanism": security.mechanism if security.protocol.startswith("SASL") else None,
        "sasl_plain_username": security.user,
        "sasl_plain_password": security.password.get_secret_value() if security.password else None,
        "ssl_context": Renewed(tls, BLAME) if (tls := files(security)) else None,
    }


def beginning_offsets(consumer: KafkaConsumer, parts: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """The oldest offset of each partition that is still there.

    Raises:
        KafkaError, OSError: of the broker, or one of the topics is gone.
    """
    _learn(consumer, parts)
    return cast("dict[TopicPartition, int]", consumer.beginning_offsets(list(parts)) if parts else {})


def end_offsets(consumer: KafkaConsumer, parts: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """The next offset of each partition.

    Raises:
        KafkaError, OSError: of the broker, or one of the topics is gone.
    """
    _learn(consumer, parts)
    return cast("dict[TopicPartition, int]", consumer.end_offsets(list(parts)) if parts else {})


def _learn(consumer: KafkaConsumer, parts: Collection[TopicPartition]) -> None:
    """The client forgets topics that are not assigned, and then leaves them out of what it asks the brokers."""
    for topic in {part.topic for part in parts}:
        if consumer.partitions_for_topic(topic) is None:
            raise UnknownTopicOrPartitionError(topic)


def to_record(record: Any) -> SourceRecord:
    """The client's record as ours."""
    return SourceRecord(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
    )
