"""A first request to a broker, sent before the client connects, to find out why connections fail.

kafka-python does not report a wrong password, an untrusted certificate or a listener with another protocol: it says
that the broker is too old, that there is no broker, or it waits. If a broker does not answer at all, the client handles
that.
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
from consumer.net.tls import Files, ProbeRequest, SettingNames, context, refusal
from consumer.settings.sections import Kafka, Security

SETTING_NAMES = SettingNames(
    "CDC_KAFKA__SECURITY",
    "CDC_KAFKA__BOOTSTRAP_SERVERS",
    "CDC_KAFKA__SECURITY__PROTOCOL",
    "SSL or SASL_SSL",
    "PLAINTEXT or SASL_PLAINTEXT",
    # kafka-python 2.3.3 treats the messages that TLS 1.3 sends after the handshake as a broken connection.
    ssl.TLSVersion.TLSv1_2,
)
_ANSWER_S = 3.0
_UNSUPPORTED_MECHANISM = 33
# SaslHandshake (key 17, version 1), correlation 1, no client id, mechanism "?". The answer begins with its length.
_PROBE = ProbeRequest(b"\0\0\0\r\0\x11\0\x01\0\0\0\x01\xff\xff\0\x01?", (b"\0\0\0",))


def files(security: Security) -> Files | None:
    """The TLS files; None without TLS."""
    return Files.of(security) if security.protocol.endswith("SSL") else None


def probe_broker(settings: Kafka) -> bool:
    """Log in at the first broker that answers, to check the connection's settings. False if none answers.

    Raises:
        ConfigError: the broker refuses the protocol, a certificate, the mechanism, or the user and the password.
    """
    for address in settings.bootstrap_servers.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            _connect(host.strip("[]"), int(port), settings.security)
        except OSError:
            continue
        return True
    return False


def _connect(host: str, port: int, security: Security) -> None:
    """Raises OSError if the broker is not available, and ConfigError if it refuses the settings."""
    broker, tls = f"the broker at {host}:{port}", files(security)
    try:
        with _Connection(host, port, security) as connection:
            if security.protocol.startswith("SASL"):
                _log_in(connection, broker, security)
            else:
                connection.request(MetadataRequest[1]([]))
    except (OSError, KafkaError, ValueError) as error:
        # ValueError: SCRAM's server signature is wrong, so the server does not know the password.
        if (found := refusal(broker, host, port, tls, SETTING_NAMES, _PROBE)) is not None:
            raise found from None
        if not security.protocol.startswith("SASL") and (offered := _mechanisms(host, port, security)):
            wanted = "SASL_SSL" if tls else "SASL_PLAINTEXT"
            problem = f"{broker}: it requires a user and a password ({', '.join(offered)})"
            raise ConfigError(SETTING_NAMES.protocol, problem, allowed=wanted) from None
        raise OSError(type(error).__name__) from None


def _log_in(connection: _Connection, broker: str, security: Security) -> None:
    answer = connection.request(SaslHandshakeRequest[1](security.mechanism))
    if answer.error_code == _UNSUPPORTED_MECHANISM:
        offered = ", ".join(answer.enabled_mechanisms)
        problem = f"{broker}: it does not support {security.mechanism}"
        raise ConfigError(f"{SETTING_NAMES.files}__MECHANISM", problem, allowed=offered)
    if answer.error_code:
        plain = security.protocol.removeprefix("SASL_")
        raise ConfigError(SETTING_NAMES.protocol, f"{broker}: it does not use a user and password", allowed=plain)
    secret = security.password.get_secret_value() if security.password else ""
    mechanism = get_sasl_mechanism(security.mechanism)(
        sasl_plain_username=security.user, sasl_plain_password=secret, sasl_mechanism=security.mechanism
    )
    while not mechanism.is_done():
        answer = connection.request(SaslAuthenticateRequest[0](mechanism.auth_bytes()))
        if answer.error_code:
            problem = f"{broker}: it does not accept this user and password ({security.mechanism})"
            raise ConfigError(
                f"{SETTING_NAMES.files}__PASSWORD", problem, fix="set the password of CDC_KAFKA__SECURITY__USER"
            )
        mechanism.receive(answer.auth_bytes)


def _mechanisms(host: str, port: int, security: Security) -> list[str]:
    """The mechanisms of a listener that requires SASL; empty if it does not."""
    try:
        with _Connection(host, port, security) as connection:
            return list(connection.request(SaslHandshakeRequest[1]("?")).enabled_mechanisms)
    except (OSError, KafkaError):
        return []


class _Connection:
    """A connection to a broker for one request at a time."""

    def __init__(self, host: str, port: int, security: Security) -> None:
        self._protocol = KafkaProtocol(client_id="cdc-consumer")
        trusted = None if (tls := files(security)) is None else context(tls, SETTING_NAMES)
        self._socket = socket.create_connection((host, port), _ANSWER_S)
        if trusted is not None:
            try:
                self._socket = trusted.wrap_socket(self._socket, server_hostname=host)
            except OSError:
                self._socket.close()
                raise

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, request: Any) -> Any:
        """The answer. Raises OSError if the connection ends, KafkaError if the answer can't be parsed."""
        self._protocol.send_request(request)
        self._socket.sendall(self._protocol.send_bytes())
        while True:
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionResetError("closed by the broker")
            for _, answer in self._protocol.receive_bytes(part):
                return answer
