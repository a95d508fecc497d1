"""confluent-kafka: its configuration from the settings, its records as ours, its errors by kafka-python's names."""

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

# What is fetched ahead, of all partitions together: a quarter of a second's reading. The client's own 64 MB and
# 100,000 records of each partition would be half of the memory of this program.
_AHEAD_KB = 16_384
_AHEAD_RECORDS = 10_000
# How long a partition is left alone once so much is there. In the client's own second a whole backlog stands still.
_FULL_PAUSE_MS = 10
# Longer than a broker takes to answer, and shorter than people wait to be told that it does not.
_SOCKET_TIMEOUT_MS = 10_000
_LARGEST_WRITTEN = 1_000_000
# It reports each failed connection attempt; what matters of that is said by this program.
_SILENT = logging.Logger("confluent_kafka", logging.CRITICAL + 1)

_LOCAL: dict[str, type[Exception]] = {
    # A member that does not use the newer group protocol has no other that is fatal, and this one has no number then.
    "_FATAL": names.FencedInstanceIdError,
    "_TRANSPORT": names.KafkaConnectionError,
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
    """A consumer that connects by itself; ``more`` are the client's own options.

    Raises:
        KafkaError: of kafka-python: the settings do not go together.
    """
    options: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap_servers,
        # Without subscribing it is no member of it.
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
        "queued.max.messages.kbytes": _AHEAD_KB,
        "queued.min.messages": _AHEAD_RECORDS,
        "fetch.queue.backoff.ms": _FULL_PAUSE_MS,
        # As kafka-python does.
        "check.crcs": True,
        "isolation.level": "read_uncommitted",
        # A limit of records that are written, which must not be above that of a fetch.
        "message.max.bytes": min(_LARGEST_WRITTEN, settings.fetch_max_bytes),
        "log_level": 0,
        "logger": _SILENT,
    }
    with named():
        return Consumer(options | secured(settings.security) | more)


def secured(security: Security) -> dict[str, Any]:
    """The client's options for a secured connection. A certificate without a key has it in the same file."""
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
    """The client's record as ours."""
    headers: Any = message.headers()
    return SourceRecord(
        message.topic(),  # type: ignore[arg-type]  # None is of errors
        message.partition(),  # type: ignore[arg-type]  # None is of errors
        message.offset(),  # type: ignore[arg-type]  # None is of errors
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(headers) if headers else (),
    )


@contextmanager
def named() -> Iterator[None]:
    """The client's exceptions in the block, by kafka-python's names."""
    try:
        yield
    except KafkaException as error:
        raise by_name(error.args[0]) from None


def by_name(error: KafkaError) -> Exception:
    """An error as kafka-python has it: what a broker answers has a number, what the client says stands in a table."""
    code, name = error.code(), error.name()
    # Its own are all below -100.
    kind: type[Exception] = names.for_code(code) if code >= -1 else _LOCAL.get(name, names.KafkaError)
    return kind(f"{name}: {error.str()}")
