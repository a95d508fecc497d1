"""Connected Kafka clients with this program's errors, and the topics of a cluster.

kafka-python hides the reason of a failed connection behind several exceptions. If a listener uses another protocol,
some of its calls wait for ever. So the settings are checked with a first request (:mod:`.handshake`).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    NoBrokersAvailable,
    StaleMetadata,
    UnknownTopicOrPartitionError,
)
from kafka.future import Future

from consumer.errors import ConfigError, ServerError
from consumer.net.tls import ReloadingContext
from consumer.pipeline.policy import Action, failure, rule_for
from consumer.settings.sections import Kafka
from consumer.source.clients.connections import SOCKET_OPTIONS, Connections
from consumer.source.clients.fetched_records import FetchedRecords
from consumer.source.clients.handshake import SETTING_NAMES, files, probe_broker

_REQUEST_TIMEOUT_MS = 10_000
# How long the client may connect to a broker that has answered the first request. Its default of 2 s is too short for a
# busy broker, because the client waits for the first answer half of that time, and then half of the rest.
_CONNECT_TIMEOUT_MS = 10_000
_METADATA_REQUESTS = 3
# How fast new topics are noticed. The client's default of five minutes is too long for a new table.
METADATA_AGE_MS = 3000
# How long a broker may delay an empty fetch response. Short, because signals of the process wait for the poll.
FETCH_WAIT_MS = 100
# The longest pause between two attempts to connect. The client's default of 30 s would prolong every outage.
LONGEST_BACKOFF_MS = 3000

# After this time without an answer, a consumer opens a new connection. As in Kafka's own client; the default of
# kafka-python is five minutes. A join may take longer (:class:`Connections`).
_ANSWER_TIMEOUT_MS = 30_000

_T = TypeVar("_T")


def open_consumer(settings: Kafka, **options: Any) -> KafkaConsumer:
    """A connected consumer, in no group unless ``options`` name one. Its ``poll`` answers SourceRecords.

    Raises:
        ServerUnavailable: no broker answered.
        ConfigError: a broker answered, but refuses these settings.
    """
    # The client refuses a timeout that is not longer than the session's.
    answer_timeout_ms = max(_ANSWER_TIMEOUT_MS, options.get("session_timeout_ms", 0) + 1)
    consumer = _opened(
        settings,
        lambda connection: KafkaConsumer(
            **(connection | options),
            enable_auto_commit=False,
            metadata_max_age_ms=METADATA_AGE_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            # With fetch sessions, responses omit idle partitions, so after a rebalance their ends are not known.
            enable_incremental_fetch_sessions=False,
            reconnect_backoff_max_ms=LONGEST_BACKOFF_MS,
            request_timeout_ms=answer_timeout_ms,
            # The client's default of 1 MB is less than a fetch response may have; then the client disconnects.
            receive_message_max_bytes=2**31 - 1,
            fetch_max_bytes=settings.fetch_max_bytes,
            max_partition_fetch_bytes=settings.max_partition_fetch_bytes,
        ),
    )
    consumer._fetcher.PartitionRecords = FetchedRecords  # noqa: SLF001  # there is no public place for it
    _ask_for_all(consumer)
    return consumer


def _ask_for_all(consumer: KafkaConsumer) -> None:
    """Let look-ups of offsets wait until each partition has a leader.

    The client leaves out partitions without a known leader, if another one has a leader. Then a look-up of begins or
    ends raises KeyError, and one by time answers None, as if all records were older: a replay would skip them. With
    the exception below the client loads the metadata and tries again, until its timeout.
    """
    fetcher = consumer._fetcher  # noqa: SLF001  # there is no public place for it
    ask = fetcher._send_list_offsets_requests  # noqa: SLF001

    def ask_for_all(wanted: Mapping[TopicPartition, int]) -> Future:
        by_node = fetcher._group_list_offset_requests(wanted)  # noqa: SLF001  # it requests missing metadata
        if sum(map(len, by_node.values())) < len(wanted):
            return Future().failure(StaleMetadata())
        return ask(wanted)

    fetcher._send_list_offsets_requests = ask_for_all  # noqa: SLF001


def topics(settings: Kafka) -> Mapping[str, int]:
    """All topics with their numbers of partitions.

    Raises:
        ServerUnavailable, ConfigError: as :func:`open_consumer`.
    """

    def describe() -> Mapping[str, int]:
        with open_admin(settings) as admin:
            return {each["topic"]: len(each["partitions"]) for each in admin.describe_topics()}

    return translated(settings, describe)


def committed_topics(settings: Kafka) -> frozenset[str]:
    """The topics for which the group has offsets; asked without joining the group.

    Raises:
        ServerUnavailable, ConfigError: as :func:`open_consumer`.
    """

    def describe() -> frozenset[str]:
        with open_admin(settings) as admin:
            found = admin.list_consumer_group_offsets(settings.group_id)
            return frozenset(part.topic for part, offset in found.items() if offset.offset >= 0)

    return translated(settings, describe)


def cluster_id(settings: Kafka) -> str:
    """The id of the cluster; it does not depend on the address.

    Raises:
        ServerUnavailable, ConfigError: as :func:`open_consumer`.
    """

    def describe() -> str:
        with open_admin(settings) as admin:
            return str(admin.describe_cluster()["cluster_id"])

    return translated(settings, describe)


@contextmanager
def open_admin(settings: Kafka) -> Iterator[KafkaAdminClient]:
    """An admin client, until the end of the block.

    Raises:
        ServerUnavailable, ConfigError: as :func:`open_consumer`.
    """
    admin = _opened(settings, lambda connection: KafkaAdminClient(**connection, request_timeout_ms=_REQUEST_TIMEOUT_MS))
    try:
        yield admin
    finally:
        admin.close()


def open_producer(settings: Kafka, **options: Any) -> KafkaProducer:
    """A connected producer with acks=all.

    Raises:
        ServerUnavailable, ConfigError: as :func:`open_consumer`.
    """
    return _opened(
        settings,
        lambda connection: KafkaProducer(
            **connection,
            acks="all",
            max_in_flight_requests_per_connection=1,
            max_block_ms=_REQUEST_TIMEOUT_MS,
            **options,
        ),
    )


def _opened(settings: Kafka, attempt: Callable[[dict[str, Any]], _T]) -> _T:
    """The client that ``attempt`` makes with the options of the connection."""
    connection = _connection(settings)
    if probe_broker(settings):
        connection["api_version_auto_timeout_ms"] = _CONNECT_TIMEOUT_MS
    return translated(settings, lambda: attempt(connection))


def translated(settings: Kafka, attempt: Callable[[], _T]) -> _T:
    """The answer of ``attempt``, with the client's exceptions as this program's errors.

    Raises:
        ServerUnavailable, ServerError: a broker is away, or refuses.
        ConfigError: a setting is wrong.
    """
    try:
        return attempt()
    except IncompatibleBrokerVersion as error:
        # The client raises this for a wrong password, for a listener with another protocol, and for a broker that is
        # starting. The first request tells them apart.
        probe_broker(settings)
        raise failure("Kafka", error, str(error)) from None
    except NoBrokersAvailable as error:
        raise failure("Kafka", error, f"no broker answers at {settings.bootstrap_servers}") from None
    except (AssertionError, ValueError, TypeError) as error:
        if isinstance(error, ssl.SSLError):  # some TLS errors are also a ValueError
            raise refused(settings, error) from None
        problem = "the Kafka client refuses this combination of settings"
        fix = "compare CDC_KAFKA__SESSION_TIMEOUT_MS, __MAX_POLL_INTERVAL_MS and the sizes with docs/settings.md"
        raise ConfigError("CDC_KAFKA", problem, fix=fix) from error
    except (KafkaError, OSError) as error:
        raise (refused(settings, error) if rule_for(error).is_setting else failed(error)) from None


def failed(error: Exception) -> ServerError:
    """A client's exception as one of this program's errors; the error's class gives the action.

    Raises:
        ConfigError: a package is not installed.
    """
    if (rule := rule_for(error)).is_package:
        raise ConfigError("CDC_KAFKA", str(error), fix=rule.advice)
    # The text of other exceptions may contain data.
    problem = str(error) if isinstance(error, (KafkaError, OSError)) else type(error).__name__
    return failure("Kafka", error, problem or type(error).__name__)


def refused(settings: Kafka, error: Exception) -> ConfigError:
    """As :func:`failed`, for failures at the start that are due to a setting."""
    rule = rule_for(error)
    if rule.action is Action.RETRY:
        problem = f"the broker at {settings.bootstrap_servers} refused: {error}"
        return ConfigError("CDC_KAFKA__SECURITY", problem, fix=rule.advice)
    return ConfigError("CDC_KAFKA", str(error), fix=rule.advice)


def _connection(settings: Kafka) -> dict[str, Any]:
    security = settings.security
    return {
        "kafka_client": Connections,
        "socket_options": SOCKET_OPTIONS,
        "bootstrap_servers": [host.strip() for host in settings.bootstrap_servers.split(",")],
        "security_protocol": security.protocol,
        "sasl_mechanism": security.mechanism if security.protocol.startswith("SASL") else None,
        "sasl_plain_username": security.user,
        "sasl_plain_password": security.password.get_secret_value() if security.password else None,
        "ssl_context": ReloadingContext(tls, SETTING_NAMES) if (tls := files(security)) else None,
    }


def beginning_offsets(consumer: KafkaConsumer, parts: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """The offset of the oldest existing record of each partition.

    Raises:
        KafkaError, OSError: from the broker, or a topic does not exist any more.
    """
    _load_metadata(consumer, parts)
    return cast("dict[TopicPartition, int]", consumer.beginning_offsets(list(parts)) if parts else {})


def end_offsets(consumer: KafkaConsumer, parts: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """The end offset of each partition, which is the offset of the next record.

    Raises:
        KafkaError, OSError: from the broker, or a topic does not exist any more.
    """
    _load_metadata(consumer, parts)
    return cast("dict[TopicPartition, int]", consumer.end_offsets(list(parts)) if parts else {})


def _load_metadata(consumer: KafkaConsumer, parts: Collection[TopicPartition]) -> None:
    """Load the metadata of ``parts``: the client drops topics that are not assigned, and then omits them in requests.

    It asks again, because the reply to an earlier request, about other topics, may count as the reply to this one.
    """
    for _ in range(_METADATA_REQUESTS):
        missing = [part for part in parts if part.partition not in consumer.partitions_for_topic(part.topic)]
        if not missing:
            return
        consumer.topics()
    raise UnknownTopicOrPartitionError(", ".join(sorted({part.topic for part in missing})))
