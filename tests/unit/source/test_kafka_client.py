"""kafka-python's exceptions as this program's errors."""

from __future__ import annotations

from typing import Never

import pytest
from kafka.errors import IncompatibleBrokerVersion

from consumer.errors import ConfigError, ServerUnavailable
from consumer.settings.sections import Kafka
from consumer.source.clients import kafka
from consumer.source.clients.kafka import translated

SETTINGS = Kafka(topic_prefix="p", bootstrap_servers="127.0.0.1:1")


def unanswered() -> Never:
    """As the client says it of a broker that is starting: an order of `make faults`, seed 3 (2026-11-29)."""
    raise IncompatibleBrokerVersion("Kafka broker does not support the 'MetadataRequest_v0' Kafka protocol.")


def test_a_broker_that_is_starting_is_waited_for() -> None:
    with pytest.raises(ServerUnavailable, match="MetadataRequest_v0"):
        translated(SETTINGS, unanswered)


def test_a_broker_that_refuses_the_settings_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client raises the same exception for it; the first request tells the two apart."""

    def refused(_: Kafka) -> bool:
        raise ConfigError("CDC_KAFKA__SECURITY__PASSWORD", "not accepted")

    monkeypatch.setattr(kafka, "probe_broker", refused)
    with pytest.raises(ConfigError, match="PASSWORD"):
        translated(SETTINGS, unanswered)
