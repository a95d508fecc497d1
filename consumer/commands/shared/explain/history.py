"""What happened to each of a user's records in the topics, and which records set the values in Redis.

The records are decided as in ``run``. The guard's version shows what Redis has applied: a newer record was not applied,
whatever the committed offsets say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from consumer.commands.shared.explain.outcome import ChangeOutcome
from consumer.commands.shared.explain.written_values import Written
from consumer.errors import Place, RecordError
from consumer.events.avro import Schemas
from consumer.events.event import Operation
from consumer.events.position import Origin
from consumer.events.record import Partition, SourceRecord
from consumer.events.topic_tables import TopicTables
from consumer.guard.history import Histories
from consumer.guard.search import EarlierRecords
from consumer.guard.version import Verdict, Version, compare
from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Rules
from consumer.planning.decision import Decision, Outcome, decide_all, healing_plan
from consumer.planning.effect import Plan
from consumer.planning.linked import LinkedChange, linked_change
from consumer.planning.plan import user_of
from consumer.planning.shape import Extent, Mode

_BATCH_GAP_MS = 1000
_REFUSED = {
    Verdict.DUPLICATE: "a duplicate: the record was applied already",
    Verdict.STALE: "older than the change that Redis has",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One record about the user, and what happened to it.

    ``plan``: the plan that was or would be applied. ``why``: why an OLD change was refused.
    """

    record: SourceRecord
    decision: Decision
    outcome: ChangeOutcome
    plan: Plan | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class GroupProgress:
    """What Redis has applied: the group's next offset of each partition, and the guard's version of each table.

    ``dead``: the places of records that are known as not applied, because offsets of the last records may not be
    committed yet. ``letters``: those of them that have an open dead letter. ``deleted``: the tables whose version is of
    the user's delete.
    """

    committed: Mapping[Partition, int]
    stored: Mapping[str, Version]
    dead: frozenset[Place] = frozenset()
    deleted: frozenset[str] = frozenset()
    letters: frozenset[Place] = frozenset()

    def has_read(self, record: SourceRecord) -> bool:
        """Whether the group has read ``record``."""
        return record.offset < self.committed.get(Partition(record.topic, record.partition), 0)

    def covers(self, version: Version, table: str) -> bool | None:
        """Whether the stored version is as new as ``version`` or newer; None if the table has no stored version."""
        if (stored := self.stored.get(table)) is None:
            return None
        return not compare(version, stored).is_accepted


@dataclass(frozen=True, slots=True)
class History:
    """All changes of the user in the topics, the oldest first, and what the applied ones wrote."""

    changes: tuple[Change, ...]
    written: Written

    def of(self, *outcomes: ChangeOutcome) -> list[Change]:
        """The changes with these outcomes."""
        return [each for each in self.changes if each.outcome in outcomes]


def trace(
    records: Sequence[SourceRecord],
    user: UserId,
    rules: Rules,
    schemas: Schemas,
    progress: GroupProgress,
    tables: TopicTables | None = None,
    earlier: EarlierRecords | None = None,
    clock_ms: int = 0,
    *,
    is_partial: bool = False,
) -> History:
    """The history of ``user``, from records that include the user's, in the order of each partition.

    ``tables``: the known tables of each topic, for records that can't be decoded. ``earlier``: finds records that were
    sent before these; clocks may differ by ``clock_ms``. None: there are none. ``is_partial``: the user may have had
    changes before these records, so a row that a snapshot read is taken to have filled what was missing.

    Raises:
        ServerError: from ``schemas`` (only for Avro), or from ``earlier``.
    """
    known = TopicTables(rules.captured()) if tables is None else tables
    sent = Histories(earlier, clock_ms)
    decided = (
        each
        for some in _batches(records)
        for each in zip(some, decide_all(some, rules, schemas, known, sent), strict=True)
    )
    own = [(record, decision) for record, decision in decided if is_of(user, decision, rules)]
    tracer = _Tracer(user, rules, progress, is_partial=is_partial)
    return History(tuple(tracer.change(*each) for each in own), tracer.written)


