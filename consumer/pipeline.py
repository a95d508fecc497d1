"""The loop: poll, decide, apply, mark, commit. The offset moves only after Redis acknowledged."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from consumer.avro import NO_SCHEMAS, Schemas
from consumer.batch import Batch
from consumer.columns import ColumnWatch
from consumer.decision import decide_all, healing_plan
from consumer.delivery import Delivery
from consumer.errors import Halt, ServerUnavailable
from consumer.mark import mark_refused
from consumer.outage import Outage
from consumer.patience import patiently
from consumer.protocols import DeadLetters, Observer, Sink, Source, Step
from consumer.record import SourceRecord
from consumer.rules import Rules
from consumer.tolerance import NONE, Limit, Tolerance
from consumer.watermark import Partition, Watermark

_log = structlog.get_logger(__name__)
_POLL_S = 0.2
_FEW = 500
"""As many records at once are a backlog, and no reason to wait for more."""
_QUIET_S = 30.0
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
        self._watermark = Watermark()
        self._tolerance = Tolerance(limit)
        self._in_doubt: list[SourceRecord] = []
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
        try:
            while not should_stop():
                if records := self._poll(source, should_stop):
                    self._take(source, records, should_stop)
                if self._in_doubt and self._clock() - self._doubted_at >= _QUIET_S:
                    self._trust()
                if self._clock() - self._committed_at >= self._commit_interval_s:
                    self._commit()
                if self._clock() - self._looked_at >= 1.0:
                    self._looked_at = self._clock()
                    self._observer.looked(source)
            self._trust()
        finally:
            self._commit()

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """The partitions go to another member: commit what is done, then forget them."""
        self._trust()
        try:
            self._commit()
        finally:
            for partition in partitions:
                self._watermark.forget(partition)

    def _poll(self, source: Source, should_stop: Callable[[], bool]) -> list[SourceRecord]:
        """The next records; if they are few, with those that arrive within the linger behind them."""
        records = list(source.poll(_POLL_S))
        until = self._clock() + self._linger_s
        while 0 < len(records) < _FEW and not should_stop() and (left := until - self._clock()) > 0:
            records += source.poll(min(left, _POLL_S))
        return records

    def _take(self, source: Source, records: Sequence[SourceRecord], should_stop: Callable[[], bool]) -> None:
        for record in records:
            self._watermark.begin(_partition(record), record.offset)

        def patient(attempt: Callable[[], _T]) -> _T:
            found = patiently(attempt, sleep=source.idle, on_wait=self._outage.began, should_stop=should_stop)
            self._outage.ended()
            return found

        try:
            batch = Batch(records, patient(lambda: decide_all(records, self._rules, self._schemas)), self._group)
            excess = self._tolerance.excess(batch.judged())
            if excess is not None:
                batch.end = excess.begin
            delivery = Delivery(
                batch.plans(),
                healing=lambda at: healing_plan(batch.decisions[at], self._rules),
                mark=lambda plan: mark_refused(plan, self._rules),
            )
            while not delivery.is_over:
                patient(lambda: delivery.attempt(self._sink))
            batch.answers = delivery.answers
            batch.refuse(delivery.refused)
            if delivery.halt is None:
                if (later := self._tolerance.excess(batch.judged())) is not None:
                    excess, batch.end = later, later.begin
                self._bury(batch, patient)
        except ServerUnavailable:
            return  # told to stop while a server is away: nothing of this is committed, so nothing is lost
        self._finish(batch)
        if delivery.halt is not None:
            raise Halt(delivery.halt)
        if excess is not None:
            raise Halt(batch.cause(excess.begin), excess.problem)

    def _bury(self, batch: Batch, patient: Callable[[Callable[[], None]], None]) -> None:
        """Dead letters are written, and safe, before anything is done."""
        letters = batch.letters()
        if letters and self._dead_letters is not None:
            send = self._dead_letters.send
            patient(lambda: send(letters))
            batch.are_letters_safe = True
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

    def _finish(self, batch: Batch) -> None:
        steps = batch.steps()
        self._tolerance.count(batch.judged())
        for step in steps:
            if step.letter is not None:
                self._in_doubt.append(step.record)
                self._doubted_at = self._clock()
            else:
                self._watermark.finish(_partition(step.record), step.record.offset)
        self._trust(self._tolerance.is_in_doubt)
        self._observer.stepped(steps)
        self._look_at_columns(steps)

    def _trust(self, is_in_doubt: Callable[[str], bool] = lambda _: False) -> None:
        """Dead letters of topics that are well again were bad rows: their offsets may be committed."""
        for record in self._in_doubt:
            if not is_in_doubt(record.topic):
                self._watermark.finish(_partition(record), record.offset)
        self._in_doubt = [record for record in self._in_doubt if is_in_doubt(record.topic)]

    def _look_at_columns(self, steps: Sequence[Step]) -> None:
        """Columns that the mapping does not name, and optional ones that are gone: counted, and each told once."""
        events = [step.decision.event for step in steps if step.letter is None]
        for drift, count in self._columns.counted(each for each in events if each is not None).items():
            self._observer.drifted(drift, count)
            if not self._columns.is_first(drift):
                continue
            if drift.is_unknown:
                _log.info("no rule names a column", action="column.unknown", table=drift.table, column=drift.column)
            else:
                _log.warning("rows lack a column", action="column.missing", table=drift.table, column=drift.column)

    def _commit(self) -> None:
        self._committed_at = self._clock()
        offsets = self._watermark.committable()
        if offsets and self._source is not None and self._source.commit(offsets):
            self._watermark.committed(offsets)
            self._observer.committed(offsets)


def _partition(record: SourceRecord) -> Partition:
    return Partition(record.topic, record.partition)
