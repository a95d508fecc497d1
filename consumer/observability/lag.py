"""How far behind the source each partition is, in records and in seconds, also while nothing can be read or applied."""

from __future__ import annotations

from collections.abc import Mapping

from consumer.events.record import Partition


class Lag:
    """Times are UTC seconds.

    ``records`` is as of the last look. What is known in seconds is the source's time up to which everything is done:
    that of the last record, or of the last look that found nothing left.
    """

    def __init__(self) -> None:
        self.records: Mapping[Partition, int] = {}
        self._reached: dict[Partition, float] = {}

    def done(self, reached_ms: Mapping[Partition, int]) -> None:
        """Everything up to these records is done; their source's times."""
        self._reached |= {partition: ms / 1000 for partition, ms in reached_ms.items()}

    def looked(self, records: Mapping[Partition, int], now: float) -> None:
        """So many records of each assigned partition are left."""
        self._reached = {
            partition: now if left == 0 else self._reached.get(partition, now) for partition, left in records.items()
        }
        self.records = dict(records)

    def seconds(self, now: float, *, is_blocked: bool) -> Mapping[Partition, float]:
        """The age of what is done of each partition; 0 where nothing is left.

        ``is_blocked``: something can't be read or applied, so that nobody knows what is left.
        """
        reached = self._reached
        return {
            partition: max(0.0, now - reached.get(partition, now)) if left or is_blocked else 0.0
            for partition, left in self.records.items()
        }
