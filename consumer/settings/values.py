"""Kinds of values that several sections have: names of files, tokens, addresses with ports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, SecretStr

from consumer.settings.faults import Wrong

UNSET_IF_EMPTY: Final = "an empty text counts as not set"
"""Marks settings of which an empty text has no meaning; Compose makes such of ``${NAME:-}``."""

_Url = TypeVar("_Url", str, SecretStr, None)
_PORTS = range(1, 65_536)
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


def _check_name(value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        raise Wrong("not a path", allowed="the name of a file")
    return value


PORTS: Final = AfterValidator(_check_ports_of_url)
"""Of a URL: its ports are possible."""
File: TypeAlias = Annotated[Path | None, BeforeValidator(_check_name), UNSET_IF_EMPTY]
Token: TypeAlias = Annotated[SecretStr | None, UNSET_IF_EMPTY]
