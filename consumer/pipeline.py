"""The loop: poll, decide, apply, mark, commit. The offset moves only after Redis acknowledged."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import structlog

from consumer.avro import NO_SCHEMAS, Schemas
from consumer.batch import Batch
from consumer.columns import ColumnWatch
from consumer.decision import decide_all, healing_plan
from consumer.delivery import Delivery
from consumer.errors import Halt, Reconnected, ServerError, ServerUnavailable
from consumer.mark import mark_refused
from consumer.outage import KAFKA, REDIS, REGISTRY, Outage
from consumer.patience import patiently
from consumer.position import Verdict
from consumer.progress import Patient, Progress
from consumer.protocols import DeadLetters, Observer, Sink, Source, Step
from consumer.record import SourceRecord
from consumer.rules import Rules
from consumer.tolerance import NONE, Excess, Limit, Tolerance
from consumer.watermark import Partition

_log = structlog.get_logger(__name__)
_POLL_S = 0.2
_FEW = 500
"""As many records at once are a backlog, and no reason to wait for more."""
_QUIET_S = 10.0
"""Where a topic's last records were dead letters: after so long without another they were bad rows, no broken table."""
_T = TypeVar("_T")


class Pipeline:
    """Carries records from ``source`` to ``sink`` until told to stop.

    Records that can't be applied go to ``dead_letters``, as long as they are no more than ``limit``; without a place
    for them the first one halts.
    """

    def __init__(
        self,
        sink: Sink,
        rules: Rules,
        *,
        schemas: Schemas = NO_SCHEMAS,
        dead_letters: DeadLetters | None = None,
        limit: Limit = NONE,
        group: str = "",
        observer: Observer | None = None,
        commit_interval_s: float = 1.0,
        linger_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = sink
        self._rules = rules
        self._schemas = schemas
        self._dead_letters = dead_letters
        self._group = group
        self._columns = ColumnWatch(rules)
        self._observer = observer or Observer()
        self._commit_interval_s = commit_interval_s
        self._linger_s = linger_s
        self._clock = clock
        self._outage = Outage(self._observer)
        self._progress = Progress(sink, self._observer, self._outage)
        self._tolerance = Tolerance(limit)
        self._doubted_at = clock()
        self._committed_at = clock()
        self._looked_at = float("-inf")
        self._source: Source | None = None

    def run(self, source: Source, should_stop: Callable[[], bool]) -> None:
        """Until ``should_stop`` says so; then what is done is committed.

        Raises:
            Halt: a record can't be applied, and must not be passed over. All before it is done and committed.

        """
        self._source = source
        must_begin_again = False

        def patient(server: str, attempt: Callable[[], _T]) -> _T:
            found = patiently(attempt, sleep=source.idle, on_wait=self._outage.began, should_stop=should_stop)
            self._outage.ended(server)
            return found

        try:
            while not should_stop():
                try:
                    if must_begin_again:
                        self._progress.begin_again(source, patient)
                        must_begin_again = False
                    self._turn(source, patient, should_stop)
                except Reconnected:
                    must_begin_again = True
                except ServerUnavailable:
                    pass  # told to stop while a server is away: nothing of this is committed, so nothing is lost
            self._progress.trust()
        finally:
            self._commit(source)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """The partitions go to another member: commit what is done, then forget them."""
        self._progress.trust()
        try:
            if self._source is not None:
                self._commit(self._source)
        finally:
            self._progress.forget(partitions)

    def _turn(self, source: Source, patient: Patient, should_stop: Callable[[], bool]) -> None:
        if records := self._progress.admit(source, self._poll(source, should_stop), patient):
            self._take(records, patient)
        if self._progress.is_in_doubt and self._clock() - self._doubted_at >= _QUIET_S:
            self._progress.trust()
        if self._clock() - self._committed_at >= self._commit_interval_s:
            self._committed_at = self._clock()
            self._progress.commit(source)
        if self._clock() - self._looked_at >= 1.0:
            self._looked_at = self._clock()
            self._observer.looked(source)

    def _poll(self, source: Source, should_stop: Callable[[], bool]) -> list[SourceRecord]:
        """The next records; if they are few, with those that arrive within the linger behind them."""
        records = list(source.poll(_POLL_S))
        until = self._clock() + self._linger_s
        while 0 < len(records) < _FEW and not should_stop() and (left := until - self._clock()) > 0:
            records += source.poll(min(left, _POLL_S))
        return records

    def _take(self, records: Sequence[SourceRecord], patient: Patient) -> None:
        self._observer.took(records)
        decisions = patient(REGISTRY, lambda: decide_all(records, self._rules, self._schemas))
        batch = Batch(records, decisions, self._group, self._progress.told(records))
        excess = self._excess(batch)
        if excess is not None:
            batch.end = excess.begin
        delivery = Delivery(
            batch.plans(),
            healing=lambda at: batch.silenced(at, healing_plan(batch.decisions[at], self._rules)),
            mark=lambda plan: mark_refused(plan, self._rules),
        )
        try:
            while not delivery.is_over:
                patient(REDIS, lambda: delivery.attempt(self._sink))
        except Reconnected:
            # What has its answer is done, and is not told again.
            batch.answers = delivery.answers
            self._take_note(batch)
            raise
        batch.answers = delivery.answers
        batch.refuse(delivery.refused)
        halt = delivery.halt
        if halt is None:
            if (later := self._excess(batch)) is not None:
                excess, batch.end = later, later.begin
            halt = self._bury(batch, patient)
        self._finish(batch)
        if halt is not None:
            raise Halt(halt)
        if excess is not None:
            raise Halt(batch.cause(excess.begin), excess.problem)

    def _excess(self, batch: Batch) -> Excess | None:
        return self._tolerance.excess(batch.judged()) if batch.errors else None

    def _bury(self, batch: Batch, patient: Patient) -> ServerError | None:
        """Write the dead letters; answers what refused them. Only when they are safe they are done."""
        letters = batch.letters()
        if letters and self._dead_letters is not None:
            send = self._dead_letters.send
            try:
                patient(KAFKA, lambda: send(letters))
            except ServerUnavailable:
                raise
            except ServerError as error:
                return error
        for letter in letters:
            _log.warning(
                "a record can't be applied and is a dead letter now",
                action="record.dead_letter",
                place=str(letter.record.place),
                reason=letter.reason,
                error=str(letter.error),
                advice=letter.error.advice,
                user=str(letter.user or ""),
            )
        batch.are_letters_safe = True
        return None

    def _finish(self, batch: Batch) -> None:
        self._tolerance.count(batch.judged())
        self._take_note(batch)

    def _take_note(self, batch: Batch) -> None:
        steps = batch.steps()
        for step in steps:
            if step.is_dead:
                self._progress.doubt(step.record)
                self._doubted_at = self._clock()
        self._progress.finish(step.record for step in steps if not step.is_dead)
        self._progress.trust(self._tolerance.is_in_doubt)
        began = [step for step in steps if step.applied is not None and step.applied.verdict is Verdict.NEW_LINEAGE]
        if began:
            _log.warning(
                "the database's log began again, or another server writes it: the version guard follows",
                action="guard.new_lineage",
                changes=len(began),
                first=str(began[0].record.place),
            )
        self._observer.stepped(steps)
        self._look_at_columns(steps)

    def _look_at_columns(self, steps: Sequence[Step]) -> None:
        """Columns that the mapping does not name, and optional ones that are gone: counted, and each told once."""
        events = [step.decision.event for step in steps if not step.is_dead]
        for drift, count in self._columns.counted(each for each in events if each is not None).items():
            self._observer.drifted(drift, count)
            if not self._columns.is_first(drift):
                continue
            if drift.is_unknown:
                _log.info("no rule names a column", action="column.unknown", table=drift.table, column=drift.column)
            else:
                _log.warning("rows lack a column", action="column.missing", table=drift.table, column=drift.column)

    def _commit(self, source: Source) -> None:
        """At an end: what can't be committed now is read again by whoever comes next."""
        with suppress(Reconnected):
            self._progress.commit(source)
