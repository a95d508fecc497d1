"""Where in the database's log a change was committed, and which of two changes of a row is the newer.

A *source position* is the database's own coordinate (binlog file and offset, LSN); a Kafka *offset* is where
Debezium happened to write it. Positions order changes only within one *lineage*: the log of one server. The rule
in :func:`compare` is the whole of the version guard; the sink's script holds the same rule, and a test proves the
two equal.

The sources of what is said of each database's log: Debezium's ``source`` block, as measured on real servers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from consumer.errors import NotAnEnvelope

UNKNOWN_SERVER = "0"
"""The server of a snapshot read: Debezium does not say which it was, only where its log stood. On PostgreSQL it never
says, so that one lineage is all there is."""

_SEQUENCE = re.compile(r'\[(?:null|"(\d{1,20})"),"(\d{1,20})"\]')


class Origin(StrEnum):
    """How a row came to be read: this decides how far its position can be trusted.

    FIRST is a streamed row of PostgreSQL in the first transaction after the connector started: Debezium does not know
    yet which commit came before it. READ is a row that this program read in the database itself; it never lay in Kafka.
    """

    STREAMED = "s"
    SNAPSHOT = "r"
    INCREMENTAL = "i"
    FIRST = "f"
    READ = "q"


class SourceTime(StrEnum):
    """What the source's time is the time of.

    STATEMENT times are whole seconds, and a change that was committed later may carry an earlier one. READ is when a
    snapshot read the row, which says nothing of when it was changed.
    """

    COMMIT = "commit"
    STATEMENT = "statement"
    READ = "read"


class SourcePosition(msgspec.Struct, frozen=True):
    """A place in a database's log.

    ``order`` is text that sorts as the log does (numbers padded to a fixed width), so that a script without
    64-bit integers can compare it. ``server`` names the lineage. ``ts_ms`` is the source's time in UTC
    milliseconds, and ``time`` says of what; it is no order between rows.
    """

    connector: str
    server: str
    order: str
    ts_ms: int
    origin: Origin
    time: SourceTime

    @property
    def lineage(self) -> str:
        """Connector kind and server: positions of two lineages can't be compared."""
        return f"{self.connector}:{self.server}"


def from_source(source: Mapping[str, object], transaction: object = None) -> SourcePosition:
    """The position in a Debezium ``source`` block; ``transaction`` is the envelope's block of that name, or None.

    Raises:
        NotAnEnvelope: a part that orders changes is missing; a record without it must not count as newest.

    """
    connector = source.get("connector")
    if connector == "postgresql":
        return _in_wal(source)
    if connector in ("mysql", "mariadb"):
        return _in_binlog(str(connector), source, transaction)
    raise NotAnEnvelope(
        "names no known connector", field="source.connector", advice="MySQL, MariaDB and PostgreSQL are understood"
    )


def _in_binlog(connector: str, source: Mapping[str, object], transaction: object) -> SourcePosition:
    """File, offset, row. Only MySQL with GTIDs tells when the transaction was committed.

    MariaDB from 11.4 gives all rows of a transaction the offset at which it begins (unless
    ``binlog_legacy_event_pos`` is on), so there Debezium's count of its rows is a fourth part.
    """
    file = source.get("file")
    number = _file_number(file) if isinstance(file, str) else ""
    if not number:
        raise NotAnEnvelope("a binlog file name with a number is missing", field="source.file")
    origin = _origin(source.get("snapshot"))
    order = f"{number}/{_number(source, 'pos'):020d}/{_number(source, 'row'):010d}"
    if connector == "mariadb":
        order += f"/{_count(transaction):010d}"
    knows_commit = connector == "mysql" and source.get("gtid") is not None
    return SourcePosition(
        connector=connector,
        server=str(_number(source, "server_id")),
        order=order,
        ts_ms=_number(source, "ts_ms"),
        origin=origin,
        time=_time(origin, SourceTime.COMMIT if knows_commit else SourceTime.STATEMENT),
    )


@lru_cache(maxsize=256)
def _file_number(file: str) -> str:
    """The number of a binlog file, padded; "" for a longer one too, which would not sort as text of a fixed width."""
    number = file.rpartition(".")[2]
    return f"{int(number):010d}" if number.isdecimal() and len(number) <= 10 else ""


def _count(transaction: object) -> int:
    """Which row of its database transaction this is, from 1; 0 where Debezium does not count, as in a snapshot."""
    count = transaction.get("total_order") if isinstance(transaction, dict) else None
    return count if isinstance(count, int) and count > 0 else 0


