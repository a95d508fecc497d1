"""The change event: one committed change of one row, as the rest of the program sees it."""

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


class Unavailable(Enum):
    """A value that the database did not send, such as an unchanged TOAST column: neither NULL nor a value."""

    UNAVAILABLE = "unavailable"


UNAVAILABLE: Final = Unavailable.UNAVAILABLE
PLACEHOLDER: Final = "__debezium_unavailable_value"
"""What Debezium sends in place of such a value, unless its ``unavailable.value.placeholder`` says another text."""


class Unreadable(Enum):
    """A value that a database's driver can't read, such as a date after the year 9999: no column kind accepts it."""

    UNREADABLE = "unreadable"


UNREADABLE: Final = Unreadable.UNREADABLE

RowImage: TypeAlias = Mapping[str, object]
"""Columns by name, as decoded: a column that is not in the mapping is absent, None is NULL."""


class ColumnSchema(msgspec.Struct, frozen=True):
    """What the wire says of one column's type, where it says anything.

    ``name`` is Kafka Connect's semantic type (``io.debezium.time.MicroTimestamp``), ``scale`` that of a decimal.
    ``is_assumed``: the wire said nothing, and the scale is the mapping's.
    """

    name: str = ""
    scale: int | None = None
    is_assumed: bool = False


TableSchema: TypeAlias = Mapping[str, ColumnSchema]


class ChangeEvent(msgspec.Struct, frozen=True):
    """One committed change of one row.

    ``before`` is None where there is no old image (insert, snapshot read), ``after`` where there is no new one
    (delete). ``key`` holds the columns of the record's key, ``schema`` what the wire said of the columns' types
    (empty for JSON without schema). ``transaction_id`` joins the events of one database transaction. ``between`` are
    the row's images between ``before`` and ``after``, where this event stands for several. ``database`` is the table's
    database, on PostgreSQL its schema; "" if the record does not say it. ``written_ms`` is Kafka's timestamp of the
    record.
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
        """Whether it was read by an incremental snapshot: true at some time, but not surely at its position."""
        return self.position.origin is Origin.INCREMENTAL


class Tombstone(msgspec.Struct, frozen=True):
    """The null value after a delete, for log compaction; the delete itself came before it."""


class Ignored(msgspec.Struct, frozen=True):
    """A record that is known to carry no row change; ``reason`` says what it is."""

    reason: str


class OtherDatabase(msgspec.Struct, frozen=True):
    """A change of a table of a database that is not followed, such as a restored backup's."""

    database: str
    table: str
