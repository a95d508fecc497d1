"""Holds back offsets of a topic that was deleted: a new topic of that name would accept them.

A member that goes on there would skip the first records of the new topic. Kafka refuses a commit for a topic that does
not exist, and a fetch from an offset that does not exist. From then on the offsets of that topic's partitions are
committed only if the topic has so many records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from consumer.events.record import Partition
from consumer.source.clients.member import Extent

_AGAIN_S = 5.0
"""Pause after a look-up that failed. It waits for an answer, so it must not take all the time."""

LookUp = Callable[[Collection[Partition]], Mapping[Partition, Extent]]
"""Asks Kafka for the offsets of the oldest and the next record of partitions. Raises the client's errors."""


class DeletedTopics:
    """The partitions whose topic may have been deleted. ``look_up``: asks Kafka."""

    def __init__(self, look_up: LookUp, clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up
        self._clock = clock
        self._doubtful: set[Partition] = set()
        self._next_at = 0.0
        self._turn = 0

    def doubt(self, partitions: Collection[Partition]) -> None:
        """Kafka does not know these partitions, or not the offsets that they are read from."""
        self._doubtful.update(partitions)

    def trust(self, partitions: Collection[Partition]) -> None:
        """The partitions are started again, at an offset that Kafka has."""
        self._doubtful.difference_update(partitions)

    def committable(self, offsets: Mapping[Partition, int], *, may_ask: bool) -> Mapping[Partition, int]:
        """``offsets`` without those that Kafka may not have. Without ``may_ask`` no doubtful one is committed."""
        doubtful = offsets.keys() & self._doubtful
        if not doubtful:
            return offsets
        if may_ask and self._clock() >= self._next_at:
            self._ask(offsets, doubtful)
        return {part: offset for part, offset in offsets.items() if part not in self._doubtful}

    def _ask(self, offsets: Mapping[Partition, int], doubtful: Collection[Partition]) -> None:
        topics = sorted({part.topic for part in doubtful})
        for at in range(len(topics)):
            topic = topics[(self._turn + at) % len(topics)]
            parts = [part for part in doubtful if part.topic == topic]
            try:
                found = self._look_up(parts)
            except Exception:  # the topic is gone, or no broker answers: another time, and another topic first
                self._next_at = self._clock() + _AGAIN_S
                self._turn += at + 1
                return
            self._doubtful -= {part for part in parts if offsets[part] <= found[part].end}
