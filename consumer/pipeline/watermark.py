"""The offset of each partition that may be committed: all records before it are finished."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.events.record import Partition


@dataclass(slots=True)
class _Run:
    """``begun``: offsets that were polled, from the first unfinished one on. ``done``: those of them that are finished.

    ``past``: the offset after the last finished record that has only finished records before it. ``next``: the same, if
    it is not committed yet.
    """

    generation: int = 0
    begun: dict[int, None] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    past: int = 0
    next: int | None = None


class Watermark:
    """Tracks records from the poll to the acknowledgement.

    Arguments are offsets of records; results are offsets of the *next* record to read. Offsets may have gaps
    (compaction, transaction markers): only offsets that were begun count. A generation is the number of an assignment
    of a partition to this member.
    """

    def __init__(self) -> None:
        self._runs: dict[Partition, _Run] = {}

    def generations(self) -> Mapping[Partition, int]:
        """The started partitions, each with its generation."""
        return {partition: run.generation for partition, run in self._runs.items()}

    def start(self, partition: Partition, offset: int, *, generation: int = 0, is_committed: bool = True) -> None:
        """Start ``partition`` at ``offset``: no record is begun or done."""
        self._runs[partition] = _Run(generation, past=offset, next=None if is_committed else offset)

    def begin(self, partition: Partition, offsets: Iterable[int]) -> None:
        """Records of a started partition were polled. Offsets of a partition must be begun in order."""
        self._runs[partition].begun.update(dict.fromkeys(offsets))

    def finish(self, partition: Partition, offsets: Sequence[int], generation: int = 0) -> None:
        """These records are done. Ignored if the partition has another generation or is not started."""
        run = self._runs.get(partition)
        if run is None or run.generation != generation:
            return
        if offsets and not run.done and [*run.begun] == offsets:  # all that were begun, as usual
            run.begun = {}
            run.past = run.next = offsets[-1] + 1
            return
        run.done.update(run.begun.keys() & offsets)
        while run.begun and (first := next(iter(run.begun))) in run.done:
            run.done.discard(first)
            del run.begun[first]
            run.past = run.next = first + 1

    def committable(self) -> Mapping[Partition, int]:
        """The next offset of each partition that has finished records since its last commit."""
        return {partition: run.next for partition, run in self._runs.items() if run.next is not None}

    def positions(self) -> Mapping[Partition, int]:
        """The offset of the first record of each partition that is not done: where to resume."""
        return {partition: next(iter(run.begun), run.past) for partition, run in self._runs.items()}

    def begun(self) -> Mapping[Partition, tuple[int, Collection[int]]]:
        """For partitions with begun records: the offset after the last begun one, and the offsets that are not done."""
        begun = {part: run for part, run in self._runs.items() if run.begun}
        return {part: (max(run.begun) + 1, run.begun.keys() - run.done) for part, run in begun.items()}

    def committed(self, offsets: Mapping[Partition, int]) -> None:
        """These offsets were committed."""
        for partition, offset in offsets.items():
            run = self._runs.get(partition)
            if run is not None and run.next == offset:
                run.next = None

    def forget(self, partition: Partition) -> None:
        """The partition is not assigned any more."""
        self._runs.pop(partition, None)
