"""The lag of each partition, in records and in seconds; also known while nothing can be read or applied."""

from __future__ import annotations

from collections.abc import Mapping

from consumer.events.record import Partition


class Lag:
    """All times are UTC seconds.

    ``records``: the number of records left at the last check. The lag in seconds uses the source's time of the last
    finished record, or the time of the last check at which no record was left.
    """

    def __init__(self) -> None:
        self.records: Mapping[Partition, int] = {}
        self._reached: dict[Partition, float] = {}

    def done(self, reached_ms: Mapping[Partition, int]) -> None:
        """All records up to these times are done. The times are the source's, UTC milliseconds."""
        self._reached |= {partition: ms / 1000 for partition, ms in reached_ms.items()}

    def looked(self, records: Mapping[Partition, int | None], now: float) -> None:
        """Store the number of records that are left in each assigned partition; None: not known at this look."""
        self._reached = {
            partition: now if left == 0 else self._reached.get(partition, now) for partition, left in records.items()
        }
        self.records = {
            partition: self.records.get(partition, 0) if left is None else left for partition, left in records.items()
        }

    def seconds(self, now: float, *, is_blocked: bool) -> Mapping[Partition, float]:
        """The age of the last finished record of each partition, in seconds; 0 if no record is left.

        ``is_blocked``: something can't be read or applied, so the number of records left is not known.
        """
        reached = self._reached
        return {
            partition: max(0.0, now - reached.get(partition, now)) if left or is_blocked else 0.0
            for partition, left in self.records.items()
        }
