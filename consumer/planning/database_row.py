"""A row of a captured table, read from the database, with the values that a change event would have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from consumer.errors import Place
from consumer.events.event import UNREADABLE, ChangeEvent, Operation, RowImage
from consumer.events.position import SourcePosition
from consumer.mapping.rules import UserTable

_NOWHERE = Place("", 0, 0)
_ZERO_DATE = "0000-00-00"


@dataclass(frozen=True, slots=True)
class DatabaseRow:
    """One row, read from the database. ``image``: None if there is no such row.

    Every change of the row that was committed before ``position`` is in the image. The image may already
    contain a later change.
    """

    table: str
    key: int
    image: RowImage | None
    position: SourcePosition

    def event(self, table: UserTable) -> ChangeEvent:
        """The row as a read event; without a row, a delete event."""
        return ChangeEvent(
            table=self.table,
            op=Operation.DELETE if self.image is None else Operation.READ,
            key={table.key: self.key},
            before=None,
            after=self.image,
            position=self.position,
            transaction_id=None,
            place=_NOWHERE,
            schema={},
        )


def to_debezium_value(value: object) -> object:
    """Convert a driver's value to the value in a change event, so that both become the same text in Redis.

    As in Debezium, times without a zone are UTC, and a date of zeros, which MySQL allows, is NULL. Bytes in UTF-8
    become text.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return None if value.startswith(_ZERO_DATE) else value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return UNREADABLE
    return str(value)
