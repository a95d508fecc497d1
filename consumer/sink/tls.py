"""TLS for Redis: the options of a client, and why a TLS connection fails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consumer.errors import ConfigError
from consumer.net.tls import Files, ProbeRequest, SettingNames, context, refusal
from consumer.settings.sections import Redis

_SETTING_NAMES = SettingNames("CDC_REDIS", "CDC_REDIS__URL", "CDC_REDIS__URL", "rediss://…", "redis://…")
_PROBE = ProbeRequest(b"PING\r\n", (b"+", b"-"))
_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_LAX = ("ssl_cert_reqs", "ssl_check_hostname")


def options(server: Redis) -> dict[str, Any]:
    """The TLS options of a client. The files are read for each connection, so they can be renewed.

    Raises:
        ConfigError: a file can't be used, or a file is set and the URL is not one of TLS.

    """
    files = Files.of(server)
    if not server.url.get_secret_value().partition("://")[0].startswith("rediss"):
        if any(files):
            problem = "is set, but CDC_REDIS__URL is not one of TLS"
            setting = _SETTING_NAMES.ca if server.ca else _SETTING_NAMES.certificate
            raise ConfigError(setting, problem, fix="a URL with rediss://…, or leave the file out")
        return {}
    context(files, _SETTING_NAMES)
    return {option: str(path) for option, path in zip(_OPTIONS, files, strict=True) if path is not None}


def refused(connection: Mapping[str, Any], *, is_secured: bool) -> ConfigError | None:
    """The error if a client with these connection arguments can't connect because of TLS; else None.

    None also if the server does not answer at all, or if options in the URL change the checks of its certificate.
    """
    host, port = connection.get("host"), connection.get("port")
    if not host or not port or any(each in connection for each in _LAX):
        return None
    ca, certificate, key = (Path(connection[each]) if connection.get(each) else None for each in _OPTIONS)
    files = Files(ca, certificate, key) if is_secured else None
    return refusal(f"Redis at {host}:{port}", str(host), int(port), files, _SETTING_NAMES, _PROBE)
