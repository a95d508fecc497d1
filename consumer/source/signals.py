"""Debezium's signal topic, which the program writes, and the notification topic, which it reads."""

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
    """Reads the notifications from the time when it is created."""

    def __init__(self, kafka: Kafka, settings: Snapshot) -> None:
        """Connect. Raises ServerUnavailable and ConfigError as :func:`consumer.source.clients.kafka.open_consumer`, and
        ServerError if there is no notification topic.
        """
        self._prefix = kafka.topic_prefix
        self._signals = settings.signal_topic or f"{self._prefix}.signals"
        notifications = settings.notification_topic or f"{self._prefix}.notifications"
        partitions = topics(kafka).get(notifications)
        if partitions is None:
            raise ServerError(
                "Kafka",
                f"there is no topic {notifications}, so the state of a snapshot can't be read",
                "a connector with notification.enabled.channels=sink creates it at its start (connect/README.md); or"
                " set CDC_SNAPSHOT__NOTIFICATION_TOPIC",
            )
        self._producer = open_producer(kafka)
        self._consumer = open_consumer(kafka)
        try:
            parts = [TopicPartition(notifications, number) for number in range(partitions)]
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
        """Close the connections. A running snapshot continues."""
        self._producer.close(timeout=1)
        self._consumer.close(autocommit=False)

    def send(self, signal: bytes) -> None:
        """Write a signal, with the connector's ``topic.prefix`` as the key.

        Raises:
            ServerUnavailable, ServerError: the signal was not acknowledged.
        """
        try:
            # Debezium requires a signal topic with one partition.
            sent = self._producer.send(self._signals, key=self._prefix.encode(), value=signal, partition=0)
            sent.get(_ACKNOWLEDGED_WITHIN_S)
        except KafkaError as error:
            found = failed(error)
            found.problem = f"the signal topic {self._signals} refuses the signal: {found.problem}"
            raise found from None

    def poll(self, timeout_s: float) -> Sequence[bytes | None]:
        """The next notifications, or nothing after ``timeout_s`` seconds.

        Raises:
            ServerUnavailable, ServerError: from Kafka.
        """
        try:
            found = self._consumer.poll(timeout_ms=round(timeout_s * 1000))
        except Exception as error:
            raise failed(error) from None
        return [record.value for records in found.values() for record in records]
