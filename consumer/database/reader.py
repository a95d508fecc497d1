"""Rows of the captured tables, read from the database: only the mapped columns and the key."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, Select, column, quoted_name, select, table
from sqlalchemy.exc import SQLAlchemyError

from consumer.database.engine import URL_SETTING, engine_of
from consumer.database.faults import is_unknown_column, translate
from consumer.database.logs import Binlog, Log, MariaBinlog, Wal
from consumer.database.values import (
    DRIVER_ERRORS,
    Statement,
    cells,
    image,
    images,
    is_unreadable,
)
from consumer.errors import AccessDenied, ConfigError
from consumer.events.event import RowImage
from consumer.events.position import SourcePosition
from consumer.mapping.rules import UserTable
from consumer.planning.database_row import DatabaseRow
from consumer.settings.sections import Database as Settings

_SHAPE_AGE_S = 60.0


class Database:
    """One database server. Threads may share it; each call uses its own connection."""

    def __init__(self, settings: Settings) -> None:
        """Does not connect yet.

        Raises:
            ConfigError: the URL is missing or can't be used, or its driver is not installed.

        """
        self._settings = settings
        self._engine = engine_of(settings)
        self._log: Log | None = None
        self._shapes: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def reach(self) -> None:
        """Connect once, to check the settings.

        Raises:
            ServerUnavailable: the server does not answer.
            ConfigError: the server refuses the account.
        """
        try:
            with self._connected("connecting"):
                pass
        except AccessDenied as error:
            raise ConfigError(
                URL_SETTING, f"the database refuses: {error.problem}", fix="correct its user, password or database name"
            ) from None

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @property
    def is_replica(self) -> bool:
        """Whether the server is a replica, which may lag behind the server whose log Debezium reads."""
        return self._settings.replica

    def position(self) -> SourcePosition:
        """The present position of the log, in the form of change events.

        Raises:
            ServerError: as :meth:`row`.
        """
        with self._connected("the log's position") as connection:
            return self._log_of(connection).position(connection)

    def row(self, user_table: UserTable, key: int) -> DatabaseRow:
        """Read one row, and a position of the log: the row contains all changes that were committed before it.

        Raises:
            ServerUnavailable: the database can't be reached, or commits in progress do not end in time.
            AccessDenied: the account is refused, or a grant is missing; the advice names it.
            NotInDatabase: the table or a required column does not exist.
        """
        with self._reading(user_table) as connection:
            names, statement = self._columns(connection, user_table), self._by_key(user_table, key)
            try:
                position, rows = self._log_of(connection).read(connection, statement(names))
                found = image(rows[0]) if rows else None
            except DRIVER_ERRORS as error:
                if not is_unreadable(error):
                    raise
                # Read after the position, cell by cell: like the row, the cells may contain later changes.
                position, _ = self._log_of(connection).read(connection, statement((user_table.key,)))
                found = cells(connection, statement, names)
        return DatabaseRow(user_table.table, key, found, position)

    def look_up(self, user_table: UserTable, key: int) -> DatabaseRow:
        """Read one row without waiting. Its position is too late: compare with the row, but do not write it.

        Raises:
            ServerError: as :meth:`row`.
        """
        with self._reading(user_table) as connection:
            found = cells(connection, self._by_key(user_table, key), self._columns(connection, user_table))
            position = self._log_of(connection).position(connection)
        return DatabaseRow(user_table.table, key, found, position)

    def rows(self, user_table: UserTable, after: int, limit: int) -> list[RowImage]:
        """At most ``limit`` rows with keys above ``after``, in the order of their keys.

        A row may be a little older than the log: read a row that differs again with :meth:`row`.

        Raises:
            ServerError: as :meth:`row`.
        """
        key = _column(user_table.key)
        with self._reading(user_table) as connection:
            names = self._columns(connection, user_table)
            return images(
                lambda statement: connection.execute(statement).mappings().all(),
                lambda some: self._select(user_table, some).where(key > after).order_by(key).limit(limit),
                names,
                lambda row: cells(connection, self._by_key(user_table, row[user_table.key]), names),
            )

    def existing(self, user_table: UserTable, keys: Collection[int]) -> set[int]:
        """Those of ``keys`` that have a row.

        Raises:
            ServerError: as :meth:`row`.
        """
        key = _column(user_table.key)
        wanted = select(key).select_from(_table(user_table)).where(key.in_(sorted(keys)))
        with self._connected(f"reading {user_table.table}", f"SELECT ({user_table.key})") as connection:
            return {int(found) for found in connection.execute(wanted).scalars()}

    def _reading(self, user_table: UserTable) -> AbstractContextManager[Connection]:
        table_name = user_table.table
        return self._connected(f"reading {table_name}", f"SELECT on the captured columns of {table_name}")

    @contextmanager
    def _connected(self, what: str, grant: str = "") -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise translate(error, what, grant) from None

    def _log_of(self, connection: Connection) -> Log:
        if self._log is None:
            dialect: Any = connection.dialect
            settle_s = self._settings.settle_ms / 1000
            version = tuple(part for part in dialect.server_version_info or () if isinstance(part, int))
            if dialect.name == "postgresql":
                self._log = Wal(settle_s)
            elif dialect.is_mariadb:
                self._log = MariaBinlog(settle_s, is_replica=self._settings.replica, version=version)
            else:
                self._log = Binlog(settle_s, is_replica=self._settings.replica, version=version)
        return self._log

    def _select(self, user_table: UserTable, columns: Sequence[str]) -> Select[Any]:
        return select(*(_column(name) for name in columns)).select_from(_table(user_table))

    def _by_key(self, user_table: UserTable, key: int) -> Statement:
        return lambda names: self._select(user_table, names).where(_column(user_table.key) == key)

    def _columns(self, connection: Connection, user_table: UserTable) -> tuple[str, ...]:
        """The key and the mapped columns that the table has; checked every minute, because a table may be altered."""
        with self._lock:
            at, known = self._shapes.get(user_table.table, (0.0, ()))
        if known and time.monotonic() - at < _SHAPE_AGE_S:
            return known
        names = tuple(dict.fromkeys((user_table.key, *(each.name for each in user_table.columns))))
        try:
            connection.execute(self._select(user_table, names).limit(0))
        except SQLAlchemyError:
            connection.rollback()
            names = tuple(name for name in names if self._has(connection, user_table, name))
        with self._lock:
            self._shapes[user_table.table] = time.monotonic(), names
        return names

    def _has(self, connection: Connection, user_table: UserTable, name: str) -> bool:
        what = f"{user_table.table}.{name}"
        required = {user_table.key, *(each.name for each in user_table.columns if each.required)}
        try:
            connection.execute(self._select(user_table, (name,)).limit(0))
        except SQLAlchemyError as error:
            if is_unknown_column(error) and name not in required:
                return False
            raise translate(error, what, f"SELECT ({name}) ON {user_table.table}") from None
        return True


def _table(user_table: UserTable) -> Any:
    return table(quoted_name(user_table.table, quote=True))


def _column(name: str) -> Any:
    return column(quoted_name(name, quote=True))
