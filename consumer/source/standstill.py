"""Which partitions are not read, found by comparing positions with what the partitions' leaders answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from consumer.events.record import Partition
from consumer.source.clients.member import Reading

_UNANSWERED_CHECKS = 2
_STUCK_CHECKS = 3
_MOST_DOUBLINGS = 5


class Answers(NamedTuple):
    """``ends``: the end offsets of partitions. ``unanswered``: the partitions whose leader did not answer.

    Nothing is known about a partition that is in neither of them.
    """

    ends: Mapping[Partition, int]
    unanswered: Collection[Partition]


@dataclass
class _Seen:
    """A partition at the last check. ``unanswered`` and ``stuck`` count the checks in a row that found it so.

    ``restarts``: how often reading began again at this position.
    """

    position: int | None
    unanswered: int = 0
    stuck: int = 0
    restarts: int = 0
    end: int | None = None


class Standstill:
    """A partition is *unmoved* while its position stays the same.

    It is *unanswered* if its leader does not answer. It is *stuck* if it is unmoved although its leader has records for
    it.

    One check proves nothing: the leader may be busy, or the records may be on their way.
    """

    def __init__(self) -> None:
        self._seen: dict[Partition, _Seen] = {}

    @property
    def unanswered(self) -> frozenset[Partition]:
        """The partitions whose leader did not answer at the last checks."""
        return frozenset(part for part, seen in self._seen.items() if seen.unanswered >= _UNANSWERED_CHECKS)

    def end(self, partition: Partition) -> int | None:
        """The partition's end at the last check, if its leader was asked and answered."""
        seen = self._seen.get(partition)
        return seen.end if seen is not None else None

    def unmoved(self, readings: Mapping[Partition, Reading]) -> list[Partition]:
        """The partitions whose position is as at the last call. Partitions that are not in ``readings`` are forgotten.

        These are the partitions to ask about: the leaders of the others have just sent records.
        """
        before, self._seen = self._seen, {}
        unmoved = []
        for part, reading in readings.items():
            seen = before.get(part)
            if seen is not None and seen.position == reading.position:
                unmoved.append(part)
                self._seen[part] = seen
            else:
                self._seen[part] = _Seen(reading.position)
        return unmoved

    def answered(self, answers: Answers, readings: Mapping[Partition, Reading], *, had_empty_poll: bool) -> None:
        """The leaders' answers about unmoved partitions.

        ``had_empty_poll``: since the call of :meth:`unmoved`, a poll has returned nothing. Otherwise records of these
        partitions may wait behind others in the client.
        """
        for part, seen in self._seen.items():
            reading = readings.get(part)
            if reading is None or seen.position != reading.position:
                continue
            seen.end = answers.ends.get(part)
            seen.unanswered = seen.unanswered + 1 if part in answers.unanswered else 0
            if seen.end is None or (seen.position is not None and seen.position >= seen.end):
                seen.stuck = 0
            elif had_empty_poll:
                seen.stuck += 1

    def take_stuck(self) -> Collection[Partition]:
        """The partitions that are stuck.

        The next time it takes twice as many checks: a broker that throttles this client looks the same.
        """
        stuck = [part for part, seen in self._seen.items() if seen.stuck >= _STUCK_CHECKS * 2**seen.restarts]
        for part in stuck:
            seen = self._seen[part]
            seen.stuck, seen.restarts = 0, min(seen.restarts + 1, _MOST_DOUBLINGS)
        return stuck

    def forget_stuck(self) -> None:
        """Reading stopped for a reason of this program: the checks until now do not show that a partition is stuck."""
        for seen in self._seen.values():
            seen.stuck = 0

    def forget(self) -> None:
        """There is no connection to the group: nothing is known."""
        self._seen = {}
