"""TLS with a server: its files, and the reason why TLS does not work.

The client libraries hide the reason, or lose it. For example, if the server speaks TLS and the client does not, the
client only sees a closed connection, as when a server shuts down. So :func:`refusal` opens a connection of its own.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from consumer.errors import ConfigError
from consumer.settings.sections import Certified

_CONNECT_TIMEOUT_S = 2.0
# With TLS 1.3 the server refuses a client's certificate after the handshake, so the alert must be waited for.
_ALERT_TIMEOUT_S = 0.5


class Files(NamedTuple):
    """PEM files: the certificate authority (None: the system's), this client's certificate and its key."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def of(cls, settings: Certified) -> Self:
        """The files of a section of the settings."""
        return cls(settings.ca, settings.certificate, settings.key)


class ProbeRequest(NamedTuple):
    """A request in plain text that is safe to send to a server, and the possible beginnings of its answer."""

    request: bytes
    answer: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SettingNames:
    """Names of one server's settings, for error texts.

    ``files``: the common beginning of the settings for the TLS files. ``secured`` and ``plain``: the values of the
    setting ``protocol`` with TLS and without. ``highest``: the highest TLS version that the client supports.
    """

    files: str
    address: str
    protocol: str
    secured: str
    plain: str
    highest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED

    @property
    def ca(self) -> str:
        return f"{self.files}__CA"

    @property
    def certificate(self) -> str:
        return f"{self.files}__CERTIFICATE"

    @property
    def key(self) -> str:
        return f"{self.files}__KEY"


class Fault(NamedTuple):
    """Why TLS does not work. ``part``: the attribute of :class:`SettingNames` whose setting is wrong."""

    problem: str
    part: str
    allowed: str = ""
    fix: str = ""


EXPIRED = Fault(
    "its certificate has expired",
    "address",
    fix="give the server a certificate that is valid now, and check the clocks",
)
EARLY = EXPIRED._replace(problem="its certificate is not valid yet")
UNTRUSTED = Fault(
    "its certificate is not signed by a trusted authority",
    "ca",
    "the file of the authority that signed it",
)
OTHER_NAME = Fault("its certificate is for another name", "address", "a host name that is in its certificate")
UNSHOWN = Fault("it requires a certificate of this client", "certificate", fix="set one, and its key")
UNWANTED = Fault(
    "it does not accept this client's certificate",
    "certificate",
    "a certificate that is valid now and is signed by an authority that the server trusts",
)
OTHER_VERSION = Fault("it supports only newer or only older versions of TLS", "address", "a listener with TLS 1.2")
NO_TLS = Fault("it does not speak TLS", "protocol")
ONLY_TLS = Fault("it speaks TLS only", "protocol")

_OF_VERIFICATION = {9: EARLY, 10: EXPIRED, 62: OTHER_NAME, 64: OTHER_NAME}  # OpenSSL's X509_V_ERR_…


def context(files: Files, names: SettingNames) -> ssl.SSLContext:
    """An SSL context that trusts the authority and presents the client's certificate.

    Raises:
        ConfigError: a file can't be used.

    """
    for setting, path in ((names.ca, files.ca), (names.certificate, files.certificate), (names.key, files.key)):
        _refuse_unreadable(setting, path)
    try:
        made = ssl.create_default_context(cafile=files.ca)
    except ssl.SSLError:
        raise ConfigError(names.ca, f"{files.ca}: no certificate in it", allowed="a PEM file") from None
    made.maximum_version = names.highest
    if files.certificate is not None:
        try:
            made.load_cert_chain(files.certificate, files.key, password=_refuse_passphrase)
        except _Encrypted:
            raise ConfigError(names.key, "the key is encrypted", allowed="a key without a passphrase") from None
        except ssl.SSLError as error:
            is_other = error.reason == "KEY_VALUES_MISMATCH"
            problem = "the key does not belong to the certificate" if is_other else "no certificate and key in it"
            allowed = "PEM files of one certificate and its key"
            raise ConfigError(names.certificate, f"{files.certificate}: {problem}", allowed=allowed) from None
    return made


class _Encrypted(Exception):
    """A key with a passphrase. Without this, OpenSSL would ask for the passphrase on the terminal."""


def _refuse_passphrase() -> str:
    raise _Encrypted


def _refuse_unreadable(setting: str, path: Path | None) -> None:
    if path is None:
        return
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(setting, f"{path}: {error.strerror}", allowed="a readable PEM file") from None


class ReloadingContext:
    """Replaces an SSL context that a client keeps: reads the files for each connection, so they can be renewed."""

    def __init__(self, files: Files, names: SettingNames) -> None:
        self._files = files
        self._names = names

    def wrap_socket(
        self, sock: socket.socket, *, server_hostname: str, do_handshake_on_connect: bool = True
    ) -> ssl.SSLSocket:
        """Do the handshake, with the files as they are now.

        kafka-python retries only after ssl.SSLError: after a ConnectionResetError it never connects again.

        Raises:
            ssl.SSLError: the handshake failed, the server closed the connection, or a file can't be used now.
        """
        try:
            now = context(self._files, self._names)
            return now.wrap_socket(
                sock, server_hostname=server_hostname, do_handshake_on_connect=do_handshake_on_connect
            )
        except ssl.SSLError:
            raise
        except (ConfigError, OSError) as error:
            raise ssl.SSLError(str(error)) from None


def refusal(
    server: str, host: str, port: int, files: Files | None, names: SettingNames, probe: ProbeRequest
) -> ConfigError | None:
    """The TLS problem that prevents a connection with these settings; ``files`` is None without TLS.

    None if TLS works, or if the server does not answer at all.

    Raises:
        ConfigError: a file can't be used.

    """
    fault = _examine(host, port, files, names, probe)
    if fault is None:
        return None
    allowed = {NO_TLS: names.plain, ONLY_TLS: names.secured}.get(fault, fault.allowed)
    return ConfigError(getattr(names, fault.part), f"{server}: {fault.problem}", allowed=allowed, fix=fault.fix)


def _examine(host: str, port: int, files: Files | None, names: SettingNames, probe: ProbeRequest) -> Fault | None:
    if files is None:
        return ONLY_TLS if _answers_tls(host, port) else None
    verified = context(files, names)
    try:
        with (
            socket.create_connection((host, port), _CONNECT_TIMEOUT_S) as plain,
            verified.wrap_socket(plain, server_hostname=host) as secured,
        ):
            secured.settimeout(_ALERT_TIMEOUT_S)
            with suppress(TimeoutError):
                secured.recv(1)
    except OSError as error:
        found = _fault(error, has_certificate=files.certificate is not None)
        return found or (NO_TLS if _answers_plain(host, port, probe) else None)
    return None


def _fault(error: OSError, *, has_certificate: bool) -> Fault | None:
    """The fault that a handshake's error shows, or None if the error shows none."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _OF_VERIFICATION.get(error.verify_code, UNTRUSTED)
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    if "PROTOCOL_VERSION" in reason:
        return OTHER_VERSION
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return UNWANTED if has_certificate else UNSHOWN
    return None


def _answers_tls(host: str, port: int) -> bool:
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    try:
        connection = socket.create_connection((host, port), _CONNECT_TIMEOUT_S)
        with connection as plain, unverified.wrap_socket(plain) as secured:
            # If the connection is already reset, wrap_socket does no handshake and raises nothing.
            return secured.version() is not None
    except ssl.SSLError as error:
        # A server that refuses because it requires a certificate speaks TLS too.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def _answers_plain(host: str, port: int, probe: ProbeRequest) -> bool:
    try:
        with socket.create_connection((host, port), _CONNECT_TIMEOUT_S) as plain:
            plain.sendall(probe.request)
            return plain.recv(64).startswith(probe.answer)
    except OSError:
        return False
