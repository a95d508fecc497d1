"""The first words with a broker, spoken before the client speaks them, to learn why they fail.

kafka-python tells a wrong password, a certificate that is not trusted and a listener with another protocol apart from
nothing: it says that the broker is too old, that there is none, or waits. A broker that does not answer at all is left
to the client.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from kafka.errors import KafkaError
from kafka.protocol.metadata import MetadataRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl_authenticate import SaslAuthenticateRequest
from kafka.protocol.sasl_handshake import SaslHandshakeRequest
from kafka.sasl import get_sasl_mechanism

from consumer.errors import ConfigError
from consumer.net.tls import Files, Hello, SettingNames, context, refusal
from consumer.settings.sections import Kafka, Security

BLAME = SettingNames(
    "CDC_KAFKA__SECURITY",
    "CDC_KAFKA__BOOTSTRAP_SERVERS",
    "CDC_KAFKA__SECURITY__PROTOCOL",
    "SSL or SASL_SSL",
    "PLAINTEXT or SASL_PLAINTEXT",
    # kafka-python 2.3.3 takes what TLS 1.3 sends after the handshake for a broken connection, and closes it.
    ssl.TLSVersion.TLSv1_2,
)
_ANSWER_S = 3.0
_UNSUPPORTED_MECHANISM = 33
# SaslHandshake (key 17, version 1), correlation 1, no client's name, mechanism "?": an answer begins with its length.
_HELLO = Hello(b"\0\0\0\r\0\x11\0\x01\0\0\0\x01\xff\xff\0\x01?", (b"\0\0\0",))


def files(security: Security) -> Files | None:
    """What TLS needs; None without TLS."""
    return Files.of(security) if security.protocol.endswith("SSL") else None


def shake_hands(settings: Kafka) -> None:
    """Say to the first broker that answers what its listener wants to hear before anything else.

    Raises:
        ConfigError: it refuses the protocol, a certificate, the mechanism, or the user and the password.

    """
    for address in settings.bootstrap_servers.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            _greet(host.strip("[]"), int(port), settings.security)
        except OSError:
            continue
        return


def _greet(host: str, port: int, security: Security) -> None:
    """Raises OSError if the broker is not there, which is no setting's fault."""
    broker, tls = f"the broker at {host}:{port}", files(security)
    try:
        with _Talk(host, port, security) as talk:
            if security.protocol.startswith("SASL"):
                _log_in(talk, broker, security)
            else:
                talk.ask(MetadataRequest[1]([]))
    except (OSError, KafkaError, ValueError) as error:
        # ValueError: the proof of one that does not know the password.
        if (found := refusal(broker, host, port, tls, BLAME, _HELLO)) is not None:
            raise found from None
        if not security.protocol.startswith("SASL") and (offered := _mechanisms(host, port, security)):
            wanted = "SASL_SSL" if tls else "SASL_PLAINTEXT"
            problem = f"{broker}: it wants a user and a password ({', '.join(offered)})"
            raise ConfigError(BLAME.protocol, problem, allowed=wanted) from None
        raise OSError(type(error).__name__) from None


def _log_in(talk: _Talk, broker: str, security: Security) -> None:
    answer = talk.ask(SaslHandshakeRequest[1](security.mechanism))
    if answer.error_code == _UNSUPPORTED_MECHANISM:
        offered = ", ".join(answer.enabled_mechanisms)
        raise ConfigError(f"{BLAME.files}__MECHANISM", f"{broker}: it has no {security.mechanism}", allowed=offered)
    if answer.error_code:
        plain = security.protocol.removeprefix("SASL_")
        raise ConfigError(BLAME.protocol, f"{broker}: it asks for no user and password", allowed=plain)
    secret = security.password.get_secret_value() if security.password else ""
    mechanism = get_sasl_mechanism(security.mechanism)(
        sasl_plain_username=security.user, sasl_plain_password=secret, sasl_mechanism=security.mechanism
    )
    while not mechanism.is_done():
        answer = talk.ask(SaslAuthenticateRequest[0](mechanism.auth_bytes()))
        if answer.error_code:
            problem = f"{broker}: it does not accept this user and password ({security.mechanism})"
            raise ConfigError(f"{BLAME.files}__PASSWORD", problem, fix="set the password of CDC_KAFKA__SECURITY__USER")
        mechanism.receive(answer.auth_bytes)


def _mechanisms(host: str, port: int, security: Security) -> list[str]:
    """What a listener offers that wants SASL; nothing if it does not."""
    try:
        with _Talk(host, port, security) as talk:
            return list(talk.ask(SaslHandshakeRequest[1]("?")).enabled_mechanisms)
    except (OSError, KafkaError):
        return []


class _Talk:
    """A connection to a broker: one question, one answer."""

    def __init__(self, host: str, port: int, security: Security) -> None:
        self._protocol = KafkaProtocol(client_id="cdc-consumer")
        trusted = None if (tls := files(security)) is None else context(tls, BLAME)
        self._socket = socket.create_connection((host, port), _ANSWER_S)
        if trusted is not None:
            try:
                self._socket = trusted.wrap_socket(self._socket, server_hostname=host)
            except OSError:
                self._socket.close()
                raise

    def __enter__(self) -> _Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, question: Any) -> Any:
        """The answer. Raises OSError if the connection ends, KafkaError if it makes no sense."""
        self._protocol.send_request(question)
        self._socket.sendall(self._protocol.send_bytes())
        while True:
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionResetError("closed by the broker")
            for _, answer in self._protocol.receive_bytes(part):
                return answer
