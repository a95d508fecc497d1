"""Completes a batch after Redis' answers: dead letters, positions, metrics and log lines."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import structlog

from consumer.errors import Halt, Reconnected, ServerError, ServerUnavailable
from consumer.events.record import Partition
from consumer.mapping.rules import Rules
from consumer.mapping.schema_drift import Drift, DriftKind
from consumer.pipeline.batch import Batch, InFlight
from consumer.pipeline.checkpoint import Checkpoint
from consumer.pipeline.dead_letter_limit import DeadLetterCounter, Limit, TooManyLetters
from consumer.pipeline.policy import OTHER_DATABASE
from consumer.pipeline.protocols import DeadLetters, Observer, RecordResult, Sink
from consumer.pipeline.retry import KAFKA, REDIS, Retry

_log = structlog.get_logger(__name__)
_MOST_LOGGED = 200
"""At most so many databases are logged as not consumed, because a record may name any database."""
_QUIET_S = 10.0
"""After 10 s without another dead letter of the topic, the offsets of its last dead letters may be committed."""

_DRIFTS = {
    DriftKind.UNKNOWN: (logging.INFO, {"action": "column.unknown"}, "the mapping does not name a column"),
    DriftKind.MISSING: (logging.WARNING, {"action": "column.missing"}, "rows lack a column"),
    DriftKind.UNREADABLE: (
        logging.WARNING,
        {"action": "column.unreadable"},
        "a column's value can't be read; its field in Redis is not changed, the rest of the row is applied",
    ),
    DriftKind.VALUE: (
        logging.WARNING,
        {"action": "column.unknown_value"},
        "a column has a value that the mapping does not list; such rows change nothing",
    ),
    DriftKind.SCALE: (
        logging.WARNING,
        {"action": "decimals.assumed"},
        "precise decimals in JSON without schema: the record does not contain the scale, so the mapping's is used",
    ),
}


class Completion:
    """Completes batches in flight. Records that can't be applied are sent to ``dead_letters``, up to ``limit``."""

    def __init__(
        self,
        sink: Sink,
        rules: Rules,
        checkpoint: Checkpoint,
        dead_letters: DeadLetters | None,
        limit: Limit,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = sink
        self._checkpoint = checkpoint
        self._dead_letters = dead_letters
        self._observer = observer
        self._logged_drifts: set[Drift] = set()
        self._databases = rules.databases
        self._dead_letter_counter = DeadLetterCounter(limit)
        self._logged_databases: set[tuple[str, str]] = set()
        self._clock = clock
        self._held_at = clock()

    def complete(self, in_flight: InFlight, assignment: Callable[[], Mapping[Partition, int]], retried: Retry) -> None:
        """Wait for the answers, then write dead letters and record what is done.

        ``assignment`` is called after each pause: records whose assignment has changed are dropped.

        Raises:
            Halt: a record can't be applied and may not become a dead letter. All records before it are done.
            Reconnected: records with an answer are done; the rest must be read again.
            ServerUnavailable: told to stop while a server was away.
        """
        batch, delivery, excess = in_flight.batch, in_flight.delivery, in_flight.excess
        self._deliver(in_flight, assignment, retried)
        batch.answers = delivery.answers
        batch.refuse(delivery.refused)
        in_flight.drop_revoked(assignment())
        halt = delivery.halt
        if halt is None:
            if (later := self.excess(batch)) is not None:
                excess, batch.end = later, later.begin
            halt = self._send_letters(in_flight, assignment, retried)
        in_flight.drop_revoked(assignment())
        if batch.errors:
            self._dead_letter_counter.count(batch.judged())
        else:
            self._dead_letter_counter.count_good(batch.good())
        self._record(batch)
        if halt is not None:
            raise Halt(halt)
        if excess is not None:
            raise Halt(batch.cause(excess.begin), excess.problem)

    def _deliver(self, in_flight: InFlight, assignment: Callable[[], Mapping[Partition, int]], retried: Retry) -> None:
        """Try until each plan has its answer.

        Raises:
            Reconnected, ServerUnavailable: as :meth:`complete`.
        """
        batch, delivery = in_flight.batch, in_flight.delivery

        def attempt() -> None:
            in_flight.drop_revoked(assignment())
            if not delivery.is_over:
                try:
                    delivery.attempt(self._sink)
                except ServerUnavailable:
                    self._finish_answered(in_flight)
                    raise

        try:
            while not delivery.is_over:
                retried(REDIS, attempt)
        except Reconnected:
            # Plans with an answer are done, and their messages are not published again.
            batch.answers = delivery.answers
            in_flight.drop_revoked(assignment())
            self._record(batch)
            raise

    def excess(self, batch: Batch) -> TooManyLetters | None:
        """The first record of the batch that exceeds the limit of dead letters; None if the limit is kept."""
        return self._dead_letter_counter.excess(batch.judged()) if batch.errors else None

    def release_offsets_if_quiet(self) -> None:
        """Release the offsets of dead letters if no other dead letter came for some seconds."""
        if self._checkpoint.has_held_offsets and self._clock() - self._held_at >= _QUIET_S:
            self._checkpoint.release_offsets()

    def _send_letters(
        self, in_flight: InFlight, assignment: Callable[[], Mapping[Partition, int]], retried: Retry
    ) -> ServerError | None:
        """Write the dead letters; answers the error if one is refused. They are done when Kafka acknowledges them."""
        batch, topic = in_flight.batch, self._dead_letters

        def send() -> None:
            in_flight.drop_revoked(assignment())
            if topic is not None and (letters := batch.letters()):
                topic.send(letters)

        if batch.letters():
            self._finish_answered(in_flight)
            try:
                retried(KAFKA, send)
            except ServerUnavailable:
                raise
            except ServerError as error:
                return error
        for letter in batch.letters():
            _log.warning(
                "a record can't be applied and was written to the dead letter topic",
                action="record.dead_letter",
                place=str(letter.record.place),
                reason=letter.reason,
                error=str(letter.error),
                advice=letter.error.advice,
                user=",".join(map(str, letter.users)),
            )
        batch.are_letters_safe = True
        return None

    def _finish_answered(self, in_flight: InFlight) -> None:
        """Before a pause: what is applied is done. If the partition is revoked in the pause, this is not forgotten."""
        batch = in_flight.batch
        batch.answers = in_flight.delivery.answers
        self._checkpoint.finish([each.record for each in batch.results() if not each.is_dead], batch.generations)

    def _record(self, batch: Batch) -> None:
        results = batch.results()
        for result in results if batch.errors else ():
            if result.is_dead:
                self._checkpoint.hold_offset(result.record)
                self._held_at = self._clock()
        self._checkpoint.finish([result.record for result in results if not result.is_dead], batch.generations)
        self._checkpoint.release_offsets(self._dead_letter_counter.ends_with_dead_letter)
        self._observer.records_done(results)
        self._report_drifts(results)
        self._report_databases(results)

    def _report_drifts(self, results: Sequence[RecordResult]) -> None:
        """Count unexpected columns, and log each once."""
        drifting = [each.decision.drifts for each in results if each.decision.drifts and not each.is_dead]
        found = Counter(chain.from_iterable(drifting))
        for drift, count in found.items():
            self._observer.drifted(drift, count)
            if drift not in self._logged_drifts:
                self._logged_drifts.add(drift)
                level, action, text = _DRIFTS[drift.kind]
                _log.log(level, text, **action, table=drift.table, column=drift.column)

    def _report_databases(self, results: Sequence[RecordResult]) -> None:
        """Log once for each topic and database that its rows are not applied; the metrics count all such rows."""
        for result in [each for each in results if each.decision.database]:
            found = result.record.topic, result.decision.database
            if found in self._logged_databases or len(self._logged_databases) >= _MOST_LOGGED:
                continue
            self._logged_databases.add(found)
            _log.error(
                "rows of another database are not applied",
                action="record.other_database",
                topic=found[0],
                database=found[1],
                consumed=", ".join(sorted(self._databases)),
                first=str(result.record.place),
                advice=f"{OTHER_DATABASE}, and replay the topic from this record on",
            )
