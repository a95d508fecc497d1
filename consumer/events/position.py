"""Where in the database's log a change was committed: Debezium's ``source`` block.

A *source position* is the change's place in the database's log (binlog file and offset, or LSN). A Kafka *offset* is
the record's place in its partition. Positions in the logs of two servers can't be compared. So they do not decide which
change is newer (:mod:`consumer.guard.version`). They help to recognise a change that is sent again
(:mod:`consumer.guard.history`).

The statements about each database's log come from Debezium's ``source`` block, as measured on real servers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache

import msgspec

from consumer.errors import NotAnEnvelope

_SEQUENCE = re.compile(r'\[(?:null|"(\d{1,20})"),"(\d{1,20})"\]')


class Origin(StrEnum):
    """How Debezium read a row: as a streamed change, by a snapshot, or by an incremental snapshot."""

    STREAMED = "s"
    SNAPSHOT = "r"
    INCREMENTAL = "i"


class SourcePosition(msgspec.Struct, frozen=True):
    """A place in a database's log.

    ``order``: text that sorts in the order of this server's log; its numbers are padded to a fixed width. ``place``:
    the row's own place in the log. ``server``: the server that wrote the change, "0" if it is not known. ``ts_ms``: the
    source's time, UTC milliseconds. On MySQL with GTIDs and on PostgreSQL this is the time of the commit, otherwise the
    time of the statement.

    ``transaction``: the GTID, or PostgreSQL's transaction id; "" if there is none. ``count``: the number of the row in
    its transaction (``transaction.total_order``), from 1; 0 if Debezium does not count.
    """

    connector: str
    server: str
    order: str
    place: str
    ts_ms: int
    origin: Origin
    transaction: str = ""
    count: int = 0

    @property
    def lineage(self) -> str:
        """Kind of connector, and server: how messages name the log of ``order``."""
        return f"{self.connector}:{self.server}"


def from_source(source: Mapping[str, object], transaction: object = None) -> SourcePosition:
    """The position in a Debezium ``source`` block. ``transaction``: the envelope's ``transaction`` block, or None.

    Raises:
        NotAnEnvelope: a part that orders changes is missing.

    """
    connector = source.get("connector")
    if connector == "postgresql":
        return _in_wal(source, transaction)
    if connector in ("mysql", "mariadb"):
        return _in_binlog(str(connector), source, transaction)
    raise NotAnEnvelope(
        "names no known connector", field="source.connector", advice="MySQL, MariaDB and PostgreSQL are understood"
    )


def _in_binlog(connector: str, source: Mapping[str, object], transaction: object) -> SourcePosition:
    """The position from file, offset, row, and Debezium's count of the transaction's rows.

    Rows may share a file offset: on MariaDB from 11.4 all rows of a transaction (unless ``binlog_legacy_event_pos`` is
    on), on MySQL all rows of a compressed transaction. Then only the count tells them apart.
    """
    file = source.get("file")
    number = _file_number(file) if isinstance(file, str) else ""
    if not number:
        raise NotAnEnvelope("a binlog file name with a number is missing", field="source.file")
    place = f"{number}/{_number(source, 'pos'):020d}/{_number(source, 'row'):010d}"
    count = _count(transaction)
    gtid = source.get("gtid")
    return SourcePosition(
        connector=connector,
        server=str(_number(source, "server_id")),
        order=f"{place}/{count:010d}",
        place=place,
        ts_ms=_number(source, "ts_ms"),
        origin=_origin(source.get("snapshot")),
        transaction=gtid if isinstance(gtid, str) else "",
        count=count,
    )


@lru_cache(maxsize=256)
def _file_number(file: str) -> str:
    """The number of a binlog file, padded; "" if there is none, or if it is too long for text of a fixed width."""
    number = file.rpartition(".")[2]
    return f"{int(number):010d}" if number.isdecimal() and len(number) <= 10 else ""


def _count(transaction: object) -> int:
    """The number of the row in its database transaction, from 1; 0 if Debezium does not count, as in a snapshot."""
    count = transaction.get("total_order") if isinstance(transaction, dict) else None
    return count if isinstance(count, int) and count > 0 else 0


def _in_wal(source: Mapping[str, object], transaction: object) -> SourcePosition:
    """The position from ``sequence``: the LSN of the previous commit, then the row's own LSN.

    ``lsn`` alone does not always rise. Debezium sends the rows of a transaction when it commits. A transaction that
    commits later may have rows with a lower LSN.

    In the first transaction after the connector's start, Debezium does not know the previous commit. Then, and for a
    snapshot read, the row's own LSN is used instead.
    """
    sequence = source.get("sequence")
    found = _SEQUENCE.fullmatch(sequence.replace(" ", "")) if isinstance(sequence, str) else None
    if found is None:
        raise NotAnEnvelope("the pair of log positions is missing", field="source.sequence")
    before, own = found.groups()
    number, count = source.get("txId"), _count(transaction)
    return SourcePosition(
        connector="postgresql",
        server="0",
        order=f"{int(before or own):020d}/{int(own):020d}/{count:010d}",
        place=f"{int(own):020d}",
        ts_ms=_number(source, "ts_ms"),
        origin=_origin(source.get("snapshot")),
        transaction=str(number) if isinstance(number, int) else "",
        count=count,
    )


def _origin(snapshot: object) -> Origin:
    if snapshot in (None, False, "false"):
        return Origin.STREAMED
    return Origin.INCREMENTAL if snapshot == "incremental" else Origin.SNAPSHOT


def _number(source: Mapping[str, object], name: str) -> int:
    value = source.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**20:
        raise NotAnEnvelope("a number that is not negative is missing", field=f"source.{name}")
    return value
