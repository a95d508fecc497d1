"""A real broker with a listener of each kind of security, beside the open one of the stack."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.integration.secure.authority import HOST, Authority, Issued
from tests.support.stack import Stack, java, kafka
from tests.support.stack.errors import MissingTool
from tests.support.stack.kafka import libraries
from tests.support.stack.port import Ports

USER = "alice"
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
# Each listener's name, its protocol, and which certificate it shows.
_LISTENERS = {
    "TLS": ("SSL", "good"),
    "MUTUAL": ("SSL", "good"),
    "EXPIRED": ("SSL", "expired"),
    "OTHERNAME": ("SSL", "elsewhere"),
    "NEWEST": ("SSL", "good"),
    "SASL": ("SASL_PLAINTEXT", ""),
    "SASL256": ("SASL_PLAINTEXT", ""),
    "SASLTLS": ("SASL_SSL", "good"),
}
_LOGIN = "org.apache.kafka.common.security"
_SCRAM_MODULE = "scram.ScramLoginModule required;"


@dataclass(frozen=True)
class Broker:
    """``listeners`` are addresses by name, ``OPEN`` the one without TLS and accounts; ``password`` is that of USER with
    PLAIN and with SCRAM; ``shown`` is the certificate of those that are all right.
    """

    stack: Stack
    shown: Issued
    listeners: dict[str, str]
    password: str

    def restart(self) -> None:
        """Every connection is made anew, and every file is read anew."""
        self.stack.kafka.kill()
        self.stack.kafka.start()

    def set_password(self, password: str, mechanism: str = "SCRAM-SHA-512") -> None:
        """Of USER with SCRAM, while the broker runs."""
        place = self.stack._place
        configs = f"{mechanism}=[iterations=4096,password={password}]"
        target = ("--bootstrap-server", self.stack.kafka.bootstrap_servers, "--entity-type", "users")
        command = ("kafka.admin.ConfigCommand", *target, "--entity-name", USER, "--alter", "--add-config", configs)
        home = place.directory("kafka")
        jars = libraries(place)
        place.children.run(java.command(home, jars, *command), place.log("kafka-configs"), cwd=home)


@contextmanager
def secured(authority: Authority) -> Iterator[Broker]:
    """The broker and a Redis, until the end of the block."""
    issued = {
        "good": authority.issue("kafka"),
        "expired": authority.issue("kafka-expired", days=-1),
        "elsewhere": authority.issue("kafka-elsewhere", "elsewhere.test"),
    }
    listeners = {name: f"{HOST}:{Ports().take(f'kafka-{name}')}" for name in _LISTENERS}
    password = secrets.token_hex(8)
    plain = kafka.settings
    patch = pytest.MonkeyPatch()

    def settings(*places: object) -> dict[str, str]:
        found = plain(*places)  # type: ignore[arg-type]
        for name, (protocol, certificate) in _LISTENERS.items():
            found["listeners"] += f",{name}://{listeners[name]}"
            found["advertised.listeners"] += f",{name}://{listeners[name]}"
            found["listener.security.protocol.map"] += f",{name}:{protocol}"
            of_listener = f"listener.name.{name.lower()}"
            if certificate:
                found |= {
                    f"{of_listener}.ssl.keystore.type": "PEM",
                    f"{of_listener}.ssl.keystore.location": str(issued[certificate].both),
                    f"{of_listener}.ssl.truststore.type": "PEM",
                    f"{of_listener}.ssl.truststore.location": str(authority.file),
                }
            if protocol.startswith("SASL"):
                login = f'required username="{USER}" password="{password}" user_{USER}="{password}";'
                mechanisms = ("SCRAM-SHA-256",) if name == "SASL256" else ("PLAIN", *SCRAM)
                found[f"{of_listener}.sasl.enabled.mechanisms"] = ",".join(mechanisms)
                for mechanism in mechanisms:
                    module = f"plain.PlainLoginModule {login}" if mechanism == "PLAIN" else _SCRAM_MODULE
                    found[f"{of_listener}.{mechanism.lower()}.sasl.jaas.config"] = f"{_LOGIN}.{module}"
        found["listener.name.newest.ssl.enabled.protocols"] = "TLSv1.3"
        found["listener.name.mutual.ssl.client.auth"] = "required"
        return found

    patch.setattr(kafka, "settings", settings)
    try:
        stack = Stack.start((), ("standalone",), False, kind="native")
    except MissingTool as missing:
        pytest.skip(str(missing))
    finally:
        patch.undo()
    with stack:
        listeners["OPEN"] = stack.kafka.bootstrap_servers
        broker = Broker(stack, issued["good"], listeners, password)
        for mechanism in SCRAM:
            broker.set_password(password, mechanism)
        yield broker
