"""Facts about a Kafka cluster, for `check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kafka.admin import ConfigResource
from kafka.errors import KafkaError

from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import failed, open_admin


def broker_version(settings: Kafka) -> tuple[int, ...]:
    """The lowest version that fits the brokers' protocol; they may be newer.

    Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.source.clients.kafka.open_consumer`.

    """
    with open_admin(settings) as admin:
        return tuple(admin.config["api_version"])


def topic_settings(settings: Kafka, topics: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """The settings of each existing topic by name, if the brokers show them.

    Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.source.clients.kafka.open_consumer`.
        ServerError: the brokers refuse the request.

    """
    with open_admin(settings) as admin:
        try:
            answers = admin.describe_configs([ConfigResource("TOPIC", topic) for topic in topics]) if topics else ()
        except (KafkaError, OSError) as error:
            raise failed(error) from None
    resources = (resource for answer in answers for resource in answer.resources)
    # If this account may not read a topic's settings, the answer has an error instead of entries.
    return {name: {entry[0]: entry[1] for entry in entries} for *_, name, entries in resources if entries}
