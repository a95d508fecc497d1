"""The SQL of ``connect/grants`` with its placeholders filled: the connector's account and this program's. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from consumer.errors import ConfigError
from consumer.source.connect.placeholder import expand

_NAME = re.compile(r"[A-Za-z0-9_$.-]{1,63}")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f]")


class Server(StrEnum):
    """The databases that there are grants for, named as their files are."""

    MYSQL = "mysql"
    MARIADB = "mariadb"
    POSTGRES = "postgres"


def filled(text: str, server: Server, values: Mapping[str, str]) -> str:
    """``text`` with each value written as its place in the SQL wants it: passwords as literals, others as names.

    Raises:
        ConfigError: a password is missing or empty, or a value can't stand there.
    """

    def written(name: str, value: str) -> str:
        if name.endswith("_PASSWORD"):
            return _literal(name, value, server)
        if _NAME.fullmatch(value) is None:
            raise ConfigError(name, "can't be a name in the grants", allowed="letters, digits, _ $ . and -, 63 at most")
        return value

    return expand(text, values, f"grants {server}", written)


def _literal(name: str, value: str, server: Server) -> str:
    """What stands between the quotes of a text in SQL."""
    if _UNSEEN.search(value):
        raise ConfigError(name, "holds a line end or another control character", allowed="text in one line")
    quoted = value.replace("'", "''")
    # PostgreSQL takes a backslash for itself; the others for the beginning of an escape.
    return quoted if server is Server.POSTGRES else quoted.replace("\\", "\\\\")
