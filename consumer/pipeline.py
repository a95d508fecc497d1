"""The loop: poll, decide, apply, mark, commit. The offset moves only after Redis acknowledged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from consumer.avro import NO_SCHEMAS, Schemas
from consumer.columns import ColumnWatch
from consumer.decision import Decision, decide_all
from consumer.delivery import deliver
from consumer.errors import Halt, RecordError, ServerError, ServerUnavailable
from consumer.patience import patiently
from consumer.protocols import Applied, Observer, Sink, Source, Step
from consumer.record import SourceRecord
from consumer.rules import Rules
from consumer.watermark import Partition, Watermark

_log = structlog.get_logger(__name__)
_POLL_S = 0.2
_FEW = 500
"""As many records at once are a backlog, and no reason to wait for more."""
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
        linger_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = sink
        self._rules = rules
        self._schemas = schemas
        self._columns = ColumnWatch(rules)
        self._observer = observer or Observer()
        self._commit_interval_s = commit_interval_s
        self._linger_s = linger_s
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
                if records := self._poll(source, should_stop):
                    self._take(source, records, should_stop)
                if self._clock() - self._committed_at >= self._commit_interval_s:
                    self._commit()
                if self._clock() - self._looked_at >= 1.0:
                    self._looked_at = self._clock()
                    self._observer.looked(source)
        finally:
            self._commit()

    def _poll(self, source: Source, should_stop: Callable[[], bool]) -> list[SourceRecord]:
        """The next records; if they are few, with those that arrive within the linger behind them."""
        records = list(source.poll(_POLL_S))
        until = self._clock() + self._linger_s
        while 0 < len(records) < _FEW and not should_stop() and (left := until - self._clock()) > 0:
            records += source.poll(min(left, _POLL_S))
        return records

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """The partitions go to another member: commit what is done, then forget them."""
        try:
            self._commit()
        finally:
            for partition in partitions:
                self._watermark.forget(partition)

    def _take(self, source: Source, records: Sequence[SourceRecord], should_stop: Callable[[], bool]) -> None:
        for record in records:
            self._watermark.begin(_partition(record), record.offset)
        try:
            decisions = patiently(
                lambda: decide_all(records, self._rules, self._schemas),
                sleep=source.idle,
                on_wait=self._waits,
                should_stop=should_stop,
            )
        except ServerUnavailable:
            return  # told to stop while the registry is away
        self._serves_again()
        rejected = next((at for at, decision in enumerate(decisions) if decision.error is not None), len(records))
        planned = [(at, decision.plan) for at, decision in enumerate(decisions[:rejected]) if decision.plan is not None]
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
        self._finish(records, decisions[:rejected], answers)
        self._look_at_columns(decisions[:rejected])
        if delivery.refused:
            number, error = min(delivery.refused.items())
            raise Halt(
                RecordError(f"Redis refused the change: {error.problem}", place=records[planned[number][0]].place)
            )
        if (rejection := decisions[rejected].error if rejected < len(records) else None) is not None:
            raise Halt(rejection)

    def _finish(
        self, records: Sequence[SourceRecord], decisions: Sequence[Decision], answers: Mapping[int, Applied]
    ) -> None:
        """Records are done when they have their answer, need none, or are part of another that is done."""

        def is_done(at: int) -> bool:
            while (carrier := decisions[at].carrier) is not None:
                if carrier >= len(decisions):
                    return False
                at = carrier
            return at in answers or decisions[at].plan is None

        done = [at for at in range(len(decisions)) if is_done(at)]
        for at in done:
            self._watermark.finish(_partition(records[at]), records[at].offset)
        self._observer.stepped([Step(records[at], decisions[at], answers.get(at)) for at in done])

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


def _partition(record: SourceRecord) -> Partition:
    return Partition(record.topic, record.partition)
