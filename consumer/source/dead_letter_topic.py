"""The Kafka topic for dead letters: created if it is missing; letters are written with acks=all."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from kafka import KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError, MessageSizeTooLargeError, TopicAlreadyExistsError
from kafka.producer.future import FutureRecordMetadata

from consumer.errors import ConfigError, Place, ServerError, ServerUnavailable
from consumer.pipeline.dead_letter import DeadLetter
from consumer.pipeline.policy import rule_for
from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import failed, open_admin, open_producer, topics

_log = structlog.get_logger(__name__)
_ACKNOWLEDGED_WITHIN_S = 5.0
# A letter is a record and some headers, so it may be larger than the largest record of a source topic.
_LARGEST_LETTER = 16 * 1024 * 1024
_CONFIG = {"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": str(_LARGEST_LETTER)}


class DeadLetterTopic:
    """Writes dead letters to Kafka; a :class:`consumer.pipeline.protocols.DeadLetters`."""

    def __init__(self, settings: Kafka, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._producer: KafkaProducer | None = None
        self._sent: dict[Place, FutureRecordMetadata] = {}

    def reach(self) -> None:
        """Connect, and create the topic if it does not exist: one partition, no retention limit.

        Raises:
            ServerUnavailable: no broker answers.
            ConfigError: there is no topic and this account may not create it.

        """
        self._opened()
        if self._topic not in topics(self._settings) and self._create():
            _log.info("created the dead letter topic", action="letters.created", topic=self._topic)

    def check_creation(self) -> None:
        """Let the broker check the topic that :meth:`reach` would create, if there is none. Creates nothing.

        Raises:
            ServerUnavailable, ConfigError: as :meth:`reach`.

        """
        self._create(is_check=True)

    def _create(self, *, is_check: bool = False) -> bool:
        """Answers whether the topic did not exist before."""
        with open_admin(self._settings) as admin:
            try:
                topic = NewTopic(self._topic, num_partitions=1, topic_configs=_CONFIG)
                admin.create_topics([topic], validate_only=is_check)
            except TopicAlreadyExistsError:
                return False
            except KafkaError as error:
                found = failed(error)
                if isinstance(found, ServerUnavailable) and not rule_for(error).is_setting:
                    raise found from None
                raise ConfigError(
                    "CDC_DEAD_LETTERS__TOPIC",
                    f"the topic {self._topic} does not exist and can't be created: {type(error).__name__}",
                    fix="name a topic that exists, or allow this account to create it",
                ) from None
        return True

    def close(self) -> None:
        """Close the connections. A letter without acknowledgement is written again when its record is read again."""
        if self._producer is not None:
            self._producer.close(timeout=1)

    def send(self, letters: Sequence[DeadLetter]) -> None:
        producer = self._opened()
        for letter in letters:
            if letter.record.place not in self._sent:
                self._sent[letter.record.place] = self._send(producer, letter)
        for letter in letters:
            self._await(letter.record.place)
        self._sent.clear()

    def _opened(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = open_producer(self._settings, max_request_size=2**31 - 1)
        return self._producer

    def _send(self, producer: KafkaProducer, letter: DeadLetter) -> FutureRecordMetadata:
        try:
            return producer.send(
                self._topic, key=letter.record.key, value=letter.record.value, headers=letter.headers()
            )
        except KafkaError as error:
            raise self._refusal(error, letter.record.place) from None

    def _await(self, place: Place) -> None:
        """Wait for the broker's acknowledgement; a letter without an answer yet is not sent again."""
        future = self._sent[place]
        try:
            future.get(_ACKNOWLEDGED_WITHIN_S)
        except KafkaError as error:
            if not future.is_done:
                raise ServerUnavailable("Kafka", f"no acknowledgement yet for a dead letter in {self._topic}") from None
            del self._sent[place]
            raise self._refusal(error, place) from None

    def _refusal(self, error: KafkaError, place: Place) -> ServerError:
        found = failed(error)
        if isinstance(error, MessageSizeTooLargeError):
            found.advice = f"raise max.message.bytes of {self._topic}, then start again"
        found.problem = f"{self._topic} refuses the dead letter of {place}: {found.problem}"
        return found