def _in_wal(source: Mapping[str, object]) -> SourcePosition:
    """``sequence``: the commit before this transaction, then the row's own place. ``lsn`` alone is not monotonic, for
    the rows of a transaction are sent at its commit, and another's may lie before them and be committed after.

    Where the commit before is unknown the row's own place stands for it. For a snapshot read that is the place up to
    which the snapshot sees everything.
    """
    sequence = source.get("sequence")
    found = _SEQUENCE.fullmatch(sequence.replace(" ", "")) if isinstance(sequence, str) else None
    if found is None:
        raise NotAnEnvelope("the pair of log positions is missing", field="source.sequence")
    before, own = found.groups()
    origin = _origin(source.get("snapshot"))
    if before is None and origin is Origin.STREAMED:
        origin = Origin.FIRST
    return SourcePosition(
        connector="postgresql",
        server=UNKNOWN_SERVER,
        order=f"{int(before or own):020d}/{int(own):020d}",
        ts_ms=_number(source, "ts_ms"),
        origin=origin,
        time=_time(origin, SourceTime.COMMIT),
    )


def _time(origin: Origin, streamed: SourceTime) -> SourceTime:
    return SourceTime.READ if origin in (Origin.SNAPSHOT, Origin.INCREMENTAL) else streamed


def _origin(snapshot: object) -> Origin:
    if snapshot in (None, False, "false"):
        return Origin.STREAMED
    return Origin.INCREMENTAL if snapshot == "incremental" else Origin.SNAPSHOT


def _number(source: Mapping[str, object], name: str) -> int:
    value = source.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**20:
        raise NotAnEnvelope("a number that is not negative is missing", field=f"source.{name}")
    return value


class Version(msgspec.Struct, frozen=True):
    """What the guard keeps of a change: its position, and the Kafka coordinates it came by.

    ``epoch`` is the operator's: a higher one outranks every position.
    """

    epoch: int
    origin: Origin
    lineage: str
    order: str
    ts_ms: int
    topic: str
    partition: int
    offset: int

    @classmethod
    def of(cls, position: SourcePosition, epoch: int, topic: str, partition: int, offset: int) -> Version:
        """The version of a change at ``position``."""
        return cls(epoch, position.origin, position.lineage, position.order, position.ts_ms, topic, partition, offset)

    def to_text(self) -> str:
        """One line, as it stands in the guard's hash in Redis."""
        return (
            f"{self.epoch}|{self.origin}|{self.lineage}|{self.order}|{self.ts_ms}"
            f"|{self.topic}|{self.partition}|{self.offset}"
        )

    @classmethod
    def from_text(cls, text: str) -> Version:
        """The inverse of :meth:`to_text`. Raises ValueError for any other text."""
        epoch, origin, lineage, order, ts_ms, topic, partition, offset = text.split("|")
        return cls(int(epoch), Origin(origin), lineage, order, int(ts_ms), topic, int(partition), int(offset))


class Verdict(StrEnum):
    """What the guard says to a change.

    UNHEALED is no comparison's answer: the change is newer, but one before it could not be applied, so that this one
    must write the whole image. Nothing of it was done. Nor is HEALED: a duplicate was written again, because what stood
    there was not what it had written.
    """

    NEWER = "newer"
    NEW_LINEAGE = "new_lineage"
    DUPLICATE = "duplicate"
    STALE = "stale"
    UNHEALED = "unhealed"
    HEALED = "healed"

    @property
    def is_accepted(self) -> bool:
        """Whether the change was carried out, rather than refused as old."""
        return self in (Verdict.NEWER, Verdict.NEW_LINEAGE, Verdict.HEALED)


