"""HTTP with an account and TLS, for the servers that speak it: the schema registry and Kafka Connect."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from consumer.errors import ConfigError
from consumer.net.tls import Files, Hello, SettingNames, context, refusal

_HELLO = Hello(b"GET / HTTP/1.0\r\n\r\n", (b"HTTP/",))
_ALLOWED = "http:// or https://"
_NONE = Files()


@dataclass(frozen=True, slots=True)
class HttpServer:
    """Where a server is, and who we are there. ``section`` is what its settings begin with, such as CDC_REGISTRY."""

    section: str
    url: str
    user: str | None = None
    password: SecretStr | None = None
    files: Files = _NONE

    def client(self, timeout_s: float, transport: httpx.BaseTransport | None, accept: str = "*/*") -> httpx.Client:
        """A client of it, which asks nothing yet.

        Raises:
            ConfigError: the URL or a file can't be used.

        """
        secret = self.password.get_secret_value() if self.password else ""
        try:
            return httpx.Client(
                base_url=self.url.rstrip("/"),
                auth=None if self.user is None else (self.user, secret),
                timeout=timeout_s,
                verify=self._trusting(),
                headers={"Accept": accept},
                transport=transport,
            )
        except httpx.InvalidURL:  # its words may quote a piece of a password
            raise ConfigError(f"{self.section}__URL", "not a URL", allowed=_ALLOWED) from None

    def unreached(self, name: str) -> ConfigError | None:
        """Why no request gets there, if TLS is to blame; ``name`` is the server's."""
        url = httpx.URL(self.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        files = self.files if url.scheme == "https" else None
        return refusal(name, url.host, port, files, self._blame(), _HELLO)

    def refused(self, name: str, status: int) -> ConfigError:
        """An account that is not accepted (401), or may not (403)."""
        is_known = status == 403
        problem = "this account may not" if is_known else "it does not accept this user and password"
        field = "USER" if is_known or self.user is None else "PASSWORD"
        fix = f"set {self.section}__USER and {self.section}__PASSWORD of an account that may"
        return ConfigError(f"{self.section}__{field}", f"{name}: {problem} ({status})", fix=fix)

    def _trusting(self) -> ssl.SSLContext | bool:
        return context(self.files, self._blame()) if any(self.files) else True

    def _blame(self) -> SettingNames:
        url = f"{self.section}__URL"
        return SettingNames(self.section, url, url, "https://…", "http://…")
