"""Records of a log that a fold can't use: their number, and the first few by place and reason."""

from __future__ import annotations

from array import array
from bisect import bisect_left

from consumer.errors import Place, RecordError

_SHOWN = 20


class Rejections:
    """Each record counts once, whatever the number of folds that reject it.

    Records at ``settled`` places do not count, because their dead letters were discarded. They are in ``given_up``.
    """

    def __init__(self, settled: frozenset[Place] = frozenset(), before: Rejections | None = None) -> None:
        """``before``: the rejections of an earlier fold of the same records, which are not counted again."""
        self.first: list[str] = []
        self.given_up: set[Place] = set()
        self._settled = settled
        self._before = before
        self._offsets: dict[str, array[int]] = {}
        """By topic, because a fold has one partition number."""

    @property
    def count(self) -> int:
        """The number of records."""
        return sum(map(len, self._offsets.values()))

    def add(self, error: RecordError, place: Place) -> None:
        """Add the record at ``place``."""
        error.place = place
        if place in self._settled:
            self.given_up.add(place)
            return
        if self._before is not None and self._before.has(place):
            return
        offsets = self._offsets.setdefault(place.topic, array("q"))
        at = bisect_left(offsets, place.offset)
        if at < len(offsets) and offsets[at] == place.offset:
            return
        offsets.insert(at, place.offset)
        if len(self.first) < _SHOWN:
            self.first.append(str(error))

    def has(self, place: Place) -> bool:
        """Whether the record at ``place`` is counted."""
        offsets = self._offsets.get(place.topic, ())
        at = bisect_left(offsets, place.offset)
        return at < len(offsets) and offsets[at] == place.offset
