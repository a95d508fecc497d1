"""How the drivers are set up, what they make of values, and what is done where they make nothing of one.

A driver reads a whole page of rows or fails. So types of which some values have no Python value are read as text, and
what fails all the same is read again cell by cell: then one value is missing, not the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, RowMapping, Select, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DataError

from consumer.events.event import UNREADABLE, RowImage
from consumer.planning.read_row import as_on_the_wire

Statement: TypeAlias = Callable[[Sequence[str]], Select[Any]]
"""The statement that reads these columns of some rows, which are always the same."""

DRIVER_ERRORS = (DataError, ValueError, OverflowError)
"""What a driver raises that has no value for a value; :func:`is_unreadable` tells it from what a server says."""
_AS_TEXT = ("date", "time", "timetz", "timestamp", "timestamptz", "json", "jsonb")
_BITS = ("bit", "varbit")


def options(kind: str, seconds: float) -> dict[str, Any]:
    """Options of connections to one ``kind`` of server.

    Times are in UTC, nothing is written, and no answer is waited for longer than ``seconds``.
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
    """PyMySQL's own, but for numbers of BIT columns."""
    from pymysql.constants import FIELD_TYPE
    from pymysql.converters import conversions

    def number(data: bytes) -> int:
        return int.from_bytes(data, "big")

    return {**conversions, FIELD_TYPE.BIT: number}


def read_as_text(engine: Engine) -> None:
    """Make connections by psycopg read times as text, for Python has fewer than PostgreSQL; and bits as numbers."""
    from psycopg.adapt import Loader
    from psycopg.types.string import TextLoader

    class BitLoader(Loader):
        def load(self, data: Any) -> int:
            return int(bytes(data) or b"0", 2)

    def connected(connection: Any, _: object) -> None:
        for name in _AS_TEXT:
            connection.adapters.register_loader(name, TextLoader)
        for name in _BITS:
            connection.adapters.register_loader(name, BitLoader)

    event.listen(engine, "connect", connected)


def is_unreadable(error: Exception) -> bool:
    """Whether a driver could not read a value that the server sent, rather than the server refusing something."""
    if not isinstance(error, DataError):
        return True
    said = error.orig
    return getattr(said, "sqlstate", None) is None and not (said and said.args and isinstance(said.args[0], int))


def image(row: RowMapping) -> RowImage:
    """A row that the driver has read."""
    return {str(name): as_on_the_wire(value) for name, value in row.items()}


def images(
    read: Callable[[Select[Any]], Iterable[RowMapping]],
    statement: Statement,
    names: Sequence[str],
    one: Callable[[RowMapping], RowImage | None],
) -> list[RowImage]:
    """The rows of a statement. Where the driver fails, its keys are read, and ``one`` reads the row of each.

    Raises:
        SQLAlchemyError: of the server.
    """
    try:
        return [image(row) for row in read(statement(names))]
    except DRIVER_ERRORS as error:
        if not is_unreadable(error):
            raise
    found = [one(key) for key in read(statement(names[:1]))]
    return [each for each in found if each is not None]


def cells(connection: Connection, statement: Statement, names: Sequence[str]) -> RowImage | None:
    """One row, column by column where the driver can't read it whole; None where it is not there any more.

    Raises:
        SQLAlchemyError: of the server.
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
