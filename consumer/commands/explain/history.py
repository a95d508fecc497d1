"""A user's records in the topics to what became of each, and which of them set what stands in Redis.

The records are decided as ``run`` decides them, and the version that the guard keeps says how far Redis is: what is
newer than it was not applied, whatever the offsets say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from msgspec import structs

from consumer.commands.explain.written import Written
from consumer.errors import Place, RecordError
from consumer.events.avro import Schemas
from consumer.events.event import Operation
from consumer.events.position import Origin
from consumer.events.record import Partition, SourceRecord
from consumer.events.topic_tables import TopicTables
from consumer.guard.history import EarlierRecords, Histories
from consumer.guard.version import Verdict, Version, compare
from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Rules
from consumer.planning.decision import Decision, Outcome, decide_all, healing_plan
from consumer.planning.effect import Extent, Mode, Plan
from consumer.planning.linked import LinkedChange, linked_change
from consumer.planning.plan import user_of

_TOGETHER_MS = 1000


class ChangeOutcome(StrEnum):
    """What became of a change.

    PENDING: the consumer group has not come so far. MISSED: it has, but the change is newer than what Redis has: Redis
    lost it, or another group applied nothing. OLD: a duplicate, or older than what was applied before. JOINED: another
    change of the same database transaction does its work. FILLED: a snapshot's read, which writes only what is missing
    and leaves the version as it is.
    """

    APPLIED = "applied"
    FILLED = "filled what was missing"
    PENDING = "pending"
    MISSED = "missed"
    OLD = "old"
    JOINED = "joined"
    NOTHING = "nothing"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Change:
    """One record about the user, and what became of it; ``plan`` is the one that was applied, or would be."""

    record: SourceRecord
    decision: Decision
    fate: ChangeOutcome
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far Redis is: the group's next offset of each partition, and the guard's version of each table.

    ``dead`` are the places of records that are known not to have been applied: of those that were read last the offset
    is not committed yet. ``deleted`` are the tables whose version is that of the user's end.
    """

    committed: Mapping[Partition, int]
    stored: Mapping[str, Version]
    dead: frozenset[Place] = frozenset()
    deleted: frozenset[str] = frozenset()

    def has_read(self, record: SourceRecord) -> bool:
        """Whether the group is beyond ``record``."""
        return record.offset < self.committed.get(Partition(record.topic, record.partition), 0)

    def covers(self, version: Version, table: str) -> bool | None:
        """Whether what stands is as new as ``version`` or newer; None where nothing is known of the table."""
        if (stored := self.stored.get(table)) is None:
            return None
        return not compare(version, stored).is_accepted


@dataclass(frozen=True, slots=True)
class History:
    """Every change of the user that the topics tell, the oldest first, and what the applied ones wrote."""

    changes: tuple[Change, ...]
    written: Written

    def of(self, *fates: ChangeOutcome) -> list[Change]:
        """Those of these fates."""
        return [each for each in self.changes if each.fate in fates]


def trace(
    records: Sequence[SourceRecord],
    user: UserId,
    rules: Rules,
    schemas: Schemas,
    progress: Progress,
    tables: TopicTables | None = None,
    earlier: EarlierRecords | None = None,
    clock_ms: int = 0,
) -> History:
    """The history of ``user`` from records among which theirs are, each partition's in its order.

    ``tables`` is what is known of the topics, for records that can't be read. ``earlier`` is asked for what was sent
    before the records, by clocks that differ by ``clock_ms``; None: nothing was.

    Raises:
        ServerError: from ``schemas``, which only Avro asks, or from ``earlier``.
    """
    known = TopicTables(rules.captured()) if tables is None else tables
    sent = Histories(earlier, clock_ms)
    decided = (
        each
        for some in _together(records)
        for each in zip(some, decide_all(some, rules, schemas, known, sent), strict=True)
    )
    own = [(record, decision) for record, decision in decided if is_of(user, decision, rules)]
    tracer = _Tracer(user, rules, progress)
    return History(tuple(tracer.change(*each) for each in own), tracer.written)


