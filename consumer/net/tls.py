"""TLS with a server: its files, and why there is none, found out by a connection of one's own.

The clients wrap the cause in errors of theirs, or lose it: where a server speaks TLS and the client does not, only a
closed connection is seen, as of a server that goes down. So :func:`refusal` looks for itself.
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

_LOOK_S = 2.0
# With TLS 1.3 a server refuses a client's certificate after the handshake, unasked.
_SECOND_THOUGHTS_S = 0.5


class Files(NamedTuple):
    """PEM files: of the authority (None: the system's), of this client's certificate and its key."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def of(cls, settings: Certified) -> Self:
        """Those of a section of settings."""
        return cls(settings.ca, settings.certificate, settings.key)


class Hello(NamedTuple):
    """What may be said to a server in plain text, and what its answer begins with."""

    says: bytes
    answer: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SettingNames:
    """The settings of one server: ``files`` is what those of the files begin with; ``secured`` and ``plain`` say what
    the setting ``protocol`` should be for TLS and for none; ``highest`` is the version of TLS that the client bears.
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
    """Why there is no TLS: what is to blame, as :class:`SettingNames` names it, and what would help."""

    problem: str
    part: str
    allowed: str = ""
    fix: str = ""


EXPIRED = Fault(
    "its certificate has expired", "address", fix="give the server one that is valid now, and let the clocks agree"
)
EARLY = EXPIRED._replace(problem="its certificate is not valid yet")
UNTRUSTED = Fault(
    "its certificate is of no authority that is trusted here", "ca", "the file of the authority that signed it"
)
OTHER_NAME = Fault("its certificate is for another name", "address", "a name that its certificate is for")
UNSHOWN = Fault("it asks for a certificate of this client", "certificate", fix="set one, and its key")
UNWANTED = Fault(
    "it does not accept this client's certificate",
    "certificate",
    "a certificate that is valid now, of an authority that the server trusts",
)
OTHER_VERSION = Fault("it speaks only newer or older versions of TLS", "address", "a listener with TLS 1.2")
NO_TLS = Fault("it does not speak TLS", "protocol")
ONLY_TLS = Fault("it speaks TLS only", "protocol")

_OF_VERIFICATION = {9: EARLY, 10: EXPIRED, 62: OTHER_NAME, 64: OTHER_NAME}  # OpenSSL's X509_V_ERR_…


def context(files: Files, blame: SettingNames) -> ssl.SSLContext:
    """What trusts the authority, and shows the certificate.

    Raises:
        ConfigError: a file can't be used.

    """
    for setting, path in ((blame.ca, files.ca), (blame.certificate, files.certificate), (blame.key, files.key)):
        _refuse_unreadable(setting, path)
    try:
        made = ssl.create_default_context(cafile=files.ca)
    except ssl.SSLError:
        raise ConfigError(blame.ca, f"{files.ca}: no certificate in it", allowed="a PEM file") from None
    made.maximum_version = blame.highest
    if files.certificate is not None:
        try:
            made.load_cert_chain(files.certificate, files.key, password=_refuse_passphrase)
        except _Encrypted:
            raise ConfigError(blame.key, "the key is encrypted", allowed="a key without a passphrase") from None
        except ssl.SSLError as error:
            is_other = error.reason == "KEY_VALUES_MISMATCH"
            problem = "the key is not that of the certificate" if is_other else "no certificate with its key"
            allowed = "PEM files that belong together"
            raise ConfigError(blame.certificate, f"{files.certificate}: {problem}", allowed=allowed) from None
    return made


class _Encrypted(Exception):
    """A key with a passphrase: OpenSSL would ask for it on the terminal."""


def _refuse_passphrase() -> str:
    raise _Encrypted


def _refuse_unreadable(setting: str, path: Path | None) -> None:
    if path is None:
        return
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(setting, f"{path}: {error.strerror}", allowed="a readable PEM file") from None


class Renewed:
    """For a client that keeps its context: reads the files for each connection, so that they can be renewed."""

    def __init__(self, files: Files, blame: SettingNames) -> None:
        self._files = files
        self._blame = blame

    def wrap_socket(
        self, sock: socket.socket, *, server_hostname: str, do_handshake_on_connect: bool = True
    ) -> ssl.SSLSocket:
        """As a context does. Raises ssl.SSLError also if the server hung up, or a file can't be used now.

        kafka-python takes nothing else for a failed attempt: after a ConnectionResetError it never connects again.
        """
        try:
            now = context(self._files, self._blame)
            return now.wrap_socket(
                sock, server_hostname=server_hostname, do_handshake_on_connect=do_handshake_on_connect
            )
        except ssl.SSLError:
            raise
        except (ConfigError, OSError) as error:
            raise ssl.SSLError(str(error)) from None


def refusal(
    server: str, host: str, port: int, files: Files | None, blame: SettingNames, hello: Hello
) -> ConfigError | None:
    """Why there can be no connection with these settings, if that is due to TLS; ``files`` is None without TLS.

    None as well if the server does not answer at all.

    Raises:
        ConfigError: a file can't be used.

    """
    fault = _examine(host, port, files, blame, hello)
    if fault is None:
        return None
    allowed = {NO_TLS: blame.plain, ONLY_TLS: blame.secured}.get(fault, fault.allowed)
    return ConfigError(getattr(blame, fault.part), f"{server}: {fault.problem}", allowed=allowed, fix=fault.fix)


def _examine(host: str, port: int, files: Files | None, blame: SettingNames, hello: Hello) -> Fault | None:
    if files is None:
        return ONLY_TLS if _answers_tls(host, port) else None
    trusting = context(files, blame)
    try:
        with (
            socket.create_connection((host, port), _LOOK_S) as plain,
            trusting.wrap_socket(plain, server_hostname=host) as secured,
        ):
            secured.settimeout(_SECOND_THOUGHTS_S)
            with suppress(TimeoutError):
                secured.recv(1)
    except OSError as error:
        found = _fault(error, has_certificate=files.certificate is not None)
        return found or (NO_TLS if _answers_plain(host, port, hello) else None)
    return None


def _fault(error: OSError, *, has_certificate: bool) -> Fault | None:
    """What a handshake's error says, if it says anything."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _OF_VERIFICATION.get(error.verify_code, UNTRUSTED)
    said = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    if "PROTOCOL_VERSION" in said:
        return OTHER_VERSION
    if "ALERT" in said and ("CERTIFICATE" in said or "UNKNOWN_CA" in said):
        return UNWANTED if has_certificate else UNSHOWN
    return None


def _answers_tls(host: str, port: int) -> bool:
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), _LOOK_S) as plain, anybody.wrap_socket(plain) as secured:
            # Over a connection that was reset by now no hands are shaken, and nothing is raised.
            return secured.version() is not None
    except ssl.SSLError as error:
        # One that refuses for want of a certificate speaks TLS too.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def _answers_plain(host: str, port: int, hello: Hello) -> bool:
    try:
        with socket.create_connection((host, port), _LOOK_S) as plain:
            plain.sendall(hello.says)
            return plain.recv(64).startswith(hello.answer)
    except OSError:
        return False
