"""The topic of dead letters read to its end, and notes written to it. The group of ``run`` is not joined."""

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
    """What lies in ``topic`` now for the group in the settings.

    Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.source.clients.kafka.open_consumer`.
        ServerError: it has records that can't be read.
    """
    box = LetterStates(settings.group_id, has_topic=topic in topics(settings))
    for found in read_to_end(settings, [topic]) if box.has_topic else ():
        box.add(found)
    return box


def write_notes(settings: Kafka, topic: str, done: Iterable[tuple[Unapplied, Outcome]]) -> None:
    """Note that these were dealt with, each with how. Returns once all notes are safe.

    A note goes to each partition that has a letter of the record, behind the letter: the order of a partition says
    which was first.

    Raises:
        ServerUnavailable: some notes may not be safe; what they would have said is found out by doing it again.
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