def _together(records: Sequence[SourceRecord]) -> Iterator[list[SourceRecord]]:
    """Records that came together, as those of one database transaction do; a copy that Debezium sent again did not."""
    batch: list[SourceRecord] = []
    for record in records:
        if batch and abs(record.timestamp_ms - batch[-1].timestamp_ms) > _TOGETHER_MS:
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch


def is_of(user: UserId, decision: Decision, rules: Rules) -> bool:
    """Whether it is a change of ``user``, or may be, as far as that can be told."""
    planned, event = decision.marks if decision.plan is None else (decision.plan,), decision.event
    if planned:
        return any(plan.user == user for plan in planned)
    with suppress(RecordError):
        if event is not None and (table := rules.table(event.table)) is not None:
            return user_of(event, table) == user
        if event is not None and event.after is not None and (linked := rules.linked_table(event.table)) is not None:
            change = linked_change(event, linked, rules)
            return isinstance(change, LinkedChange) and change.user == user
    return False


class _Tracer:
    def __init__(self, user: UserId, rules: Rules, progress: Progress) -> None:
        self.written = Written()
        self._user = user
        self._rules = rules
        self._progress = progress
        self._portfolio = render(rules.names.portfolio, user)
        self._last: dict[str, Version] = {}
        self._marked: set[str] = set()

    def change(self, record: SourceRecord, decision: Decision) -> Change:
        progress, plan = self._progress, decision.plan
        if decision.outcome is Outcome.REJECTED:
            if not progress.has_read(record) and record.place not in progress.dead:
                return Change(record, decision, ChangeOutcome.PENDING)
            self._marked.update(mark.table for mark in decision.marks if mark.user == self._user)
            return Change(record, decision, ChangeOutcome.DEAD)
        if plan is None:
            if decision.carrier is not None:
                return Change(record, decision, ChangeOutcome.JOINED)
            if decision.first_sent is not None:
                return Change(record, decision, ChangeOutcome.OLD)
            return Change(
                record, decision, ChangeOutcome.NOTHING if progress.has_read(record) else ChangeOutcome.PENDING
            )
        if plan.table in self._marked and self._rules.table(plan.table) is not None:
            plan = healing_plan(decision, self._rules)
        if plan.mode is Mode.FILL and self._writes_whole(plan):
            plan = structs.replace(plan, mode=Mode.CHANGE)
        return Change(record, decision, self._fate(record, decision, plan), plan)

    def _writes_whole(self, plan: Plan) -> bool:
        """Whether a snapshot's read was written over what stood there, which the guard's version tells, or a mark.

        The marks of ``snapshot --authoritative`` are in no topic.
        """
        stored, last = self._progress.stored.get(plan.table), self._last.get(plan.table)
        if stored is not None and _place(stored) == _place(plan.version):
            return last is not None
        # Of a linked table's rows that were only read the last one counts.
        if self._rules.table(plan.table) is None:
            return (last or stored or plan.version).origin is Origin.INCREMENTAL
        return plan.table in self._marked and plan.extent is Extent.WHOLE

    def _fate(self, record: SourceRecord, decision: Decision, plan: Plan) -> ChangeOutcome:
        covered = self._progress.covers(plan.version, plan.table)
        if not covered and not self._progress.has_read(record):
            return ChangeOutcome.PENDING
        last = self._last.get(plan.table)
        if plan.mode is Mode.FILL and (last is not None or covered is False):
            is_deleted = covered is False and plan.table in self._progress.deleted
            is_older = compare(plan.version, last) is Verdict.STALE
            if is_deleted or is_older or self.written.removed is not None:
                return ChangeOutcome.OLD
            self.written.fill(plan)
            return ChangeOutcome.FILLED
        if covered is False:
            return ChangeOutcome.MISSED
        if not compare(plan.version, last).is_accepted:
            return ChangeOutcome.OLD
        self._last[plan.table] = plan.version
        self._marked.discard(plan.table)
        is_update = decision.event is not None and decision.event.op is Operation.UPDATE
        self.written.take(plan, is_update, self._portfolio)
        return ChangeOutcome.APPLIED


def _place(version: Version) -> Place:
    return Place(version.topic, version.partition, version.offset)
