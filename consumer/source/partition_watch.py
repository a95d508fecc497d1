"""Looks every few seconds whether partitions are read that could be read, and how many records are left in each.

A client does not report that the leader of one partition does not answer, and a fault in a client may leave a partition
alone. The number of records left would stay 0 in both cases, because clients learn the end with the records.
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
    """Nothing here waits. Each call of :meth:`look` goes one step on."""

    def __init__(self, settings: Kafka, clock: Callable[[], float] = time.monotonic) -> None:
        self._leaders = Leaders(settings)
        self._standstill = Standstill()
        self._clock = clock
        self._looked_at = clock()
        self._is_asked = False
        self._is_drained = False

    @property
    def silent(self) -> frozenset[Partition]:
        """The partitions whose leader does not answer."""
        return self._standstill.silent

    def drained(self) -> None:
        """A poll returned nothing."""
        self._is_drained = True

    def look(self, readings: Mapping[Partition, Reading]) -> Collection[Partition]:
        """The partitions that stand still since the last looks; reading should begin again there."""
        if self._is_asked:
            ends = self._leaders.answer()
            if ends is None:
                return ()
            self._is_asked = False
            self._standstill.looked(ends, readings, is_drained=self._is_drained)
            return self._standstill.take_still()
        if self._clock() - self._looked_at >= _EVERY_S:
            self._looked_at = self._clock()
            self._is_drained = False
            if quiet := self._standstill.quiet(readings):
                self._is_asked = True
                self._leaders.ask(quiet)
        return ()

    def forget(self) -> None:
        """Reading stopped for a reason of this program."""
        self._standstill.forget()
        self._looked_at = self._clock()

    def left(self, readings: Mapping[Partition, Reading]) -> Mapping[Partition, int | None]:
        """The number of records left in each partition; None: not known, because the leader does not answer.

        Partitions whose position is not known yet are missing.
        """
        silent, found = self.silent, dict[Partition, int | None]()
        for part, (position, end) in readings.items():
            ends = [each for each in (end, self._standstill.end(part)) if each is not None]
            if part in silent:
                found[part] = None
            elif position is not None and ends:
                found[part] = max(0, max(ends) - position)
        return found

    def close(self) -> None:
        self._leaders.close()
