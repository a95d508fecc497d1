"""A streamed change as the history needs it: which parts stay the same if Debezium sends the change again."""

from __future__ import annotations

from typing import Any, TypeAlias
from zlib import crc32

import msgspec

from consumer.events.event import ChangeEvent, Operation, RowImage
from consumer.events.position import SourcePosition
from consumer.events.row import sorted_values

Key: TypeAlias = tuple[object, ...]
Number: TypeAlias = Any
"""A number or a text, comparable only with those of the same ``numbered_by``."""

_HAVE_OLD_IMAGE = frozenset({Operation.UPDATE, Operation.DELETE})
_NO_COLUMNS: RowImage = {}
_encode = msgspec.json.Encoder(enc_hook=str).encode


class StreamedChange(msgspec.Struct, frozen=True, gc=False):
    """A record with a streamed change.

    ``identity``: the same in every record with this change, also after a failover. Different changes have different
    identities, with one exception: changes of one transaction that set a row to the same values.
    :class:`consumer.guard.open_transaction.OpenTransaction` tells these apart. The identity is a hash of 64 bits, valid
    only in this process.

    ``number``: rises within ``numbered_by``; only rows of one transaction have the same number. With GTIDs it is the
    number of the transaction, by the server that wrote it. Otherwise it is the place in the log. ``is_timed``: the
    source's times must rise too, because another server's binlog has other places. ``is_number_exact``: False if the
    number may be too high, as in PostgreSQL's first transaction after Debezium was started.

    ``transaction``: groups the rows of one database transaction. ``count``: Debezium's count of these rows, 0 if
    Debezium does not count. The count is not part of the identity: after a restart in the middle of a transaction
    Debezium counts the remaining rows from 1 (debezium/dbz#633).
    """

    identity: int
    table: str
    numbered_by: str
    number: Number
    is_number_exact: bool
    is_timed: bool
    transaction: str
    count: int
    place: str
    ts_ms: int
    written_ms: int
    offset: int
    key: Key
    before: RowImage | None
    after: RowImage | None

    @property
    def lacks_before(self) -> bool:
        """Whether the database does not send the old row image of this change."""
        return self.before is not None and not self.before


def streamed_change(event: ChangeEvent) -> StreamedChange:
    """The streamed change ``event`` in the form of the history."""
    table, op, position = event.table, event.op, event.position
    before, after = event.before, event.after
    keys = tuple(event.key.values())
    connector, transaction, place = position.connector, position.transaction, position.place
    is_in_wal = connector == "postgresql"
    is_global = not is_in_wal and bool(transaction)
    if before is None and op in _HAVE_OLD_IMAGE and not is_in_wal:
        before = _NO_COLUMNS  # the database does not send it
    # In PostgreSQL's log every change of a row has a different place.
    content = 0 if is_in_wal else _hashed(after)
    numbered_by, number = _numbered(position) if is_global else (connector, position.order)
    named_by = "" if is_global else place
    return StreamedChange(
        hash((table, op, transaction, named_by, position.ts_ms, _hashable(keys), content)),
        table,
        numbered_by,
        number,
        # If Debezium does not know the previous commit, the row's own place is used instead.
        not (is_in_wal and position.order.startswith(place)),
        not is_global and not is_in_wal,
        transaction or place.rpartition("/")[0] or place,
        position.count,
        place,
        position.ts_ms,
        event.written_ms,
        event.place.offset,
        keys,
        before,
        after,
    )


def _hashed(row: RowImage | None) -> int:
    if row is None:
        return 0
    try:
        return hash(sorted_values(row))
    except TypeError:  # a column of arrays or objects
        return hash(_encode(dict(sorted(row.items()))))


def change_id(event: ChangeEvent) -> str:
    """The name of a change for subscribers: the same in every record with this change, also after a failover.

    With GTIDs it contains no place in a server's log. It names the transaction, and the row by Debezium's count or by
    the row's content. Without GTIDs, and on PostgreSQL, it contains the place in the log. PostgreSQL's standbys have
    the same places as the primary.
    """
    position = event.position
    if position.connector == "postgresql":
        return f"{position.transaction or position.connector}/{position.place}:{position.ts_ms}"
    if not position.transaction:
        return f"{position.connector}/{position.place}/{position.count}:{position.ts_ms}"
    row = str(position.count) if position.count else _checksum(event.after or event.before or _NO_COLUMNS)
    return f"{position.transaction}/{row}:{position.ts_ms}"


def _checksum(row: RowImage) -> str:
    return f"{crc32(_encode(dict(sorted(row.items())))):08x}"


def _numbered(position: SourcePosition) -> tuple[str, Number]:
    """Split a GTID: ``uuid:23`` or ``uuid:tag:23`` of MySQL, ``0-102-23`` of MariaDB.

    The members of MySQL's group replication share one UUID, and each takes numbers from blocks of its own. So numbers
    are compared only among the changes that one server wrote.
    """
    gtid = position.transaction
    head, _, number = gtid.rpartition(":" if ":" in gtid else "-")
    return f"{head}/{position.server}", int(number) if number.isdecimal() else 0


def _hashable(key: tuple[object, ...]) -> tuple[object, ...]:
    if len(key) == 1 and isinstance(key[0], (int, str)):
        return key
    return tuple(each if isinstance(each, int | str) else str(each) for each in key)


def continues(before: RowImage | None, after: RowImage | None) -> bool:
    """Whether ``before`` may be the old image of the change that follows the row image ``after``.

    Compares only the columns that both images contain.
    """
    if before is None or after is None:
        return before is after
    return all(after[name] == value for name, value in before.items() if name in after)
