"""Fills the placeholders in the SQL of ``connect/grants``: the connector's account and this program's. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from consumer.errors import ConfigError
from consumer.source.connect.placeholder import expand

_NAME = re.compile(r"[A-Za-z0-9_$.-]{1,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Server(StrEnum):
    """The databases with grants; the values are the file names."""

    MYSQL = "mysql"
    MARIADB = "mariadb"
    POSTGRES = "postgres"


def filled(text: str, server: Server, values: Mapping[str, str]) -> str:
    """``text`` with its placeholders filled: passwords as SQL literals, other values as names.

    Raises:
        ConfigError: a password is missing or empty, or a value is not allowed there.
    """

    def written(name: str, value: str) -> str:
        if name.endswith("_PASSWORD"):
            return _literal(name, value, server)
        if _NAME.fullmatch(value) is None:
            raise ConfigError(name, "is not allowed as a name", allowed="letters, digits, _ $ . and -, 63 at most")
        return value

    return expand(text, values, f"grants {server}", written)


def _literal(name: str, value: str, server: Server) -> str:
    """The value as it must be between the quotes of an SQL literal."""
    if _CONTROL.search(value):
        raise ConfigError(name, "contains a line end or another control character", allowed="text in one line")
    quoted = value.replace("'", "''")
    # In PostgreSQL a backslash is an ordinary character; in the others it begins an escape sequence.
    return quoted if server is Server.POSTGRES else quoted.replace("\\", "\\\\")
