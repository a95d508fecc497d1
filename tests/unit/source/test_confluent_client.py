"""The other Kafka client: what it is told of security, what its errors are called, and that it may be missing."""

from __future__ import annotations

import sys
from pathlib import Path

import kafka.errors
import pytest
from confluent_kafka import KafkaError

from consumer.errors import ConfigError
from consumer.pipeline.policy import Action, rule_for
from consumer.settings.sections import Kafka, Security
from consumer.settings.sources import load
from consumer.source.clients.confluent_client import by_name, open_consumer, secured


@pytest.mark.parametrize(
    ("security", "options"),
    [
        ({}, {"security.protocol": "PLAINTEXT"}),
        (
            {"protocol": "SASL_SSL", "mechanism": "PLAIN", "user": "u", "password": "p", "ca": Path("/ca.pem")},
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "PLAIN",
                "sasl.username": "u",
                "sasl.password": "p",
                "ssl.ca.location": "/ca.pem",
            },
        ),
        (
            {"protocol": "SSL", "certificate": Path("/c.pem"), "key": Path("/k.pem")},
            {
                "security.protocol": "SSL",
                "ssl.certificate.location": "/c.pem",
                "ssl.key.location": "/k.pem",
            },
        ),
        (
            {"protocol": "SSL", "certificate": Path("/both.pem")},
            {
                "security.protocol": "SSL",
                "ssl.certificate.location": "/both.pem",
                "ssl.key.location": "/both.pem",
            },
        ),
    ],
    ids=["plain", "account", "certificate", "one file"],
)
def test_security(security: dict[str, object], options: dict[str, str]) -> None:
    assert secured(Security.model_validate(security)) == options


@pytest.mark.parametrize(
    ("code", "name", "action"),
    [
        (KafkaError.FENCED_INSTANCE_ID, kafka.errors.FencedInstanceIdError, Action.HALT),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, kafka.errors.TopicAuthorizationFailedError, Action.RETRY),
        (KafkaError.UNKNOWN, kafka.errors.UnknownError, Action.RETRY),
        (KafkaError._TRANSPORT, kafka.errors.KafkaConnectionError, Action.RETRY),
        (KafkaError._DESTROY_BROKER, kafka.errors.KafkaConnectionError, Action.RETRY),
        (KafkaError._FATAL, kafka.errors.FencedInstanceIdError, Action.HALT),
        (KafkaError._AUTHENTICATION, kafka.errors.SaslAuthenticationFailedError, Action.RETRY),
        (KafkaError._EXISTING_SUBSCRIPTION, kafka.errors.KafkaError, Action.HALT),
    ],
)
def test_an_error_has_the_name_that_the_table_of_failures_knows(code: int, name: type, action: Action) -> None:
    found = by_name(KafkaError(code, "because"))
    assert type(found) is name
    assert rule_for(found).action is action
    assert "because" in str(found)


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(kafka.errors.KafkaConfigurationError, match=r"max\.poll\.interval\.ms"):
        open_consumer(Kafka(), {"session.timeout.ms": 10_000, "max.poll.interval.ms": 5_000})


def test_a_client_that_is_not_installed_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_KAFKA__CLIENT", "confluent")
    assert load().kafka.client == "confluent"
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[confluent\]'") as wrong:
        load()
    assert wrong.value.field == "CDC_KAFKA__CLIENT"
