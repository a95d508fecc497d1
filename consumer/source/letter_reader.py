"""Reads the dead letter topic to its end, and writes notes to it. It does not join the group of ``run``."""

from __future__ import annotations

from collections.abc import Iterable

from kafka.errors import KafkaError
from kafka.producer.future import FutureRecordMetadata

from consumer.pipeline.letter_state import LetterStates, Outcome, Unapplied, note
from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import failed, open_producer, topics
from consumer.source.topic_reader import read_to_end

_ACKNOWLEDGED_WITHIN_S = 10.0


def read_letters(settings: Kafka, topic: str) -> LetterStates:
    """The present state of the dead letter ``topic``, for the group in the settings.

    Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.source.clients.kafka.open_consumer`.
        ServerError: the topic has records that can't be read.
    """
    states = LetterStates(settings.group_id, has_topic=topic in topics(settings))
    for found in read_to_end(settings, [topic]) if states.has_topic else ():
        states.add(found)
    return states


def write_notes(settings: Kafka, topic: str, done: Iterable[tuple[Unapplied, Outcome]]) -> None:
    """Write notes that these records were handled, each with its outcome. Returns when all are acknowledged.

    A note is written to each partition that has a letter of the record. In one partition, the offsets show that the
    note is after the letter.

    Raises:
        ServerUnavailable: some notes may not be acknowledged; then the command can be run again.
        ServerError: the topic refuses them.
    """
    producer = open_producer(settings)
    try:
        sent: list[FutureRecordMetadata] = []
        for unapplied, outcome in done:
            key, value, headers = note(unapplied, outcome)
            sent += [
                producer.send(topic, key=key, value=value, headers=headers, partition=partition)
                for partition in {letter.at.partition for letter in unapplied.letters}
            ]
        for future in sent:
            future.get(_ACKNOWLEDGED_WITHIN_S)
    except KafkaError as error:
        raise failed(error) from None
    finally:
        producer.close(timeout=1)
