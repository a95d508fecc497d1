"""The loop: poll, decide, apply, mark, commit. The offset moves only after Redis acknowledged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import structlog

from consumer.avro import NO_SCHEMAS, Schemas
from consumer.columns import ColumnWatch
from consumer.decision import Decision, decide
from consumer.delivery import deliver
from consumer.errors import Halt, RecordError, ServerError, ServerUnavailable
from consumer.patience import patiently
from consumer.protocols import Observer, Sink, Source, Step
from consumer.record import SourceRecord
from consumer.rules import Rules
from consumer.watermark import Partition, Watermark

_log = structlog.get_logger(__name__)
_POLL_S = 0.2
REDIS = "Redis"


class Pipeline:
    """Carries records from ``source`` to ``sink`` until told to stop."""

    def __init__(
        self,
        sink: Sink,
        rules: Rules,
        *,
        schemas: Schemas = NO_SCHEMAS,
        observer: Observer | None = None,
        commit_interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = sink
        self._rules = rules
        self._schemas = schemas
        self._columns = ColumnWatch(rules)
        self._observer = observer or Observer()
        self._commit_interval_s = commit_interval_s
        self._clock = clock
        self._watermark = Watermark()
        self._committed_at = clock()
        self._looked_at = float("-inf")
        self._waiting_since: float | None = None
        self._waiting_for = ""
        self._source: Source | None = None

    def run(self, source: Source, should_stop: Callable[[], bool]) -> None:
        """Until ``should_stop`` says so; then what is done is committed.

        Raises:
            Halt: a record can't be applied. All before it is done and committed, it is not.

        """
        self._source = source
        try:
            while not should_stop():
                records = source.poll(_POLL_S)
                if records:
                    self._take(source, records, should_stop)
                if self._clock() - self._committed_at >= self._commit_interval_s:
                    self._commit()
                if self._clock() - self._looked_at >= 1.0:
                    self._looked_at = self._clock()
                    self._observer.looked(source)
        finally:
            self._commit()

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """The partitions go to another member: commit what is done, then forget them."""
        self._commit()
        for partition in partitions:
            self._watermark.forget(partition)

    def _take(self, source: Source, records: Sequence[SourceRecord], should_stop: Callable[[], bool]) -> None:
        for record in records:
            self._watermark.begin(Partition(record.topic, record.partition), record.offset)
        try:
            decided, rejection = patiently(
                lambda: self._decide(records), sleep=source.idle, on_wait=self._waits, should_stop=should_stop
            )
        except ServerUnavailable:
            return  # told to stop while the registry is away
        self._serves_again()
        planned = [(at, decision.plan) for at, (_, decision) in enumerate(decided) if decision.plan is not None]
        delivery = deliver(
            [plan for _, plan in planned],
            self._sink,
            sleep=source.idle,
            on_wait=self._waits,
            should_stop=should_stop,
        )
        if delivery is None:
            return  # told to stop while Redis is away: nothing of this is committed, so nothing is lost
        self._serves_again()
        answers = {planned[number][0]: answer for number, answer in delivery.answers.items()}
        steps = [
            Step(record, decision, answers.get(at))
            for at, (record, decision) in enumerate(decided)
            if decision.plan is None or at in answers
        ]
        for step in steps:
            self._watermark.finish(Partition(step.record.topic, step.record.partition), step.record.offset)
        self._observer.stepped(steps)
        self._look_at_columns(decision for _, decision in decided)
        if delivery.refused:
            number, error = min(delivery.refused.items())
            place = decided[planned[number][0]][0].place
            raise Halt(RecordError(f"Redis refused the change: {error.problem}", place=place))
        if rejection is not None:
            raise Halt(rejection)

    def _decide(
        self, records: Sequence[SourceRecord]
    ) -> tuple[list[tuple[SourceRecord, Decision]], RecordError | None]:
        """Decisions up to the first record that is rejected, and its error."""
        decided: list[tuple[SourceRecord, Decision]] = []
        for record in records:
            decision = decide(record, self._rules, self._schemas)
            if decision.error is not None:
                return decided, decision.error
            decided.append((record, decision))
        return decided, None

    def _look_at_columns(self, decisions: Iterable[Decision]) -> None:
        """Columns that the mapping does not name, and optional ones that are gone: counted, and each told once."""
        for drift, count in self._columns.counted(each.event for each in decisions if each.event is not None).items():
            self._observer.drifted(drift, count)
            if not self._columns.is_first(drift):
                continue
            if drift.is_unknown:
                _log.info("no rule names a column", action="column.unknown", table=drift.table, column=drift.column)
            else:
                _log.warning("rows lack a column", action="column.missing", table=drift.table, column=drift.column)

    def _waits(self, error: ServerError, seconds: float) -> None:
        if self._waiting_since is None:
            self._waiting_since = self._clock()
            self._waiting_for = error.server
            if error.server == REDIS:
                _log.warning("Redis can't serve, waiting; nothing is lost", action="redis.waiting", error=error.problem)
            else:
                _log.warning("no schemas, waiting; nothing is lost", action="registry.waiting", error=str(error))
        self._observer.waiting(error, seconds)

    def _serves_again(self) -> None:
        if self._waiting_since is not None:
            waited = self._clock() - self._waiting_since
            self._waiting_since = None
            if self._waiting_for == REDIS:
                _log.info("Redis serves again", action="redis.resumed", waited_s=round(waited, 1))
            else:
                _log.info("the registry serves again", action="registry.resumed", waited_s=round(waited, 1))
            self._observer.resumed()

    def _commit(self) -> None:
        self._committed_at = self._clock()
        offsets = self._watermark.committable()
        if offsets and self._source is not None and self._source.commit(offsets):
            self._watermark.committed(offsets)
            self._observer.committed(offsets)
