"""confluent-kafka: its configuration from the settings, its records and errors in the program's types."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kafka.errors as names
from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from consumer.events.record import SourceRecord
from consumer.settings.sections import Kafka, Security
from consumer.source.clients.kafka import FETCH_WAIT_MS, LONGEST_BACKOFF_MS, METADATA_AGE_MS

# The prefetch queue of all partitions together: records for a fifth of a second. The client's defaults, 64 MB and
# 100,000 records, would double this program's memory; twice these took 20 MB more, and no change was faster.
_PREFETCH_KB = 8_192
_PREFETCH_RECORDS = 5_000
# Pause of a partition's fetches when the queue is full. With the client's default of one second a backlog stalls.
_FULL_PAUSE_MS = 10
# Longer than a broker needs for an answer, but short enough to report a broker that does not answer.
_SOCKET_TIMEOUT_MS = 10_000
_LARGEST_WRITTEN = 1_000_000
# The client logs each failed connection attempt; this program logs lost connections itself.
_SILENT = logging.Logger("confluent_kafka", logging.CRITICAL + 1)

_LOCAL: dict[str, type[Exception]] = {
    # In the classic group protocol the only fatal error is a fenced instance id, and it has no number of its own.
    "_FATAL": names.FencedInstanceIdError,
    "_TRANSPORT": names.KafkaConnectionError,
    # The client asked an address of the bootstrap servers, and removed it when it knew the brokers; the same for a
    # broker that has left the cluster.
    "_DESTROY_BROKER": names.KafkaConnectionError,
    "_RESOLVE": names.KafkaConnectionError,
    "_ALL_BROKERS_DOWN": names.NoBrokersAvailable,
    "_TIMED_OUT": names.KafkaTimeoutError,
    "_TIMED_OUT_QUEUE": names.KafkaTimeoutError,
    "_WAIT_COORD": names.CoordinatorNotAvailableError,
    "_DESTROY": names.Cancelled,
    "_IN_PROGRESS": names.RebalanceInProgressError,
    "_STATE": names.RebalanceInProgressError,
    "_MAX_POLL_EXCEEDED": names.CommitFailedError,
    "_ASSIGNMENT_LOST": names.CommitFailedError,
    "_UNKNOWN_TOPIC": names.UnknownTopicOrPartitionError,
    "_UNKNOWN_PARTITION": names.UnknownTopicOrPartitionError,
    "_AUTHENTICATION": names.SaslAuthenticationFailedError,
    "_SSL": ssl.SSLError,
    "_BAD_MSG": names.CorruptRecordError,
    "_BAD_COMPRESSION": names.CorruptRecordError,
    "_NOT_IMPLEMENTED": names.UnsupportedCodecError,
    "_INVALID_ARG": names.KafkaConfigurationError,
}


def open_consumer(settings: Kafka, more: dict[str, Any]) -> Consumer:
    """A consumer, which connects in the background; ``more``: additional client options.

    Raises:
        KafkaError: kafka-python's: the settings contradict each other.
    """
    options: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap_servers,
        # A client that does not subscribe is no member of the group.
        "group.id": settings.group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "topic.metadata.refresh.interval.ms": METADATA_AGE_MS,
        "reconnect.backoff.max.ms": LONGEST_BACKOFF_MS,
        "socket.timeout.ms": _SOCKET_TIMEOUT_MS,
        "fetch.wait.max.ms": FETCH_WAIT_MS,
        "fetch.max.bytes": settings.fetch_max_bytes,
        "max.partition.fetch.bytes": settings.max_partition_fetch_bytes,
        "receive.message.max.bytes": 2**31 - 1,
        "queued.max.messages.kbytes": _PREFETCH_KB,
        "queued.min.messages": _PREFETCH_RECORDS,
        "fetch.queue.backoff.ms": _FULL_PAUSE_MS,
        # The same as kafka-python.
        "check.crcs": True,
        "isolation.level": "read_uncommitted",
        # A limit for written records; the client refuses a value above the fetch limit.
        "message.max.bytes": min(_LARGEST_WRITTEN, settings.fetch_max_bytes),
        "log_level": 0,
        "logger": _SILENT,
    }
    with named():
        return Consumer(options | secured(settings.security) | more)


def secured(security: Security) -> dict[str, Any]:
    """The client's options for TLS and SASL. If no key file is set, the key is in the certificate's file."""
    options: dict[str, Any] = {"security.protocol": security.protocol}
    if security.protocol.startswith("SASL"):
        password = security.password.get_secret_value() if security.password else None
        options |= {
            "sasl.mechanism": security.mechanism,
            "sasl.username": security.user,
            "sasl.password": password,
        }
    if security.ca is not None:
        options["ssl.ca.location"] = str(security.ca)
    if security.certificate is not None:
        options["ssl.certificate.location"] = str(security.certificate)
        options["ssl.key.location"] = str(security.key or security.certificate)
    return options


def to_record(message: Message) -> SourceRecord:
    """The client's record as a SourceRecord."""
    headers: Any = message.headers()
    return SourceRecord(
        message.topic(),  # type: ignore[arg-type]  # None only in errors
        message.partition(),  # type: ignore[arg-type]  # None only in errors
        message.offset(),  # type: ignore[arg-type]  # None only in errors
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(headers) if headers else (),
    )


@contextmanager
def named() -> Iterator[None]:
    """Translates the client's exceptions in the block to kafka-python's."""
    try:
        yield
    except KafkaException as error:
        raise by_name(error.args[0]) from None


def by_name(error: KafkaError) -> Exception:
    """The error as kafka-python's class: by the broker's error code, or by the table of the client's own errors."""
    code, name = error.code(), error.name()
    # The client's own codes are all below -100.
    kind: type[Exception] = names.for_code(code) if code >= -1 else _LOCAL.get(name, names.KafkaError)
    return kind(f"{name}: {error.str()}")
