"""The change event: one committed change of one row, in the form that the rest of the program uses."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final, TypeAlias

import msgspec

from consumer.errors import Place
from consumer.events.position import Origin, SourcePosition


class Operation(StrEnum):
    """Debezium's ``op``."""

    CREATE = "c"
    UPDATE = "u"
    DELETE = "d"
    READ = "r"
    TRUNCATE = "t"
    MESSAGE = "m"

    __hash__ = str.__hash__  # Enum's own is a function in Python, which each change would need


class Unavailable(Enum):
    """Stands for a value that the database did not send, such as an unchanged TOAST column. It is not NULL."""

    UNAVAILABLE = "unavailable"


UNAVAILABLE: Final = Unavailable.UNAVAILABLE
PLACEHOLDER: Final = "__debezium_unavailable_value"
"""What Debezium sends instead of such a value, unless ``unavailable.value.placeholder`` sets another text."""


class Unreadable(Enum):
    """Stands for a value that a database driver can't read, such as a date after 9999. No column kind accepts it."""

    UNREADABLE = "unreadable"


UNREADABLE: Final = Unreadable.UNREADABLE

RowImage: TypeAlias = Mapping[str, object]
"""Decoded values by column name. None is NULL. A column without an entry is absent from the row image."""


class ColumnSchema(msgspec.Struct, frozen=True):
    """What the record's schema says of one column's type; the defaults mean that it says nothing.

    ``name``: Kafka Connect's semantic type (``io.debezium.time.MicroTimestamp``). ``scale``: the scale of a decimal.
    ``is_assumed``: the record had no schema, and the scale comes from the mapping.
    """

    name: str = ""
    scale: int | None = None
    is_assumed: bool = False


TableSchema: TypeAlias = Mapping[str, ColumnSchema]


class ChangeEvent(msgspec.Struct, frozen=True, gc=False):
    """One committed change of one row.

    ``before``: the old row image; None if there is none (insert, snapshot read). ``after``: the new row image; None if
    there is none (delete). ``key``: the columns of the record's key. ``schema``: the columns' types from the record's
    schema; empty for JSON without schema. ``transaction_id``: the same for all events of one database transaction.
    ``between``: the row images between ``before`` and ``after``, if this event was joined from several. ``database``:
    the table's database, on PostgreSQL its schema; "" if the record does not contain it. ``written_ms``: Kafka's
    timestamp of the record.
    """

    table: str
    op: Operation
    key: RowImage
    before: RowImage | None
    after: RowImage | None
    position: SourcePosition
    transaction_id: str | None
    place: Place
    schema: TableSchema
    between: tuple[RowImage, ...] = ()
    database: str = ""
    written_ms: int = 0

    @property
    def is_incremental(self) -> bool:
        """Whether an incremental snapshot read the row: the image was right once, but maybe not at its position."""
        return self.position.origin is Origin.INCREMENTAL


class Tombstone(msgspec.Struct, frozen=True):
    """The null value after a delete, for log compaction. The delete itself is the record before it."""


class Ignored(msgspec.Struct, frozen=True):
    """A record of a known kind that contains no row change. ``reason`` says what the record is."""

    reason: str


class OtherDatabase(msgspec.Struct, frozen=True):
    """A change of a table in a database that is not consumed, such as a restored backup."""

    database: str
    table: str
