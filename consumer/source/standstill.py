"""Which partitions are not read, found by comparing positions with what the partitions' leaders say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from consumer.events.record import Partition
from consumer.source.clients.member import Reading

Ends = Mapping[Partition, int | None]
"""The end offsets of partitions, from their leaders. None: the leader did not answer. Missing: nothing is known."""

_SILENT_LOOKS = 2
_STILL_LOOKS = 3


@dataclass
class _Seen:
    """A partition at the last look, and how many looks in a row found it silent, or behind at the same position."""

    position: int | None
    silent: int = 0
    still: int = 0
    end: int | None = None


class Standstill:
    """A partition is *quiet* while its position stays, *silent* if its leader does not answer, and *still* if it is
    quiet although its leader has records for it.

    One look proves nothing: the leader may be busy, or the records may be on their way.
    """

    def __init__(self) -> None:
        self._seen: dict[Partition, _Seen] = {}

    @property
    def silent(self) -> frozenset[Partition]:
        """The partitions whose leader did not answer at the last looks."""
        return frozenset(part for part, seen in self._seen.items() if seen.silent >= _SILENT_LOOKS)

    def end(self, partition: Partition) -> int | None:
        """The partition's end at the last look, if it was quiet then."""
        seen = self._seen.get(partition)
        return seen.end if seen is not None else None

    def quiet(self, readings: Mapping[Partition, Reading]) -> list[Partition]:
        """The partitions whose position is as at the last call. Partitions that are not in ``readings`` are forgotten.

        These are the partitions to look at: the leaders of the others have just answered.
        """
        before, self._seen = self._seen, {}
        quiet = []
        for part, reading in readings.items():
            seen = before.get(part)
            if seen is not None and seen.position == reading.position:
                quiet.append(part)
                self._seen[part] = seen
            else:
                self._seen[part] = _Seen(reading.position)
        return quiet

    def looked(self, ends: Ends, readings: Mapping[Partition, Reading], *, is_drained: bool) -> None:
        """The leaders' answers for quiet partitions.

        ``is_drained``: since the call of :meth:`quiet`, a poll has returned nothing. Otherwise records of these
        partitions may wait behind others in the client.
        """
        for part, end in ends.items():
            seen, reading = self._seen.get(part), readings.get(part)
            if seen is None or reading is None or seen.position != reading.position:
                continue
            seen.silent = seen.silent + 1 if end is None else 0
            seen.end = end
            is_behind = end is not None and (seen.position is None or seen.position < end)
            seen.still = seen.still + is_drained if is_behind else 0

    def take_still(self) -> Collection[Partition]:
        """The partitions that stand still. Their looks are counted anew."""
        still = [part for part, seen in self._seen.items() if seen.still >= _STILL_LOOKS]
        for part in still:
            self._seen[part].still = 0
        return still

    def forget(self) -> None:
        """Reading stopped for a reason of this program: positions do not count."""
        self._seen = {}
