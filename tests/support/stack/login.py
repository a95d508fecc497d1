"""Accounts of the database servers, and the SQL files that make them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from consumer.source.connect.placeholder import expand

PROJECT = Path(__file__).parents[3]
SCHEMA = Path(__file__).with_name("schema")
GRANTS = PROJECT / "connect" / "grants"
DATABASE = "trading"


@dataclass(frozen=True, slots=True)
class Login:
    """A user of a database server. The password is made up for each run."""

    user: str
    password: str = field(default_factory=lambda: secrets.token_hex(12), repr=False)


@dataclass(frozen=True, slots=True)
class Logins:
    """Who there is: ``app`` writes rows, ``reader`` is the consumer, ``debezium`` the connector."""

    admin: Login = field(default_factory=lambda: Login("stack_admin"))
    debezium: Login = field(default_factory=lambda: Login("debezium"))
    app: Login = field(default_factory=lambda: Login("trading_app"))
    reader: Login = field(default_factory=lambda: Login("cdc_reader"))

    def grant_values(self) -> dict[str, str]:
        """Placeholders of the files that make the accounts, but for Debezium's."""
        return {
            "CDC_READER_USER": self.reader.user,
            "CDC_READER_PASSWORD": self.reader.password,
            "APP_USER": self.app.user,
            "APP_PASSWORD": self.app.password,
        }


class Address(Protocol):
    host: str
    port: int


def connector_values(kind: str, server: Address, login: Login) -> dict[str, str]:
    """The placeholders of ``connect/<kind>.json`` that name the database server."""
    values = {
        "HOST": server.host,
        "PORT": str(server.port),
        "DATABASE": DATABASE,
        "USER": login.user,
        "PASSWORD": login.password,
    }
    return {f"CDC_{kind.upper()}_{name}": value for name, value in values.items()}


def statements(file: Path, values: Mapping[str, str]) -> Iterator[str]:
    """The statements of an SQL file with its placeholders filled in."""
    lines = (line for line in file.read_text().splitlines() if not line.startswith("--"))
    for statement in expand("\n".join(lines), values, file.name).split(";\n"):
        if text := statement.strip().removesuffix(";"):
            yield text
