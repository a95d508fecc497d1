"""What follows once Redis has answered: dead letters, marks of progress, and what is told of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import structlog

from consumer.batch import Batch
from consumer.columns import ColumnWatch, DriftKind
from consumer.errors import Halt, Reconnected, ServerError, ServerUnavailable
from consumer.flight import Flight
from consumer.outage import KAFKA, REDIS
from consumer.progress import Patient, Progress
from consumer.protocols import DeadLetters, Observer, Sink, Step
from consumer.rules import Rules
from consumer.tolerance import Excess, Limit, Tolerance

_log = structlog.get_logger(__name__)
_QUIET_S = 10.0
"""Where a topic's last records were dead letters: after so long without another they were bad rows, no broken table."""

_DRIFTS = {
    DriftKind.UNKNOWN: (logging.INFO, "column.unknown", "no rule names a column"),
    DriftKind.MISSING: (logging.WARNING, "column.missing", "rows lack a column"),
    DriftKind.UNREADABLE: (
        logging.WARNING,
        "column.unreadable",
        "a column's value can't be read; its field is left as it is in Redis, the rest of the row is applied",
    ),
    DriftKind.VALUE: (
        logging.WARNING,
        "column.unknown_value",
        "a column has a value that the mapping does not know; such rows change nothing",
    ),
    DriftKind.SCALE: (
        logging.WARNING,
        "decimals.assumed",
        "precise decimals in JSON without schema: the scale is nowhere in the record, so the mapping's is taken",
    ),
}


class Landing:
    """Takes batches to their end. Records that can't be applied go to ``dead_letters``."""

    def __init__(
        self,
        sink: Sink,
        rules: Rules,
        progress: Progress,
        dead_letters: DeadLetters | None,
        limit: Limit,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = sink
        self._progress = progress
        self._dead_letters = dead_letters
        self._observer = observer
        self._columns = ColumnWatch(rules)
        self._tolerance = Tolerance(limit)
        self._clock = clock
        self._doubted_at = clock()

    def land(self, flight: Flight, patient: Patient) -> None:
        """Wait for the answers, and do what follows from them.

        Raises:
            Halt: a record can't be applied, and must not be passed over. All before it is done.
            Reconnected: what has its answer is done; the rest is to be read again.
            ServerUnavailable: told to stop while a server was away.
        """
        batch, delivery, excess = flight.batch, flight.delivery, flight.excess
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
            if (later := self.excess(batch)) is not None:
                excess, batch.end = later, later.begin
            halt = self._bury(batch, patient)
        self._finish(batch)
        if halt is not None:
            raise Halt(halt)
        if excess is not None:
            raise Halt(batch.cause(excess.begin), excess.problem)

    def excess(self, batch: Batch) -> Excess | None:
        """From where on the batch has too many records that can't be applied."""
        return self._tolerance.excess(batch.judged()) if batch.errors else None

    def trust_if_quiet(self) -> None:
        """Dead letters behind which no other came."""
        if self._progress.is_in_doubt and self._clock() - self._doubted_at >= _QUIET_S:
            self._progress.trust()

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
        self._observer.stepped(steps)
        self._look_at_columns(steps)

    def _look_at_columns(self, steps: Sequence[Step]) -> None:
        """What is unexpected about columns: counted, and each told once."""
        decisions = [step.decision for step in steps if not step.is_dead]
        events = [each.event for each in decisions if each.event is not None]
        found = [drift for each in decisions for drift in each.drifts]
        for drift, count in self._columns.counted(events, found).items():
            self._observer.drifted(drift, count)
            if self._columns.is_first(drift):
                level, action, said = _DRIFTS[drift.kind]
                _log.log(level, said, action=action, table=drift.table, column=drift.column)