def _batches(records: Sequence[SourceRecord]) -> Iterator[list[SourceRecord]]:
    """Records with nearly equal times, as those of one database transaction; a copy that was sent again is later."""
    batch: list[SourceRecord] = []
    for record in records:
        if batch and abs(record.timestamp_ms - batch[-1].timestamp_ms) > _BATCH_GAP_MS:
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch


def is_of(user: UserId, decision: Decision, rules: Rules) -> bool:
    """Whether it is, or may be, a change of ``user``."""
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
    def __init__(self, user: UserId, rules: Rules, progress: GroupProgress, *, is_partial: bool) -> None:
        self.written = Written()
        self._is_partial = is_partial
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
                return Change(record, decision, ChangeOutcome.OLD, why=decision.reason)
            return Change(
                record, decision, ChangeOutcome.NOTHING if progress.has_read(record) else ChangeOutcome.PENDING
            )
        if plan.table in self._marked and self._rules.table(plan.table) is not None:
            plan = healing_plan(decision, self._rules)
        if plan.mode is Mode.FILL and self._writes_whole(plan):
            plan = plan.in_mode(Mode.CHANGE)
        if record.place in progress.letters:  # Redis refused the plan
            self._marked.add(plan.table)
            return Change(record, decision, ChangeOutcome.DEAD, plan)
        outcome, why = self._outcome(record, decision, plan)
        return Change(record, decision, outcome, plan, why)

    def _writes_whole(self, plan: Plan) -> bool:
        """Whether a row read by a snapshot overwrote the stored values, as the guard's version or a mark shows.

        The marks of ``snapshot --authoritative`` are in no topic.
        """
        stored, last = self._progress.stored.get(plan.table), self._last.get(plan.table)
        if stored is not None and _place(stored) == _place(plan.version):
            return last is not None
        # If a linked table's rows were only read, the last one counts.
        if self._rules.table(plan.table) is None:
            return (last or stored or plan.version).origin is Origin.INCREMENTAL
        return plan.table in self._marked and plan.extent is Extent.WHOLE

    def _outcome(self, record: SourceRecord, decision: Decision, plan: Plan) -> tuple[ChangeOutcome, str]:
        """The outcome of a change that has a plan, and why it was refused."""
        covered = self._progress.covers(plan.version, plan.table)
        if not covered and not self._progress.has_read(record):
            return ChangeOutcome.PENDING, ""
        last = self._last.get(plan.table)
        if plan.mode is Mode.FILL and (last is not None or covered is False or self._is_partial):
            return self._filled(plan, last, is_newest=covered is False)
        if covered is False:
            return ChangeOutcome.MISSED, ""
        if not (verdict := compare(plan.version, last)).is_accepted:
            return ChangeOutcome.OLD, _REFUSED[verdict]
        self._last[plan.table] = plan.version
        self._marked.discard(plan.table)
        is_update = decision.event is not None and decision.event.op is Operation.UPDATE
        self.written.take(plan, is_update, self._portfolio)
        return ChangeOutcome.APPLIED, ""

    def _filled(self, plan: Plan, last: Version | None, *, is_newest: bool) -> tuple[ChangeOutcome, str]:
        """The outcome of a row that a snapshot read. ``is_newest``: the guard's version is older."""
        is_deleted = is_newest and plan.table in self._progress.deleted
        if is_deleted or self.written.removed is not None:
            return ChangeOutcome.OLD, "a row that was read does not restore a deleted user"
        if compare(plan.version, last) is Verdict.STALE:
            return ChangeOutcome.OLD, _REFUSED[Verdict.STALE]
        self.written.fill(plan)
        return ChangeOutcome.FILLED, ""


def _place(version: Version) -> Place:
    return Place(version.topic, version.partition, version.offset)
