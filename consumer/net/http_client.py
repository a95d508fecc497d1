"""HTTP with login and TLS, for the schema registry and Kafka Connect."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from consumer.errors import ConfigError
from consumer.net.tls import Files, ProbeRequest, SettingNames, context, refusal

_PROBE = ProbeRequest(b"GET / HTTP/1.0\r\n\r\n", (b"HTTP/",))
_ALLOWED = "http:// or https://"
_NONE = Files()


def json_of(answer: httpx.Response) -> object:
    """The value in a body.

    Raises:
        ValueError: it is not JSON, or nested more deeply than can be read.
    """
    try:
        return answer.json()
    except RecursionError:
        raise ValueError("nested too deeply") from None


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server's address and login. ``section``: the common beginning of its settings, such as CDC_REGISTRY."""

    section: str
    url: str
    user: str | None = None
    password: SecretStr | None = None
    files: Files = _NONE

    def client(self, timeout_s: float, transport: httpx.BaseTransport | None, accept: str = "*/*") -> httpx.Client:
        """Make a client. No request is sent yet. ``timeout_s`` is in seconds.

        Raises:
            ConfigError: the URL or one of the TLS files can't be used.

        """
        secret = self.password.get_secret_value() if self.password else ""
        try:
            return httpx.Client(
                base_url=self.url.rstrip("/"),
                auth=None if self.user is None else (self.user, secret),
                timeout=timeout_s,
                verify=self._verification(),
                headers={"Accept": accept},
                transport=transport,
            )
        except httpx.InvalidURL:  # the library's text may contain part of a password
            raise ConfigError(f"{self.section}__URL", "not a URL", allowed=_ALLOWED) from None

    def unreached(self, name: str) -> ConfigError | None:
        """The TLS problem that prevents every request, or None. ``name``: the server's name in the error text."""
        url = httpx.URL(self.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        files = self.files if url.scheme == "https" else None
        return refusal(name, url.host, port, files, self._setting_names(), _PROBE)

    def refused(self, name: str, status: int) -> ConfigError:
        """The error for a login that the server does not accept (401) or that lacks a right (403)."""
        is_known = status == 403
        problem = "this account lacks the right" if is_known else "it does not accept this user and password"
        field = "USER" if is_known or self.user is None else "PASSWORD"
        fix = f"set {self.section}__USER and {self.section}__PASSWORD of an account with the right"
        return ConfigError(f"{self.section}__{field}", f"{name}: {problem} ({status})", fix=fix)

    def _verification(self) -> ssl.SSLContext | bool:
        return context(self.files, self._setting_names()) if any(self.files) else True

    def _setting_names(self) -> SettingNames:
        url = f"{self.section}__URL"
        return SettingNames(self.section, url, url, "https://…", "http://…")
