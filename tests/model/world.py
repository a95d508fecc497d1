"""A database with replicas, a connector that reads one of their logs, and the topic that it writes: as data, no server.

Every change of a user has a number of its own, which rises with the commits: by it a test knows which of two states is
the newer. Nothing of the program knows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from consumer.errors import Place
from consumer.events.event import ChangeEvent, Operation
from consumer.events.position import from_source

TABLE = "live_users"
TOPIC = "trading.trading.live_users"
START_MS = 1_795_000_000_000


class Kind(StrEnum):
    """What writes and replicates the log."""

    MYSQL = "mysql"
    GROUP = "mysql group replication"
    MARIADB = "mariadb"
    NO_GTID = "mysql without gtid"
    POSTGRES = "postgresql"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one user: ``number`` rises by user; ``after`` is None of a delete."""

    user: int
    number: int
    before: int | None
    after: int | None

    @property
    def op(self) -> Operation:
        """As Debezium says it."""
        if self.after is None:
            return Operation.DELETE
        return Operation.CREATE if self.before is None else Operation.UPDATE


@dataclass(eq=False, slots=True)
class Transaction:
    """Changes that were committed together."""

    server_id: int
    gtid: str | None
    number: int
    ts_ms: int
    changes: list[Change]
    is_compressed: bool

    @property
    def is_ambiguous(self) -> bool:
        """Whether a user is in the end what they were at some time before: where rows are not counted, this can't be
        told from the same rows sent again.
        """
        before: dict[int, set[int | None]] = {}
        for each in self.changes:
            before.setdefault(each.user, set()).add(each.before)
        return any(each.after in before[each.user] for each in self.changes)


@dataclass(eq=False, slots=True)
class Server:
    """A server and its log: transactions with the file and the offset at which they lie there."""

    name: str
    server_id: int
    uuid: str
    clock_ms: int
    file: int = 1
    offset: int = 100
    last_number: int = 0
    log: list[tuple[Transaction, int, int]] = field(default_factory=list)

    def append(self, transaction: Transaction) -> None:
        """What was committed here, or on the server that this one follows."""
        self.log.append((transaction, self.file, self.offset))
        self.offset += 100 * (len(transaction.changes) + 1)

    def rotate(self, files: int) -> None:
        """Go on in a later file."""
        self.file += files
        self.offset = 100


@dataclass(frozen=True, slots=True)
class Record:
    """A record in Kafka. ``event`` is None of a tombstone; ``change`` is what it is about, if it is a streamed one, and
    ``number`` the number of the state that it tells.
    """

    partition: int
    offset: int
    written_ms: int
    user: int
    event: ChangeEvent | None
    number: int
    change: Change | None = None


@dataclass(slots=True)
class Topic:
    """Partitions with their records by offset."""

    partitions: list[dict[int, Record]]
    ends: list[int]
    laid_out_ms: int
    """When it was made, or got its last partition."""
    compacted: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, count: int, now_ms: int) -> Topic:
        """An empty one."""
        return cls([{} for _ in range(count)], [0] * count, now_ms)

    def home(self, user: int) -> int:
        """The partition of a user."""
        return user % len(self.partitions)

    def compact(self, partition: int, end: int) -> set[Change]:
        """Keep the last record of each user below ``end``; answers the changes that are gone."""
        records = self.partitions[partition]
        last = {record.user: offset for offset, record in sorted(records.items()) if offset < end}
        self.compacted.add(partition)
        gone = [offset for offset, record in records.items() if offset < end and last[record.user] != offset]
        return {change for each in gone if (change := records.pop(each).change) is not None}


