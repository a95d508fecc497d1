"""Kafka with TLS and accounts: what works, and what each fault is called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from consumer.settings.sections import Kafka
from consumer.source.clients.confluent_client import open_consumer
from consumer.source.clients.kafka import topics
from tests.e2e.process import command
from tests.integration.secure.authority import Authority
from tests.integration.secure.broker import SCRAM, USER, Broker

pytestmark = pytest.mark.stack
SECURITY = "CDC_KAFKA__SECURITY__"


@pytest.mark.parametrize("listener", ["TLS", "MUTUAL"])
def test_tls(broker: Broker, authority: Authority, listener: str) -> None:
    mine = authority.issue("kafka-client")
    security = {"protocol": "SSL", "ca": authority.file, "certificate": mine.certificate, "key": mine.key}
    settings = {"bootstrap_servers": broker.listeners[listener], "security": security}
    for _ in range(20):  # with TLS 1.3 the client gives up every other connection
        assert isinstance(topics(Kafka.model_validate(settings)), dict)


@pytest.mark.parametrize("mechanism", ["PLAIN", *SCRAM])
@pytest.mark.parametrize("listener", ["SASL", "SASLTLS"])
def test_an_account(broker: Broker, authority: Authority, listener: str, mechanism: str) -> None:
    security: dict[str, object] = {"mechanism": mechanism, "user": USER, "password": broker.password}
    tls = {"protocol": "SASL_SSL", "ca": authority.file} if listener == "SASLTLS" else {"protocol": "SASL_PLAINTEXT"}
    settings = {"bootstrap_servers": broker.listeners[listener], "security": security | tls}
    assert isinstance(topics(Kafka.model_validate(settings)), dict)


def test_the_other_client(broker: Broker, authority: Authority) -> None:
    mine = authority.issue("kafka-client-too")
    tls = {"protocol": "SSL", "ca": authority.file, "certificate": mine.certificate, "key": mine.key}
    account = {"user": USER, "password": broker.password, "ca": authority.file}
    listeners: list[tuple[str, dict[str, object]]] = [("MUTUAL", tls)]
    listeners += [("SASLTLS", {"protocol": "SASL_SSL", "mechanism": each, **account}) for each in ("PLAIN", *SCRAM)]
    for listener, security in listeners:
        settings = {"bootstrap_servers": broker.listeners[listener], "security": security}
        consumer = open_consumer(Kafka.model_validate(settings), {})
        assert consumer.list_topics(timeout=30).brokers
        consumer.close()


def faults(
    broker: Broker, authority: Authority, stranger: Authority
) -> dict[str, tuple[str, Mapping[str, object], str]]:
    """The listener and the settings of each fault, and what is said of it."""
    ca = {"CA": authority.file}
    tls: dict[str, object] = {"PROTOCOL": "SSL", **ca}
    account: dict[str, object] = {"USER": USER, "PASSWORD": broker.password}
    sasl: dict[str, object] = {"PROTOCOL": "SASL_PLAINTEXT", **account}
    sasl_tls: dict[str, object] = {"PROTOCOL": "SASL_SSL", **account, **ca}
    theirs, old = stranger.issue("kafka-theirs"), authority.issue("kafka-old", days=-1)
    shown = {"CERTIFICATE": theirs.certificate, "KEY": theirs.key}
    wrong = "it does not accept this user and password"
    return {
        "wrong password, PLAIN": ("SASL", sasl | {"MECHANISM": "PLAIN", "PASSWORD": "wrong"}, f"PASSWORD: {wrong}"),
        "wrong password, SCRAM": ("SASLTLS", sasl_tls | {"PASSWORD": "wrong"}, f"PASSWORD: {wrong}"),
        "unknown user": ("SASLTLS", sasl_tls | {"USER": "nobody"}, f"PASSWORD: {wrong}"),
        "another mechanism": ("SASL256", sasl, "MECHANISM: it does not support SCRAM-SHA-512 (allowed: SCRAM-SHA-256)"),
        "stranger": ("TLS", tls | {"CA": stranger.file}, "CA: its certificate is not signed by a trusted authority"),
        "no authority named": ("TLS", {"PROTOCOL": "SSL"}, "CA: its certificate is not signed by a trusted authority"),
        "expired": ("EXPIRED", tls, "SERVERS: its certificate has expired"),
        "other name": ("OTHERNAME", tls, "SERVERS: its certificate is for another name"),
        "TLS 1.3 alone": ("NEWEST", tls, "SERVERS: it supports only newer or only older versions of TLS"),
        "no certificate": ("MUTUAL", tls, "CERTIFICATE: it requires a certificate of this client"),
        "certificate of a stranger": ("MUTUAL", tls | shown, "CERTIFICATE: it does not accept this client's"),
        "certificate that expired": (
            "MUTUAL",
            tls | {"CERTIFICATE": old.certificate, "KEY": old.key},
            "CERTIFICATE: it does not accept this client's certificate",
        ),
        "plain to TLS": ("TLS", {}, "PROTOCOL: it speaks TLS only (allowed: SSL or SASL_SSL)"),
        "plain to SASL": ("SASL", {}, "PROTOCOL: it requires a user and a password (PLAIN, SCRAM"),
        "TLS to plain": ("OPEN", tls, "PROTOCOL: it does not speak TLS (allowed: PLAINTEXT or SASL_PLAINTEXT)"),
        "TLS without SASL": ("SASLTLS", tls, "PROTOCOL: it requires a user and a password (PLAIN, SCRAM"),
        "SASL to plain": ("OPEN", sasl, "PROTOCOL: it does not use a user and password (allowed: PLAINTEXT)"),
        "SASL without TLS": ("SASLTLS", sasl, "PROTOCOL: it speaks TLS only"),
        "another key": ("MUTUAL", tls | shown | {"KEY": old.key}, "CERTIFICATE: the key does not belong to"),
        "no such file": ("TLS", tls | {"CA": "/none.pem"}, "CA: No such file or directory"),
        "no password": ("SASL", {"PROTOCOL": "SASL_PLAINTEXT", "USER": USER}, "SASL_PLAINTEXT needs a user and a"),
        "a file without TLS": ("OPEN", ca, "PLAINTEXT does not use a CA"),
    }


def test_each_fault_is_one_sentence_and_exit_code_2(
    broker: Broker, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    for name, (listener, settings, sentence) in faults(broker, authority, stranger).items():
        at = broker.listeners[listener]
        environment = {f"{SECURITY}{key}": str(value) for key, value in settings.items()}
        ran = command(environment | {"CDC_KAFKA__BOOTSTRAP_SERVERS": at}, "record", "any", "--to", str(tmp_path / "r"))
        # The sentence without the address, or the file, that is at fault.
        said = re.sub(r": (the broker at \S+:\d+|/\S+): ", ": ", ran.stderr)
        assert (ran.returncode, sentence in said) == (2, True), f"{name}: {ran.returncode} {ran.stderr}"
        assert len(ran.stderr.splitlines()) == 1, f"{name}: {ran.stderr}"
