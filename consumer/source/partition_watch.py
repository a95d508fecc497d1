"""Checks every few seconds whether partitions are read that could be read, and how many records are left in each.

A client does not report that the leader of one partition does not answer. A fault in a client may stop the reading of a
partition. In both cases the number of records left would stay 0, because clients learn the end with the records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from consumer.events.record import Partition
from consumer.settings.sections import Kafka
from consumer.source.clients.member import Reading
from consumer.source.leaders import Leaders
from consumer.source.standstill import Standstill

_EVERY_S = 10.0


class PartitionWatch:
    """Nothing here waits. Each call of :meth:`step` goes one step on."""

    def __init__(self, settings: Kafka, clock: Callable[[], float] = time.monotonic) -> None:
        self._leaders = Leaders(settings)
        self._standstill = Standstill()
        self._clock = clock
        self._asked_at = clock()
        self._is_asked = False
        self._had_empty_poll = False

    @property
    def unanswered(self) -> frozenset[Partition]:
        """The partitions whose leader does not answer."""
        return self._standstill.unanswered

    def polled_nothing(self) -> None:
        """A poll returned nothing."""
        self._had_empty_poll = True

    def step(self, readings: Mapping[Partition, Reading]) -> Collection[Partition]:
        """The partitions that are stuck; reading should begin again there. Usually none."""
        if self._is_asked:
            answers = self._leaders.answer()
            if answers is None:
                return ()
            self._is_asked = False
            self._standstill.answered(answers, readings, had_empty_poll=self._had_empty_poll)
            return self._standstill.take_stuck()
        if self._clock() - self._asked_at >= _EVERY_S:
            self._asked_at = self._clock()
            self._had_empty_poll = False
            if unmoved := self._standstill.unmoved(readings):
                self._is_asked = True
                self._leaders.ask(unmoved)
        return ()

    def forget_stuck(self) -> None:
        """Reading stopped for a reason of this program."""
        self._standstill.forget_stuck()

    def forget(self) -> None:
        """There is no connection to the group."""
        self._standstill.forget()

    def left(self, readings: Mapping[Partition, Reading]) -> Mapping[Partition, int | None]:
        """The number of records left in each partition; None: not known, because the leader does not answer.

        Partitions whose position is not known yet are missing.
        """
        unanswered, found = self.unanswered, dict[Partition, int | None]()
        for part, (position, end) in readings.items():
            ends = [each for each in (end, self._standstill.end(part)) if each is not None]
            if part in unanswered:
                found[part] = None
            elif position is not None and ends:
                found[part] = max(0, max(ends) - position)
        return found

    def close(self) -> None:
        """End the thread that asks."""
        self._leaders.close()