class World:
    """The database, the connector and the topic."""

    def __init__(self, kind: Kind, *, is_counted: bool, partitions: int) -> None:
        self.kind = kind
        self.is_counted = is_counted
        self.now_ms = START_MS
        self.connect_clock_ms = 0
        self.rows: dict[int, int | None] = {}
        self.numbers: dict[int, int] = {}
        self.servers = [self._server(number) for number in range(1 if kind is Kind.POSTGRES else 2)]
        self.primary = 0
        self.topic = Topic.of(partitions, START_MS - 60_000)
        self.reads = self.servers[0]
        self.at = 0
        self.sent: set[Transaction] = set()
        self.streamed: set[Change] = set()
        self.layout = 0
        """How often the topic was made anew, or got a partition."""
        self.layout_of: dict[Change, int] = {}
        """In which layout a change was sent first."""
        self.ambiguous: set[int] = set()
        self.interrupted: set[Transaction] = set()
        """Within which the connector was killed."""
        self.may_be_lost: set[int] = set()
        """Users with a transaction that brings a row back and is not counted. The connector was killed within it, and
        reads another server's log. Decision 23 names this window."""
        self.began_ms = START_MS - 60_000
        """When the logs began."""
        self._made = 2
        self._has_failed_over = False
        self._is_started = True
        """Whether the connector has read no transaction yet since it was started."""
        self._resume_row = 0
        """So many rows of the next transaction are passed over, and the others are counted from 1."""

    def _server(self, number: int) -> Server:
        uuid = "group" if self.kind is Kind.GROUP else f"uuid-{number}"
        return Server(f"s{number}", number + 1, uuid, 0, last_number=1000 * number if self.kind is Kind.GROUP else 0)

    def commit(self, writer: int, values: list[tuple[int, int | None]], took_s: int, *, is_compressed: bool) -> None:
        """A transaction on one of the servers that sets users to values, None to delete them."""
        server = self.servers[writer % len(self.servers)]
        changes = []
        for user, value in values:
            before = self.rows.get(user)
            if before == value:
                continue
            self.rows[user] = value
            self.numbers[user] = self.numbers.get(user, 0) + 1
            changes.append(Change(user, self.numbers[user], before, value))
        if not changes:
            return
        server.last_number += 1
        has_commit_time = self.kind in (Kind.MYSQL, Kind.GROUP, Kind.POSTGRES)
        ts_ms = self.now_ms + server.clock_ms
        if not has_commit_time:
            # No statement runs while the log is made to begin again.
            took_s = min(took_s, (self.now_ms - self.began_ms) // 1000)
            ts_ms = (ts_ms - 1000 * took_s) // 1000 * 1000
        gtid = {
            Kind.MYSQL: f"{server.uuid}:{server.last_number}",
            Kind.GROUP: f"{server.uuid}:{server.last_number}",
            Kind.MARIADB: f"0-{server.server_id}-{server.last_number}",
        }.get(self.kind)
        transaction = Transaction(server.server_id, gtid, server.last_number, ts_ms, changes, is_compressed)
        for each in self.servers:
            each.append(transaction)
            if self.kind is Kind.MARIADB:  # one domain: whoever writes counts on
                each.last_number = server.last_number

    def send(self, count: int) -> None:
        """The connector reads so many transactions on and writes them to Kafka."""
        log = self.reads.log
        while count > 0 and self.at < len(log):
            transaction, file, offset = log[self.at]
            self.at += 1
            if transaction in self._skipped:
                continue
            self._send_rows(transaction, file, offset, len(transaction.changes))
            self.sent.add(transaction)
            self._is_started, self._resume_row = False, 0
            count -= 1

    def _send_rows(self, transaction: Transaction, file: int, offset: int, end: int) -> None:
        """The rows of a transaction up to ``end``, from where the connector resumes."""
        is_repeated = transaction in self.sent or transaction in self.interrupted
        if transaction.is_ambiguous and is_repeated and not self._tells_rows_apart(transaction):
            self.ambiguous |= {change.user for change in transaction.changes}
        for row, change in enumerate(transaction.changes[:end]):
            if row >= self._resume_row:
                self._write(change, self._event(transaction, file, offset, row, change))
                self.streamed.add(change)
                self.layout_of.setdefault(change, self.layout)

    def _tells_rows_apart(self, transaction: Transaction) -> bool:
        """Whether copies of rows with equal content can be known: by their places in one server's log, or by the file
        in which another server has the transaction.
        """
        shares_place = transaction.is_compressed or self.kind is Kind.MARIADB
        files = [file for server in self.servers for each, file, _ in server.log if each is transaction]
        is_exact = self.is_counted and transaction not in self.interrupted and len(set(files)) == len(files)
        return not shares_place and (is_exact or not self._has_failed_over)

    _skipped: frozenset[Transaction] = frozenset()

    def rewind(self, transactions: int) -> None:
        """Connect's offsets are older than what it sent."""
        self.at = max(0, self.at - transactions)
        self._skipped = frozenset()
        self._is_started, self._resume_row = True, 0

    def interrupt(self, sent: int, transactions: int, noted: int) -> None:
        """Connect is killed when it has sent so many rows of the next transaction. It resumes within that one, or one
        of those before, behind as many rows as it had noted; and Debezium counts the others from 1.
        """
        log = self.reads.log
        transactions = min(transactions, self.at)
        if self.at < len(log):
            transaction, file, offset = log[self.at]
            if transaction not in self._skipped:
                self._send_rows(transaction, file, offset, max(sent, self._resume_row))
                self.interrupted.add(transaction)
                if transactions == 0:
                    noted = min(noted, max(sent, self._resume_row))
        elif transactions == 0:
            noted = 0
        self.rewind(transactions)
        if self.at < len(log):
            self._resume_row = min(noted, len(log[self.at][0].changes) - 1)
            self.interrupted.add(log[self.at][0])

    def failover(self, resent: int) -> None:
        """The connector reads another server's log, from behind what it has sent, or from a little before."""
        self.primary = (self.primary + 1) % len(self.servers)
        if not self.is_counted:
            cut = [each for each in self.interrupted - self.sent if each.is_ambiguous]
            self.may_be_lost |= {change.user for each in cut for change in each.changes}
        log = [each for each, _, _ in self.reads.log[: self.at]]
        self.reads = self.servers[self.primary]
        known = set(log[: len(log) - resent] if resent else log) & self.sent
        self._skipped = frozenset(known)
        self._has_failed_over = True
        self.at = 0
        self._is_started, self._resume_row = True, 0

    def is_all_sent(self) -> bool:
        """Whether the connector has read the log to its end."""
        return self.at >= len(self.reads.log)

    def begin_logs_again(self) -> None:
        """RESET MASTER on every server: files, offsets and numbers of transactions begin again; a snapshot follows."""
        for server in self.servers:
            server.log, server.file, server.offset = [], 1, 100
            server.last_number = 1000 * (server.server_id - 1) if self.kind is Kind.GROUP else 0
        self.at, self._skipped, self.sent = 0, frozenset(), set()
        self.began_ms = self.now_ms
        self.snapshot()

    def restore(self, values: dict[int, int]) -> None:
        """A backup takes the place of the database: a server of its own, rows as they were once, and a snapshot."""
        self._made += 1
        self.servers = [self._server(self._made + number) for number in range(len(self.servers))]
        for number, server in enumerate(self.servers):
            server.server_id = self._made + number
            if self.kind is not Kind.GROUP:
                server.uuid = f"uuid-{self._made + number}"
        self.primary, self.reads, self.at = 0, self.servers[0], 0
        self.began_ms = self.now_ms
        self._skipped, self.sent = frozenset(), set()
        for user, value in values.items():
            if self.rows.get(user) is not None:
                self.rows[user] = value
                self.numbers[user] += 1
        self.snapshot()

    def snapshot(self) -> None:
        """The connector reads all rows, and goes on from where the log is."""
        for user, value in sorted(self.rows.items()):
            if value is not None:
                self._write_read(user, value, self.numbers[user], "true")
        self.at = len(self.reads.log)

    def read_incrementally(self, user: int, value: int, number: int) -> None:
        """A row of an incremental snapshot, which may be older than where it stands in the log."""
        self._write_read(user, value, number, "incremental")

    def make_topic_anew(self) -> None:
        """Somebody deletes the topic; the connector makes it again, by a snapshot."""
        self.topic = Topic.of(len(self.topic.partitions), self.now_ms)
        self.layout += 1
        self.snapshot()

    def add_partition(self) -> None:
        """From now on some users lie elsewhere."""
        self.topic.partitions.append({})
        self.topic.ends.append(0)
        self.topic.laid_out_ms = self.now_ms
        self.layout += 1

    def _write(self, change: Change, event: ChangeEvent) -> None:
        self._append(change.user, event, change.number, change)
        if event.op is Operation.DELETE:
            self._append(change.user, None, change.number, None)

    def _write_read(self, user: int, value: int, number: int, snapshot: str) -> None:
        server = self.reads
        source = self._source(server.file, server.offset, 0, self.now_ms // 1000 * 1000, snapshot)
        self._append(user, _event(user, Operation.READ, None, value, source, None), number, None)

    def _event(self, transaction: Transaction, file: int, offset: int, row: int, change: Change) -> ChangeEvent:
        place = offset if transaction.is_compressed else offset + 100 * row
        if self.kind is Kind.MARIADB:
            place = offset
        source = self._source(file, place, 0, transaction.ts_ms, "false")
        if not self._is_started:
            source["sequence"] = f'["{file * 1_000_000 + offset - 1}","{file * 1_000_000 + place}"]'
        source |= {"gtid": transaction.gtid, "server_id": transaction.server_id, "txId": transaction.number}
        block = {"id": transaction.gtid, "total_order": row + 1 - self._resume_row} if self.is_counted else None
        return _event(change.user, change.op, change.before, change.after, source, block)

    def _source(self, file: int, offset: int, row: int, ts_ms: int, snapshot: str) -> dict[str, object]:
        connector = {Kind.MARIADB: "mariadb", Kind.POSTGRES: "postgresql"}.get(self.kind, "mysql")
        return {
            "connector": connector, "file": f"binlog.{file:06d}", "pos": offset, "row": row, "server_id": 0,
            "sequence": f'[null,"{file * 1_000_000 + offset}"]', "ts_ms": ts_ms, "snapshot": snapshot,
        }  # fmt: skip

    def _append(self, user: int, event: ChangeEvent | None, number: int, change: Change | None) -> None:
        partition = self.topic.home(user)
        offset = self.topic.ends[partition]
        self.topic.ends[partition] += 1
        written_ms = self.now_ms + self.connect_clock_ms
        if event is not None:
            event = _placed(event, Place(TOPIC, partition, offset), written_ms)
        self.topic.partitions[partition][offset] = Record(partition, offset, written_ms, user, event, number, change)


def _event(
    user: int, op: Operation, before: int | None, after: int | None, source: dict[str, object], block: object
) -> ChangeEvent:
    return ChangeEvent(
        table=TABLE,
        op=op,
        key={"id": user},
        before=None if before is None else {"id": user, "value": before},
        after=None if after is None else {"id": user, "value": after},
        position=from_source(source, block),
        transaction_id=None,
        place=Place("", 0, 0),
        schema={},
    )


def _placed(event: ChangeEvent, place: Place, written_ms: int) -> ChangeEvent:
    from msgspec.structs import replace

    return replace(event, place=place, written_ms=written_ms)
