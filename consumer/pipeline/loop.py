"""The loop: poll, decide, apply, record positions, commit. Offsets are committed only after Redis' acknowledgement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from consumer.errors import Emptied, Reconnected, ServerError, ServerUnavailable
from consumer.events.avro import NO_SCHEMAS, Schemas
from consumer.events.record import Partition, SourceRecord
from consumer.events.topic_tables import TopicTables
from consumer.guard.history import NO_HISTORY, History
from consumer.mapping.rules import Rules
from consumer.pipeline.batch import ATTEMPTS, SIZE, Batch, Delivery, InFlight
from consumer.pipeline.checkpoint import Checkpoint
from consumer.pipeline.completion import Completion
from consumer.pipeline.dead_letter_limit import NONE, Limit
from consumer.pipeline.protocols import DeadLetters, Observer, Polled, Rebuild, Sink, Source
from consumer.pipeline.recovery import Recovery
from consumer.pipeline.retry import REGISTRY, REPEAT_S, Outages, Reminder, Retry, backoff_s, retry
from consumer.planning.decision import Decision, decide_all, healing_plan
from consumer.planning.mark import mark_refused

_POLL_S = 0.2
_LINGERED_FOR = SIZE
"""With this many records, do not wait for more."""
_SENT_AHEAD = 100
"""From this batch size on, poll the next batch while Redis works. For a smaller batch, wait for its answers first."""
_ASKED_S = 1.0
"""Seconds between two checks that Redis still has its offsets."""
_T = TypeVar("_T")


class Pipeline:
    """Applies records from ``source`` to ``sink`` until told to stop.

    Records that can't be applied are sent to ``dead_letters``, up to ``limit``; without ``dead_letters`` the first one
    halts. A plan that Redis answers ``attempts`` times with an unknown error counts as such a record. If Redis was
    emptied, ``rebuild`` rebuilds it, else the pipeline waits for an operator. The reason of a wait is logged again
    every ``repeat_s`` seconds.

    Raises:
        ValueError: the limit allows dead letters, but ``dead_letters`` is None.
    """

    def __init__(
        self,
        sink: Sink,
        rules: Rules,
        *,
        schemas: Schemas = NO_SCHEMAS,
        history: History = NO_HISTORY,
        dead_letters: DeadLetters | None = None,
        limit: Limit = NONE,
        attempts: int = ATTEMPTS,
        group: str = "",
        tables: TopicTables | None = None,
        observer: Observer | None = None,
        rebuild: Rebuild | None = None,
        repeat_s: float = REPEAT_S,
        commit_interval_s: float = 1.0,
        linger_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if dead_letters is None and limit.in_a_row > 0:
            raise ValueError("a limit of dead letters needs a place for them, or they would be passed and lost")
        self._sink = sink
        self._rules = rules
        self._schemas = schemas
        self._history = history
        self._attempts = attempts
        self._group = group
        self._tables = TopicTables(rules.captured()) if tables is None else tables
        self._observer = observer or Observer()
        self._commit_interval_s = commit_interval_s
        self._linger_s = linger_s
        self._clock = clock
        self._outages = Outages(self._observer, repeat_s)
        self._checkpoint = Checkpoint(sink, self._observer, self._outages, history)
        self._completion = Completion(sink, rules, self._checkpoint, dead_letters, limit, self._observer, clock)
        self._recovery = Recovery(sink, self._checkpoint, self._observer, Reminder(repeat_s), rebuild)
        self._committed_at = self._asked_at = clock()
        self._observed_at = float("-inf")
        self._source: Source | None = None
        self._in_flight: InFlight | None = None

    def run(self, source: Source, should_stop: Callable[[], bool]) -> None:
        """Run until ``should_stop`` is true, then commit what is done.

        Raises:
            Halt: a record can't be applied and may not become a dead letter. All records before it are done and
                committed.

        """
        self._source = source
        must_resume, failures = False, 0

        def retried(server: str, attempt: Callable[[], _T]) -> _T:
            failed = {server}
            found = retry(
                attempt,
                sleep=source.idle,
                on_wait=lambda error, seconds: failed.add(self._outages.failed(error, seconds)),
                should_stop=should_stop,
            )
            for each in failed:
                self._outages.succeeded(each)
            return found

        try:
            while not should_stop() or self._in_flight is not None:
                try:
                    if must_resume:
                        self._checkpoint.resume(source, retried)
                        must_resume = False
                    if self._checkpoint.lost and not should_stop():
                        self._recovery.wait(source, retried, should_stop)
                        must_resume = True
                    elif should_stop():
                        self._finish_in_flight(retried)
                    else:
                        self._run_once(source, retried, should_stop)
                    failures = 0
                except (Reconnected, Emptied, ServerUnavailable):
                    # Drop the current records: they are read again, here, or after a stop by the next owner.
                    self._in_flight, must_resume, failures = None, True, failures + 1
                    if failures > 1 and not should_stop():  # a new connection that fails again, and again
                        source.idle(backoff_s(failures - 1))
            self._checkpoint.release_offsets()
        finally:
            self._finish_at_once()
            self._commit(source)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """The group revokes the partitions: commit what is done, then forget them."""
        self._finish_at_once()
        self._checkpoint.release_offsets()
        try:
            if self._source is not None:
                self._commit(self._source)
        finally:
            self._checkpoint.forget(partitions)

    def _run_once(self, source: Source, retried: Retry, should_stop: Callable[[], bool]) -> None:
        """Poll the next records and decide about them while Redis works on the batch in flight."""
        polled = self._poll(source, retried, should_stop)
        ahead = self._decided_ahead(polled.records)
        self._finish_before_next(source, retried)
        if self._clock() - self._asked_at >= _ASKED_S:
            self._asked_at = self._clock()
            self._checkpoint.look(source, retried)
        if admitted := self._checkpoint.admit(source, polled, retried):
            decisions = ahead
            if ahead is not None and len(admitted) < len(polled.records):
                decisions = None
                self._forget_history(polled.records)
            self._send_batch(source, Polled(admitted, polled.generations), decisions, retried)
        self._completion.release_offsets_if_quiet()
        if self._in_flight is None:
            self._commit_if_due(source)
        if self._clock() - self._observed_at >= 1.0:
            self._observed_at = self._clock()
            self._observer.tick(source)

    def _poll(self, source: Source, retried: Retry, should_stop: Callable[[], bool]) -> Polled:
        """The next records; if they are few, also those that arrive within the linger time."""
        records = source.poll(_POLL_S if self._in_flight is None else 0.0)
        polled = Polled(records, source.assignment())
        if len(records) < (_LINGERED_FOR if self._linger_s else _SENT_AHEAD):
            self._finish_before_next(source, retried)
        until = self._clock() + self._linger_s
        while 0 < len(polled.records) < _LINGERED_FOR and not should_stop() and (left := until - self._clock()) > 0:
            more = source.poll(min(left, _POLL_S))
            polled = polled.and_then(Polled(more, source.assignment()))
        return polled

    def _decide(self, records: Sequence[SourceRecord]) -> list[Decision]:
        """The decisions for ``records``. Nothing else in the loop decides.

        Raises:
            ServerUnavailable: a server that the decision needs is away; try again.
        """
        try:
            return decide_all(records, self._rules, self._schemas, self._tables, self._history)
        except ServerUnavailable:
            self._forget_history(records)
            raise

    def _forget_history(self, records: Sequence[SourceRecord]) -> None:
        """The records are decided about again: they must not be found in the history."""
        self._history.forget({Partition.of(record) for record in records})

    def _decided_ahead(self, records: Sequence[SourceRecord]) -> list[Decision] | None:
        if self._in_flight is None:
            return None
        try:
            return self._decide(records)
        except ServerUnavailable:  # the batch in flight must not wait for that server
            return None

    def _send_batch(self, source: Source, polled: Polled, decisions: list[Decision] | None, retried: Retry) -> None:
        """Send a batch; complete a small one at once."""
        records = polled.records
        self._observer.batch_started(records)
        if decisions is None:
            decisions = retried(REGISTRY, lambda: self._decide(records))
        batch = Batch(records, decisions, self._group, self._checkpoint.published(records), polled.generations)
        batch.drop_revoked(source.assignment())
        excess = self._completion.excess(batch)
        if excess is not None:
            batch.end = excess.begin
        delivery = Delivery(
            batch.plans(),
            healing=lambda at: batch.unpublished(at, healing_plan(batch.decisions[at], self._rules)),
            mark=lambda plan: mark_refused(plan, self._rules),
            attempts=self._attempts,
        )
        self._in_flight = InFlight(batch, delivery, excess)
        if len(records) < _SENT_AHEAD:
            self._finish_in_flight(retried)
        else:
            delivery.begin(self._sink)

    def _finish_before_next(self, source: Source, retried: Retry) -> None:
        if self._in_flight is not None:
            self._finish_in_flight(retried)
            self._commit_if_due(source)

    def _finish_in_flight(self, retried: Retry) -> None:
        """Wait for the answers of the batch in flight, and complete it."""
        batch, self._in_flight = self._in_flight, None
        if batch is not None and self._source is not None:
            self._completion.complete(batch, self._source.assignment, retried)

    def _finish_at_once(self) -> None:
        """Finish the batch in flight, without retries and without dead letters; if that fails, it is read again."""
        batch = self._in_flight
        if batch is None:
            return
        with suppress(ServerError):
            while not batch.delivery.is_over:
                batch.delivery.attempt(self._sink)
        if batch.is_plain:
            self._finish_in_flight(lambda _, attempt: attempt())

    def _commit_if_due(self, source: Source) -> None:
        self._checkpoint.see_answer()
        if self._clock() - self._committed_at >= self._commit_interval_s:
            self._committed_at = self._clock()
            self._checkpoint.begin_commit(source)

    def _commit(self, source: Source) -> None:
        """Commit at the end of the run; records that can't be committed now are read again by the next owner."""
        with suppress(Reconnected, Emptied):
            self._checkpoint.commit(source)
