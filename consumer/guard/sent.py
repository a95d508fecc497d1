"""A streamed change as the history of a partition knows it: what stays the same when Debezium sends it again."""

from __future__ import annotations

from typing import TypeAlias
from zlib import crc32

import msgspec

from consumer.events.event import ChangeEvent, Operation, RowImage
from consumer.events.position import SourcePosition

Number: TypeAlias = tuple[int, int] | tuple[str, int]

_encode = msgspec.json.Encoder(enc_hook=str).encode


class SentChange(msgspec.Struct, frozen=True):
    """One record that carries a streamed change.

    ``identity`` is equal for the same change in every record that carries it, also after a failover, and differs for
    two changes. It is a hash of 64 bits, and means something in this process only.

    ``number`` rises in ``numbered_by``: of GTIDs the number of the transaction and of the row in it, by server or
    domain; elsewhere the place in the log, and then the source's times must rise too (``is_timed``), for another log
    has places of its own. ``transaction`` groups the rows of one database transaction. ``is_counted``: Debezium counts
    the rows of it; if not, rows with the same content can't be told apart by ``identity``.
    """

    identity: int
    numbered_by: str
    number: Number
    is_timed: bool
    transaction: str
    is_counted: bool
    place: str
    ts_ms: int
    written_ms: int
    offset: int
    key: tuple[object, ...]
    before: RowImage | None
    after: RowImage | None


def sent_change(event: ChangeEvent) -> SentChange:
    """What is to be known of ``event``, which is a streamed one."""
    key, images = tuple(event.key.values()), (event.before, event.after)
    return _sent_change(event.table, event.op, key, event.position, event.written_ms, event.place.offset, images)


def counted_change(
    table: str, op: Operation, key: RowImage, position: SourcePosition, written_ms: int, offset: int
) -> SentChange:
    """The same where the rows of transactions are counted, so that images need not be known."""
    return _sent_change(table, op, tuple(key.values()), position, written_ms, offset, (None, None))


def _sent_change(
    table: str,
    op: Operation,
    key: tuple[object, ...],
    position: SourcePosition,
    written_ms: int,
    offset: int,
    images: tuple[RowImage | None, RowImage | None],
) -> SentChange:
    is_global = position.connector != "postgresql" and bool(position.transaction)
    content = position.count or hash(_encode(images))
    place = "" if is_global else position.place
    identity = hash((table, op, position.transaction, place, position.ts_ms, _hashable(key), content))
    numbered_by, number = _numbered(position) if is_global else (position.connector, (position.order, 0))
    return SentChange(
        identity=identity,
        numbered_by=numbered_by,
        number=number,
        is_timed=not is_global and position.connector != "postgresql",
        transaction=position.transaction or position.place.rpartition("/")[0] or position.place,
        is_counted=position.count > 0,
        place=position.place,
        ts_ms=position.ts_ms,
        written_ms=written_ms,
        offset=offset,
        key=key,
        before=images[0],
        after=images[1],
    )


def change_id(event: ChangeEvent) -> str:
    """The name of a change for subscribers: the same in every record that carries it, also after a failover.

    With GTIDs it holds no place of one server's log: the transaction, and the row in it, by Debezium's count or by its
    content. Without GTIDs, and on PostgreSQL, whose standbys keep the primary's places, it is the place.
    """
    position = event.position
    if position.connector == "postgresql" or not position.transaction:
        return f"{position.transaction or position.connector}/{position.place}/{position.count}:{position.ts_ms}"
    row = str(position.count) if position.count else f"{crc32(_encode(event.after or event.before)):08x}"
    return f"{position.transaction}/{row}:{position.ts_ms}"


def _numbered(position: SourcePosition) -> tuple[str, Number]:
    """``uuid:23`` or ``uuid:tag:23`` of MySQL, ``0-102-23`` of MariaDB."""
    gtid = position.transaction
    head, _, number = gtid.rpartition(":" if ":" in gtid else "-")
    return head, (int(number) if number.isdecimal() else 0, position.count)


def _hashable(key: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(each if isinstance(each, int | str) else str(each) for each in key)


def continues(before: RowImage | None, after: RowImage | None) -> bool:
    """Whether a row that was ``after`` may be the ``before`` of the next change: of the columns that both tell."""
    if before is None or after is None:
        return before is after
    return all(after[name] == value for name, value in before.items() if name in after)
