"""Driver options, and the conversion of values, also of values that a driver can't convert.

A driver reads all rows of a statement or fails. So types with values that Python lacks are read as text. If a statement
fails nevertheless, its rows are read cell by cell: then one value is missing, and not all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, RowMapping, Select, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DataError

from consumer.events.event import UNREADABLE, RowImage
from consumer.planning.database_row import to_debezium_value

Statement: TypeAlias = Callable[[Sequence[str]], Select[Any]]
"""Makes a statement that reads the given columns, always of the same rows."""

DRIVER_ERRORS = (DataError, ValueError, OverflowError)
"""Exceptions for a value that the driver can't convert; :func:`is_unreadable` excludes errors of the server."""
_AS_TEXT = ("date", "time", "timetz", "timestamp", "timestamptz", "json", "jsonb")
_BITS = ("bit", "varbit")


def options(kind: str, seconds: float) -> dict[str, Any]:
    """Options for connections to a ``kind`` of server.

    Times are in UTC, sessions are read-only where the server can do that, and ``seconds`` is the timeout of an answer.
    """
    whole = max(1, round(seconds))
    if kind.startswith("postgres"):
        session = {"timezone": "UTC", "datestyle": "ISO", "default_transaction_read_only": "on"}
        session["statement_timeout"] = str(round(seconds * 1000))
        limits = " ".join(f"-c {name}={value}" for name, value in session.items())
        return {"connect_timeout": max(2, whole), "options": limits, "application_name": "cdc-consumer"}
    return {
        "connect_timeout": whole,
        "read_timeout": seconds,
        "write_timeout": seconds,
        "init_command": f"SET SESSION time_zone = '+00:00', SESSION innodb_lock_wait_timeout = {whole}",
        "conv": _mysql_conversions(),
    }


def _mysql_conversions() -> dict[Any, Any]:
    """PyMySQL's conversions, but with numbers for BIT columns."""
    from pymysql.constants import FIELD_TYPE
    from pymysql.converters import conversions

    def number(data: bytes) -> int:
        return int.from_bytes(data, "big")

    return {**conversions, FIELD_TYPE.BIT: number}


def read_as_text(engine: Engine) -> None:
    """Make psycopg read times as text, because Python's range is smaller than PostgreSQL's, and bits as numbers."""
    from psycopg.adapt import Loader
    from psycopg.types.string import TextLoader

    class BitLoader(Loader):
        def load(self, data: Any) -> int:
            return int(bytes(data) or b"0", 2)

    def set_loaders(connection: Any, _: object) -> None:
        for name in _AS_TEXT:
            connection.adapters.register_loader(name, TextLoader)
        for name in _BITS:
            connection.adapters.register_loader(name, BitLoader)

    event.listen(engine, "connect", set_loaders)


def is_unreadable(error: Exception) -> bool:
    """Whether the driver could not convert a value, and the server did not refuse anything."""
    if not isinstance(error, DataError):
        return True
    cause = error.orig
    return getattr(cause, "sqlstate", None) is None and not (cause and cause.args and isinstance(cause.args[0], int))


def image(row: RowMapping) -> RowImage:
    """A row from the driver as a row image."""
    return {str(name): to_debezium_value(value) for name, value in row.items()}


def images(
    read: Callable[[Select[Any]], Iterable[RowMapping]],
    statement: Statement,
    names: Sequence[str],
    one: Callable[[RowMapping], RowImage | None],
) -> list[RowImage]:
    """The rows of a statement. If the driver can't convert a value, reads the keys, then each row with ``one``.

    Raises:
        SQLAlchemyError: from the server.
    """
    try:
        return [image(row) for row in read(statement(names))]
    except DRIVER_ERRORS as error:
        if not is_unreadable(error):
            raise
    found = [one(key) for key in read(statement(names[:1]))]
    return [each for each in found if each is not None]


def cells(connection: Connection, statement: Statement, names: Sequence[str]) -> RowImage | None:
    """One row; column by column if the driver can't convert a value. None if the row does not exist any more.

    Raises:
        SQLAlchemyError: from the server.
    """
    found: dict[str, object] = {}
    for some in (names, *((name,) for name in names)):
        try:
            rows = connection.execute(statement(some)).mappings().all()
            if not rows:
                return None
            found |= image(rows[0])
        except DRIVER_ERRORS as error:
            if not is_unreadable(error):
                raise
            found |= dict.fromkeys(some, UNREADABLE) if len(some) == 1 else {}
        if len(found) == len(names):
            break
    return {name: found[name] for name in names}
