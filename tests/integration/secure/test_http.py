"""The schema registry and Kafka Connect with TLS and accounts: what works, and what each fault is called."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import pytest
from pydantic import SecretStr

from consumer.settings import sections
from consumer.source.connect.client import ConnectApi
from consumer.source.registry import Registry
from tests.e2e.process import command
from tests.integration.secure.authority import Authority
from tests.integration.secure.gateway import USER, Gateway

# `run` asks the registry first of all; `connect status` asks nobody but Connect.
BOTH = pytest.mark.parametrize("section", ["CDC_REGISTRY", "CDC_CONNECT"])


@pytest.mark.parametrize("name", ["good", "mutual", "plain"])
def test_with_an_account(gateway: Gateway, authority: Authority, name: str) -> None:
    mine = authority.issue("http-client")
    settings = {
        "url": gateway.url(name, "http" if name == "plain" else "https"),
        "user": USER,
        "password": SecretStr(gateway.password),
        "ca": authority.file,
        "certificate": mine.certificate,
        "key": mine.key,
    }
    with closing(Registry(sections.Registry.model_validate(settings))) as registry:
        registry.reach()
        assert registry.subjects() == set()
    with ConnectApi(sections.Connect.model_validate(settings)) as api:
        assert api.names() == []


def faults(gateway: Gateway, authority: Authority, stranger: Authority) -> dict[str, tuple[Mapping[str, object], str]]:
    """The settings of each fault, and what is said of it behind the section's name."""
    trusting = {"CA": authority.file}
    good = trusting | {"URL": gateway.url("good")}
    theirs = stranger.issue("http-theirs")
    return {
        "wrong password": (good | {"PASSWORD": "wrong"}, "PASSWORD: {} at_good: it does not accept this user"),
        "unknown user": (good | {"USER": "nobody"}, "PASSWORD: {} at_good: it does not accept this user"),
        "wrong password, plain": ({"URL": gateway.url("plain", "http"), "PASSWORD": "wrong"}, "PASSWORD: {}"),
        "stranger": (
            good | {"CA": stranger.file},
            "CA: {} at_good: its certificate is not signed by a trusted authority",
        ),
        "no authority named": (
            {"URL": gateway.url("good")},
            "CA: {} at_good: its certificate is not signed by a trusted authority",
        ),
        "expired": (trusting | {"URL": gateway.url("expired")}, "URL: {}"),
        "other name": (trusting | {"URL": gateway.url("elsewhere")}, "URL: {}"),
        "no certificate": (trusting | {"URL": gateway.url("mutual")}, "CERTIFICATE: {}"),
        "certificate of a stranger": (
            trusting | {"URL": gateway.url("mutual"), "CERTIFICATE": theirs.both},
            "CERTIFICATE: {}",
        ),
        "plain to TLS": (
            {"URL": gateway.url("good", "http")},
            "URL: {} at_plain_to_good: it speaks TLS only (allowed: https://…)",
        ),
        "TLS to plain": (trusting | {"URL": gateway.url("plain")}, "URL: {}"),
        "no such file": (good | {"CA": "/none.pem"}, "CA: /none.pem: No such file or directory"),
        "no certificate in it": (good | {"CA": theirs.key}, f"CA: {theirs.key}: no certificate in it"),
    }


WORDS = {
    "wrong password, plain": "it does not accept this user and password",
    "expired": "its certificate has expired",
    "other name": "its certificate is for another name",
    "no certificate": "it requires a certificate of this client",
    "certificate of a stranger": "it does not accept this client's certificate",
    "TLS to plain": "it does not speak TLS (allowed: http://…)",
}


@BOTH
def test_each_fault_is_one_sentence_and_exit_code_2(
    gateway: Gateway, authority: Authority, stranger: Authority, section: str
) -> None:
    server, arguments = {
        "CDC_REGISTRY": ("schema registry", ["run"]),
        "CDC_CONNECT": ("Kafka Connect", ["connect", "status"]),
    }[section]
    account = {"USER": USER, "PASSWORD": gateway.password}
    for name, (settings, sentence) in faults(gateway, authority, stranger).items():
        environment = {f"{section}__{key}": str(value) for key, value in {**account, **settings}.items()}
        ran = command(environment | {"CDC_METRICS__PORT": "0"}, *arguments)
        said = sentence.format(server).replace("at_good", gateway.url("good"))
        said = said.replace("at_plain_to_good", gateway.url("good", "http"))
        for words in (f"{section}__{said}", WORDS.get(name, "")):
            assert (ran.returncode, words in ran.stderr) == (2, True), f"{name}: {ran.returncode} {ran.stderr}"
        assert len(ran.stderr.splitlines()) == 1, f"{name}: {ran.stderr}"
