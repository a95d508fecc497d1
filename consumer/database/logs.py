"""The position of a database's log at a read, in the form of Debezium's ``source`` block.

The position alone is not enough, because a server shows the end of its log before the last commits are visible in the
tables. On MySQL, 3 of 10 rows of a busy user were older than the position that was read just before. So each log has
its own way to read rows that are at least as new as the position: wait for commits in progress, or ask for the position
of the visible data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from sqlalchemy import Connection, RowMapping, Select, text
from sqlalchemy.exc import SQLAlchemyError

from consumer.database.faults import translate
from consumer.errors import ServerError, ServerUnavailable
from consumer.events.position import SourcePosition, from_source

Rows: TypeAlias = Sequence[RowMapping]
_POLL_S = 0.01
_NO_BINLOG = "turn the binary log on, Debezium needs it; for a replica set CDC_DATABASE__REPLICA=true"


class Log(Protocol):
    """The log of one kind of database server."""

    def position(self, connection: Connection) -> SourcePosition:
        """The present position of the log."""
        ...

    def read(self, connection: Connection, statement: Select[Any]) -> tuple[SourcePosition, Rows]:
        """The rows of ``statement``, and a position: the rows contain all changes before it.

        Raises:
            SQLAlchemyError: the server refuses, or can't be reached.
            ServerError: the position can't be read; :class:`ServerUnavailable` if that is temporary.
        """
        ...


class Binlog:
    """MySQL. ``settle_s``: longest wait for commits in progress, in seconds."""

    connector = "mysql"

    def __init__(self, settle_s: float, *, is_replica: bool, version: tuple[int, ...]) -> None:
        self._settle_s = settle_s
        self._is_replica = is_replica
        self._version = version

    def position(self, connection: Connection) -> SourcePosition:
        server, seconds = connection.exec_driver_sql("SELECT @@server_id, UNIX_TIMESTAMP(NOW(3))").one()
        if self._is_replica:
            server, file, offset = self._source_position(connection)
        else:
            file, offset = self._own_position(connection)
        source = {
            "connector": self.connector,
            "server_id": int(server),
            "file": str(file),
            "pos": int(offset),
            "row": 0,
        }
        return _read(source, int(seconds * 1000))

    def read(self, connection: Connection, statement: Select[Any]) -> tuple[SourcePosition, Rows]:
        position = self.position(connection)
        # A transaction is in gtid_owned from before it is in the log until it is visible in the tables.
        if connection.exec_driver_sql("SELECT @@GLOBAL.gtid_mode").scalar_one() != "ON":
            return position, _locked(connection, statement)
        owned = _owned_gtids(connection)
        _wait(lambda: owned.isdisjoint(_owned_gtids(connection)), self._settle_s, "commits are in progress")
        return position, connection.execute(statement).mappings().all()

    def _own_position(self, connection: Connection) -> tuple[object, int]:
        command = "SHOW BINARY LOG STATUS" if self._version >= (8, 2) else "SHOW MASTER STATUS"
        status = _execute(connection, command, "REPLICATION CLIENT ON *.*").first()
        if status is None:
            raise ServerError("database", "it has no binary log", _NO_BINLOG)
        return status[0], status[1]

    def _source_position(self, connection: Connection) -> tuple[object, object, int]:
        """The source's server id, and the position in its log up to which this replica has applied it."""
        command = (
            "SHOW REPLICA STATUS" if self._version >= (8, 0, 22) and self.connector == "mysql" else "SHOW SLAVE STATUS"
        )
        grant = "REPLICATION CLIENT ON *.*" if self.connector == "mysql" else "SLAVE MONITOR ON *.*"
        channels = _execute(connection, command, grant).mappings().all()
        if len(channels) != 1:
            raise ServerError(
                "database",
                f"a replica with {len(channels)} sources",
                "CDC_DATABASE__REPLICA=true is for a replica of the one server whose log Debezium reads",
            )
        status = {name.replace("Master", "Source"): value for name, value in channels[0].items()}
        return status["Source_Server_Id"], status["Relay_Source_Log_File"], status["Exec_Source_Log_Pos"]


