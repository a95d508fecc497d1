"""Kinds of values that several sections have: names of files, tokens, addresses with ports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from pydantic import AfterValidator, BeforeValidator, SecretStr

from consumer.settings.faults import Wrong

UNSET_IF_EMPTY: Final = "an empty text counts as not set"
"""Marks settings of which an empty text has no meaning; Compose makes such of ``${NAME:-}``."""

_Url = TypeVar("_Url", str, SecretStr, None)
_PORTS = range(1, 65_536)
# Options of redis-py. With another value, replies have another form, or the client fails with an error of its own.
_SET_BY_THE_PROGRAM = frozenset(
    [
        "protocol",
        "legacy_responses",
        "decode_responses",
        "encoding",
        "encoding_errors",
        "parser_class",
        "command_packer",
        "connection_class",
        "single_connection_client",
        "redis_connect_func",
        "retry",
        "retry_on_timeout",
        "retry_on_error",
        "credential_provider",
        "event_dispatcher",
        "cache_factory",
        "maint_notifications_config",
    ]
)
_PORT = re.compile(r"(?:\[[^\[\]]*\]|[^:\[\]]*):([0-9]+)")
_AUTHORITY = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#]*)")


def check_ports(addresses: str) -> None:
    """Refuse ports that no server can have; ``addresses``: host:port or host, comma separated.

    Raises:
        Wrong: the port of an address is 0, or more than 65535.
    """
    for each in addresses.split(","):
        found = _PORT.fullmatch(each.strip())
        if found is not None and (len(found[1]) > len("65535") or int(found[1]) not in _PORTS):
            raise Wrong("not a port", allowed=f"ports from {_PORTS[0]} to {_PORTS[-1]}")


def _check_ports_of_url(url: _Url) -> _Url:
    text = url.get_secret_value() if isinstance(url, SecretStr) else url or ""
    found = _AUTHORITY.match(text)
    if found is not None and ("@" in found[1] or "@" not in text):  # else the password has a / or #
        check_ports(found[1].rpartition("@")[2])
    return url


def _check_options_of_redis(url: SecretStr) -> SecretStr:
    query = url.get_secret_value().partition("#")[0].partition("?")[2]
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name in _SET_BY_THE_PROGRAM:
            raise Wrong(f"the option {name} is set by the program itself", fix="remove it from the URL")
    return url


def _check_name(value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        raise Wrong("not a path", allowed="the name of a file")
    return value


REDIS_OPTIONS: Final = AfterValidator(_check_options_of_redis)
"""Of a URL of Redis: no option changes how replies are read, or how often a command is sent."""
PORTS: Final = AfterValidator(_check_ports_of_url)
"""Of a URL: its ports are possible."""
File: TypeAlias = Annotated[Path | None, BeforeValidator(_check_name), UNSET_IF_EMPTY]
Token: TypeAlias = Annotated[SecretStr | None, UNSET_IF_EMPTY]
