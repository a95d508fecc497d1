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


_STREAMED = Origin.STREAMED  # looked up once (decision 29)


class SourcePosition(msgspec.Struct, frozen=True, gc=False):
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
    connector, count = source.get("connector"), _count(transaction)
    snapshot = source.get("snapshot")
    if connector == "postgresql":
        number = source.get("txId")
        tx_id = number if isinstance(number, int) else None
        return in_wal(source.get("sequence"), tx_id, _number(source, "ts_ms"), snapshot, count)
    if connector in ("mysql", "mariadb"):
        gtid = source.get("gtid")
        return in_binlog(
            str(connector),
            (source.get("file"), _number(source, "pos"), _number(source, "row")),
            _number(source, "server_id"),
            gtid if isinstance(gtid, str) else "",
            _number(source, "ts_ms"),
            snapshot,
            count,
        )
    raise NotAnEnvelope(
        "names no known connector", field="source.connector", advice="MySQL, MariaDB and PostgreSQL are understood"
    )


def in_binlog(
    connector: str,
    at: tuple[object, int, int],
    server_id: int,
    gtid: str,
    ts_ms: int,
    snapshot: object,
    count: int,
) -> SourcePosition:
    """The position from ``at`` (file, offset, row) and from Debezium's count of the transaction's rows.

    Rows may share a file offset: on MariaDB from 11.4 all rows of a transaction (unless ``binlog_legacy_event_pos`` is
    on), on MySQL all rows of a compressed transaction. Then only the count tells them apart.

    Raises:
        NotAnEnvelope: the file's name has no number.
    """
    file, offset, row = at
    number = _file_number(file) if isinstance(file, str) else ""
    if not number:
        raise NotAnEnvelope("a binlog file name with a number is missing", field="source.file")
    # A format such as 020d takes twice as long.
    place = f"{number}/{str(offset).zfill(20)}/{_padded(row)}"
    order = f"{place}/{_padded(count)}"
    return SourcePosition(connector, str(server_id), order, place, ts_ms, _origin(snapshot), gtid, count)


@lru_cache(maxsize=256)
def _padded(number: int) -> str:
    """The number of a row, which is usually small, in text of a fixed width."""
    return f"{number:010d}"


@lru_cache(maxsize=256)
def _file_number(file: str) -> str:
    """The number of a binlog file, padded; "" if there is none, or if it is too long for text of a fixed width."""
    number = file.rpartition(".")[2]
    return f"{int(number):010d}" if number.isdecimal() and len(number) <= 10 else ""


def _count(transaction: object) -> int:
    """The number of the row in its database transaction, from 1; 0 if Debezium does not count, as in a snapshot."""
    count = transaction.get("total_order") if isinstance(transaction, dict) else None
    return count if isinstance(count, int) and count > 0 else 0


def in_wal(sequence: object, tx_id: int | None, ts_ms: int, snapshot: object, count: int) -> SourcePosition:
    """The position from ``sequence``: the LSN of the previous commit, then the row's own LSN.

    ``lsn`` alone does not always rise. Debezium sends the rows of a transaction when it commits. A transaction that
    commits later may have rows with a lower LSN.

    In the first transaction after the connector's start, Debezium does not know the previous commit. Then, and for a
    snapshot read, the row's own LSN is used instead.

    Raises:
        NotAnEnvelope: ``sequence`` is not such a pair.
    """
    found = _SEQUENCE.fullmatch(sequence.replace(" ", "")) if isinstance(sequence, str) else None
    if found is None:
        raise NotAnEnvelope("the pair of log positions is missing", field="source.sequence")
    before, own = found.groups()
    place = f"{int(own):020d}"
    order = f"{int(before or own):020d}/{place}/{_padded(count)}"
    transaction = "" if tx_id is None else str(tx_id)
    return SourcePosition("postgresql", "0", order, place, ts_ms, _origin(snapshot), transaction, count)


def _origin(snapshot: object) -> Origin:
    if snapshot == "false" or snapshot is None or snapshot is False:
        return _STREAMED
    return Origin.INCREMENTAL if snapshot == "incremental" else Origin.SNAPSHOT


def _number(source: Mapping[str, object], name: str) -> int:
    value = source.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**20:
        raise NotAnEnvelope("a number that is not negative is missing", field=f"source.{name}")
    return value
