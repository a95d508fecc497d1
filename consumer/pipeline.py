"""The loop: poll, decide, apply, mark, commit. The offset moves only after Redis acknowledged."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from consumer.avro import NO_SCHEMAS, Schemas
from consumer.batch import Batch
from consumer.decision import Decision, decide_all, healing_plan
from consumer.delivery import Delivery
from consumer.errors import Reconnected, ServerError, ServerUnavailable
from consumer.flight import Flight
from consumer.guard.history import NO_HISTORY, History
from consumer.landing import Landing
from consumer.mark import mark_refused
from consumer.outage import REGISTRY, Outage
from consumer.patience import patiently
from consumer.progress import Patient, Progress, first_of
from consumer.protocols import DeadLetters, Observer, Sink, Source
from consumer.record import SourceRecord
from consumer.rules import Rules
from consumer.tolerance import NONE, Limit
from consumer.watermark import Partition

_POLL_S = 0.2
_FEW = 500
"""As many records at once are a backlog, and no reason to wait for more."""
_MANY = 100
"""So many at once are more than one can do something else before Redis has taken them."""
_T = TypeVar("_T")


def _impatient(server: str, attempt: Callable[[], _T]) -> _T:
    return attempt()


class Pipeline:
    """Carries records from ``source`` to ``sink`` until told to stop.

    Records that can't be applied go to ``dead_letters``, as long as they are no more than ``limit``; without a place
    for them the first one halts.

    Raises:
        ValueError: a limit lets some pass, and there is no place for them.
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
        group: str = "",
        observer: Observer | None = None,
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
        self._group = group
        self._observer = observer or Observer()
        self._commit_interval_s = commit_interval_s
        self._linger_s = linger_s
        self._clock = clock
        self._outage = Outage(self._observer)
        self._progress = Progress(sink, self._observer, self._outage)
        self._landing = Landing(sink, rules, self._progress, dead_letters, limit, self._observer, clock)
        self._committed_at = clock()
        self._looked_at = float("-inf")
        self._source: Source | None = None
        self._flight: Flight | None = None

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
            while not should_stop() or self._flight is not None:
                try:
                    if must_begin_again:
                        self._progress.begin_again(source, patient)
                        must_begin_again = False
                    if should_stop():
                        self._land(patient)
                    else:
                        self._turn(source, patient, should_stop)
                except Reconnected:
                    must_begin_again = True
                except ServerUnavailable:
                    pass  # told to stop while a server is away: nothing of this is committed, so nothing is lost
            self._progress.trust()
        finally:
            self._land_at_once()
            self._commit(source)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """The partitions go to another member: commit what is done, then forget them."""
        self._land_at_once()
        self._progress.trust()
        try:
            if self._source is not None:
                self._commit(self._source)
        finally:
            self._progress.forget(partitions)
            self._history.forget(partitions)

    def _turn(self, source: Source, patient: Patient, should_stop: Callable[[], bool]) -> None:
        """The next records are read, and decided about, while Redis works on those before them."""
        records = self._poll(source, patient, should_stop)
        ahead = self._decided_ahead(records)
        self._land_before(records, source, patient)
        if admitted := self._progress.admit(source, records, patient):
            self._take(admitted, ahead if len(admitted) == len(records) else None, patient)
        self._landing.trust_if_quiet()
        if self._flight is None:
            self._commit_if_due(source)
        if self._clock() - self._looked_at >= 1.0:
            self._looked_at = self._clock()
            self._observer.looked(source)

    def _poll(self, source: Source, patient: Patient, should_stop: Callable[[], bool]) -> list[SourceRecord]:
        """The next records; if they are few, with those that arrive within the linger behind them."""
        records = list(source.poll(_POLL_S if self._flight is None else 0.0))
        if len(records) < (_FEW if self._linger_s else _MANY):
            self._land_before(records, source, patient)
        until = self._clock() + self._linger_s
        while 0 < len(records) < _FEW and not should_stop() and (left := until - self._clock()) > 0:
            records += source.poll(min(left, _POLL_S))
        return records

    def _decided_ahead(self, records: Sequence[SourceRecord]) -> list[Decision] | None:
        if self._flight is None:
            return None
        try:
            return decide_all(records, self._rules, self._schemas, self._history)
        except ServerUnavailable:  # the registry: what is under way must not wait for it
            return None

    def _take(self, records: Sequence[SourceRecord], decisions: list[Decision] | None, patient: Patient) -> None:
        self._observer.took(records)
        if decisions is None:
            decisions = patient(REGISTRY, lambda: decide_all(records, self._rules, self._schemas, self._history))
        batch = Batch(records, decisions, self._group, self._progress.told(records))
        excess = self._landing.excess(batch)
        if excess is not None:
            batch.end = excess.begin
        delivery = Delivery(
            batch.plans(),
            healing=lambda at: batch.silenced(at, healing_plan(batch.decisions[at], self._rules)),
            mark=lambda plan: mark_refused(plan, self._rules),
        )
        self._flight = Flight(batch, delivery, excess)
        if len(records) < _MANY:
            self._land(patient)
        else:
            delivery.begin(self._sink)

    def _land_before(self, records: Sequence[SourceRecord], source: Source, patient: Patient) -> None:
        """What is under way first: these are read anew if it has to be begun again."""
        if self._flight is None:
            return
        try:
            self._land(patient)
            self._commit_if_due(source)
        except BaseException:
            source.seek(first_of(records))
            raise

    def _land_at_once(self) -> None:
        """What is under way, as far as it needs nobody's patience; the rest is landed later, or read again."""
        flight = self._flight
        if flight is None:
            return
        with suppress(ServerError):
            while not flight.delivery.is_over:
                flight.delivery.attempt(self._sink)
        if flight.is_plain:
            self._land(_impatient)

    def _land(self, patient: Patient) -> None:
        """The answers to what is under way, and what follows from them."""
        flight, self._flight = self._flight, None
        if flight is not None:
            self._landing.land(flight, patient)

    def _commit_if_due(self, source: Source) -> None:
        if self._clock() - self._committed_at >= self._commit_interval_s:
            self._committed_at = self._clock()
            self._progress.commit(source)

    def _commit(self, source: Source) -> None:
        """At an end: what can't be committed now is read again by whoever comes next."""
        with suppress(Reconnected):
            self._progress.commit(source)
