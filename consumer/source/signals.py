"""Debezium's signal topic, to which we write, and its notifications, which we follow."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from kafka import TopicPartition
from kafka.errors import KafkaError

from consumer.errors import ServerError
from consumer.settings.sections import Kafka, Snapshot
from consumer.source.clients.kafka import end_offsets, failed, open_consumer, open_producer, topics

_ACKNOWLEDGED_WITHIN_S = 10.0


class Signals:
    """Open from its making: what is told from then on is heard."""

    def __init__(self, kafka: Kafka, settings: Snapshot) -> None:
        """Raises ServerUnavailable and ConfigError as :func:`consumer.source.clients.kafka.open_consumer`, and
        ServerError where nothing was ever told.
        """
        self._prefix = kafka.topic_prefix
        self._signals = settings.signal_topic or f"{self._prefix}.signals"
        told = settings.notification_topic or f"{self._prefix}.notifications"
        partitions = topics(kafka).get(told)
        if partitions is None:
            raise ServerError(
                "Kafka",
                f"there is no topic {told}, so nothing could be said of a snapshot",
                "a connector with notification.enabled.channels=sink makes it when it starts (connect/README.md); or"
                " set CDC_SNAPSHOT__NOTIFICATION_TOPIC",
            )
        self._producer = open_producer(kafka)
        self._consumer = open_consumer(kafka)
        try:
            parts = [TopicPartition(told, number) for number in range(partitions)]
            self._consumer.assign(parts)
            for part, end in end_offsets(self._consumer, parts).items():
                self._consumer.seek(part, end)
        except Exception as error:
            self.close()
            raise failed(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go. A snapshot that runs goes on."""
        self._producer.close(timeout=1)
        self._consumer.close(autocommit=False)

    def send(self, signal: bytes) -> None:
        """Write a signal; a connector takes those with its ``topic.prefix`` as the key.

        Raises:
            ServerUnavailable, ServerError: it is not known to be written.
        """
        try:
            # Debezium reads one partition.
            sent = self._producer.send(self._signals, key=self._prefix.encode(), value=signal, partition=0)
            sent.get(_ACKNOWLEDGED_WITHIN_S)
        except KafkaError as error:
            found = failed(error)
            found.problem = f"the signal topic {self._signals} takes no signal: {found.problem}"
            raise found from None

    def poll(self, timeout_s: float) -> Sequence[bytes | None]:
        """What was told next, or nothing after ``timeout_s``.

        Raises:
            ServerUnavailable, ServerError: from Kafka.
        """
        try:
            found = self._consumer.poll(timeout_ms=round(timeout_s * 1000))
        except Exception as error:
            raise failed(error) from None
        return [record.value for records in found.values() for record in records]