class MariaBinlog(Binlog):
    """MariaDB: it reports the position up to which commits are visible, and needs no grant for that."""

    connector = "mariadb"

    def read(self, connection: Connection, statement: Select[Any]) -> tuple[SourcePosition, Rows]:
        # In a consistent snapshot, the position would be the snapshot's, except if another session asks at the same
        # time: then both see the later one. A position from before the read can only be too early.
        return self.position(connection), connection.execute(statement).mappings().all()

    def _own_position(self, connection: Connection) -> tuple[object, int]:
        known = connection.exec_driver_sql("SHOW STATUS LIKE 'binlog_snapshot_%%'").all()
        status = {str(name).lower(): value for name, value in known}
        if not status.get("binlog_snapshot_file"):
            raise ServerError("database", "it has no binary log", _NO_BINLOG)
        return status["binlog_snapshot_file"], int(status["binlog_snapshot_position"])


class Wal:
    """PostgreSQL; a standby has the positions of its primary. ``settle_s``: longest wait for open transactions, s."""

    _LSN = """SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END
        - '0/0'::pg_lsn, floor(extract(epoch FROM clock_timestamp()) * 1000)"""
    # A transaction that wrote to a table holds this lock until its changes are visible. A standby does not show it.
    _WRITERS = """SELECT virtualtransaction FROM pg_locks WHERE relation = to_regclass(:table) AND granted
        AND mode = 'RowExclusiveLock' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    _OLDEST = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    _NEXT = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s

    def position(self, connection: Connection) -> SourcePosition:
        lsn, ms = connection.exec_driver_sql(self._LSN).one()
        return _read({"connector": "postgresql", "sequence": f'[null,"{int(lsn)}"]'}, int(ms))

    def read(self, connection: Connection, statement: Select[Any]) -> tuple[SourcePosition, Rows]:
        position = self.position(connection)
        # A row change may be in the log before the position, and be committed after it.
        _wait(self._ended(connection, statement), self._settle_s, "transactions that write to the table are open")
        return position, connection.execute(statement).mappings().all()

    def _ended(self, connection: Connection, statement: Select[Any]) -> Callable[[], bool]:
        """A function that answers whether all transactions that write now have ended."""
        if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
            after = connection.exec_driver_sql(self._NEXT).scalar_one()
            return lambda: bool(connection.exec_driver_sql(self._OLDEST).scalar_one() >= after)
        (table,) = statement.get_final_froms()
        name = connection.dialect.identifier_preparer.format_table(table)

        def writers() -> set[str]:
            return set(connection.execute(text(self._WRITERS), {"table": name}).scalars())

        before = writers()
        return lambda: not before or before.isdisjoint(writers())


def _read(source: Mapping[str, object], ts_ms: int) -> SourcePosition:
    return from_source({**source, "ts_ms": ts_ms, "snapshot": "true"})


def _owned_gtids(connection: Connection) -> set[str]:
    """The GTIDs of transactions that are being committed. MySQL's form: ``uuid:5#31:6#32,…``, where 31 is a thread."""
    owned = str(connection.exec_driver_sql("SELECT @@GLOBAL.gtid_owned").scalar_one())
    servers = (part.strip().split(":") for part in owned.split(","))
    return {f"{uuid}:{each}" for uuid, *transactions in servers for each in transactions}


def _locked(connection: Connection, statement: Select[Any]) -> Rows:
    """The rows, read with a shared lock, which waits for their writers: without GTIDs there is no other way."""
    try:
        return connection.execute(statement.with_for_update(read=True)).mappings().all()
    except SQLAlchemyError as error:
        raise translate(error, "a shared lock (GTIDs are off)", "LOCK TABLES, or turn GTIDs on") from None


def _execute(connection: Connection, command: str, grant: str) -> Any:
    try:
        return connection.exec_driver_sql(command)
    except SQLAlchemyError as error:
        raise translate(error, command, grant) from None


def _wait(is_over: Callable[[], bool], seconds: float, problem: str) -> None:
    deadline = time.monotonic() + seconds
    while not is_over():
        if time.monotonic() > deadline:
            raise ServerUnavailable("database", problem, "try again; CDC_DATABASE__SETTLE_MS is the longest wait")
        time.sleep(_POLL_S)