def compare(candidate: Version, stored: Version | None, lineage_gap_ms: int) -> Verdict:
    """Whether ``candidate`` may overwrite what ``stored`` wrote.

    Within one lineage the position decides. A record that lies *later* in the same partition, at a *lower*
    position, with a source time *clearly* later (by more than ``lineage_gap_ms``) is no duplicate, for a duplicate
    carries its old time: the server's log began again (RESET MASTER, a restored server), and it opens a new lineage.
    What lies *earlier*, at a *higher* position and *clearly* earlier was written before that, and is read again.
    An incremental read may carry a position that is too new for its value, so beside it only the partition's order
    counts.
    A snapshot's position is where the log went on: a change that begins there came after it (MariaDB gives the first
    one that very position). A second snapshot of an idle database reads at it again: as true as the first, it may heal.
    FIRST stands at its row's own place, which lies before that of a snapshot if its transaction was in progress then:
    between these two only the partition's order counts. Sent again, the same row may have its full position, or had
    it before: the same place of the row is the same change.
    READ stands where the log would go on, and all that was committed before that place was seen by it.
    Between lineages only the order within one Kafka partition is known, and across partitions only time.
    """
    if stored is None:
        return Verdict.NEWER
    if candidate.epoch != stored.epoch:
        return Verdict.NEWER if candidate.epoch > stored.epoch else Verdict.STALE
    origins = (candidate.origin, stored.origin)
    clearly_later = candidate.ts_ms > stored.ts_ms + lineage_gap_ms
    if Origin.READ in origins:
        return _beside_a_read(candidate, stored, clearly_later=clearly_later)
    same_partition = candidate.topic == stored.topic and candidate.partition == stored.partition
    lies_later = same_partition and candidate.offset > stored.offset
    lies_earlier = same_partition and candidate.offset < stored.offset
    clearly_earlier = stored.ts_ms > candidate.ts_ms + lineage_gap_ms
    if same_partition and (Origin.INCREMENTAL in origins or origins in _FIRST_AND_SNAPSHOT):
        return _by_offset(candidate, stored, Verdict.NEWER)
    if comparable(candidate.lineage, stored.lineage):
        is_same_change = Origin.FIRST in origins and _own_place(candidate) == _own_place(stored)
        if candidate.order > stored.order and not is_same_change:
            return Verdict.STALE if lies_earlier and clearly_earlier else Verdict.NEWER
        if lies_later and candidate.order == stored.order and Origin.SNAPSHOT in origins:
            return Verdict.NEWER
        if lies_later and clearly_later:
            return Verdict.NEW_LINEAGE
        return Verdict.DUPLICATE if candidate.order == stored.order or is_same_change else Verdict.STALE
    if same_partition:
        return _by_offset(candidate, stored, Verdict.NEW_LINEAGE)
    return Verdict.NEW_LINEAGE if clearly_later else Verdict.STALE


_FIRST_AND_SNAPSHOT = ((Origin.FIRST, Origin.SNAPSHOT), (Origin.SNAPSHOT, Origin.FIRST))


def _own_place(version: Version) -> str:
    return version.order.rpartition("/")[2]


def _beside_a_read(candidate: Version, stored: Version, *, clearly_later: bool) -> Verdict:
    """Of two versions one or both of which are a READ.

    A change that begins at a read's place came after it. A second read there is as true as the first. What comes from
    Kafka at a lower place and a clearly later time says that the log began again; a read that does is from a replica
    that lags behind.
    """
    if not comparable(candidate.lineage, stored.lineage):
        return Verdict.NEW_LINEAGE if clearly_later else Verdict.STALE
    place, stored_place = _place(candidate), _place(stored)
    if place > stored_place:
        return Verdict.NEWER
    if place < stored_place:
        return Verdict.NEW_LINEAGE if clearly_later and candidate.origin is not Origin.READ else Verdict.STALE
    if candidate.origin is stored.origin:
        if candidate.ts_ms == stored.ts_ms:
            return Verdict.DUPLICATE
        return Verdict.NEWER if candidate.ts_ms > stored.ts_ms else Verdict.STALE
    if stored.origin is Origin.READ:
        return Verdict.DUPLICATE if candidate.origin is Origin.SNAPSHOT else Verdict.NEWER
    return Verdict.NEWER if stored.origin is Origin.SNAPSHOT else Verdict.STALE


def _place(version: Version) -> str:
    """What orders the changes of one row: in PostgreSQL's log the row's own place, for the commit before it that
    Debezium knows of may lie anywhere before the read.
    """
    return _own_place(version) if version.lineage.startswith("postgresql:") else version.order


def is_again(candidate: Version, stored: Version) -> bool:
    """Whether of two that :func:`compare` calls duplicates one is the other, perhaps in another copy of the record.

    Others share a position and no more, as a snapshot does with the change that came next.
    """
    return replace(candidate, offset=0) == replace(stored, offset=0)


def _by_offset(candidate: Version, stored: Version, later: Verdict) -> Verdict:
    if candidate.offset == stored.offset:
        return Verdict.DUPLICATE
    return later if candidate.offset > stored.offset else Verdict.STALE


def comparable(one: str, other: str) -> bool:
    """Same lineage; a snapshot read, which does not name its server, is taken for one of the same connector's."""
    if one == other:
        return True
    connector, _, server = one.partition(":")
    other_connector, _, other_server = other.partition(":")
    return connector == other_connector and UNKNOWN_SERVER in (server, other_server)
