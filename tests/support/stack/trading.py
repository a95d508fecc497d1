"""The platform's tables as a test writes them: rows by keyword, over any DB-API connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

TABLES = ("money_requests", "user_transactions", "demo_users", "live_users")
# Columns that must have a value and that hardly any test is about.
REQUIRED = {
    "live_users": {"name": "Someone", "email": "someone@example.org", "password": "secret"},
    "demo_users": {"name": "Someone", "email": "someone@example.org", "password": "secret"},
}


class Cursor(Protocol):
    def execute(self, sql: str, arguments: Any = None, /) -> Any: ...

    def fetchall(self) -> Any: ...

    def close(self) -> Any: ...


class Connection(Protocol):
    """The part of DB-API 2 that is used here; the connection is in autocommit mode."""

    def cursor(self) -> Any: ...

    def close(self) -> Any: ...


class Trading:
    """Writes rows as the platform does. ``quote`` is the database's quote for names such as ``group``."""

    def __init__(self, connection: Connection, quote: str = "`") -> None:
        self.connection = connection
        self._quote = quote

    def execute(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Run one statement; its rows, if it has any."""
        cursor: Cursor = self.connection.cursor()
        try:
            cursor.execute(sql, arguments or None)
            return list(cursor.fetchall()) if getattr(cursor, "description", None) else []
        finally:
            cursor.close()

    def insert(self, table: str, **columns: object) -> None:
        """Insert a row. Give ``id`` yourself: the test needs it, and databases differ in telling it."""
        row = REQUIRED.get(table, {}) | columns
        names = ", ".join(self._name(column) for column in row)
        marks = ", ".join("%s" for _ in row)
        self.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", *row.values())

    def update(self, table: str, row_id: int, **columns: object) -> None:
        changes = ", ".join(f"{self._name(column)} = %s" for column in columns)
        self.execute(f"UPDATE {table} SET {changes} WHERE id = %s", *columns.values(), row_id)

    def delete(self, table: str, row_id: int) -> None:
        self.execute(f"DELETE FROM {table} WHERE id = %s", row_id)

    def row(self, table: str, row_id: int, *columns: str) -> tuple[Any, ...]:
        names = ", ".join(self._name(column) for column in columns)
        (found,) = self.execute(f"SELECT {names} FROM {table} WHERE id = %s", row_id)
        return tuple(found)

    def clear(self) -> None:
        """Empty every table."""
        for table in TABLES:
            self.execute(f"DELETE FROM {table}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is one database transaction; an exception rolls it back."""
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def _name(self, column: str) -> str:
        return f"{self._quote}{column}{self._quote}"
