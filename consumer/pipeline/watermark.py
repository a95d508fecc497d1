"""Which offset may be committed: the end of the unbroken run of finished records of each partition."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from consumer.events.record import Partition


@dataclass(slots=True)
class _Run:
    """Offsets begun and not yet past, oldest first; ``done`` are those of them that are finished.

    ``past`` is the offset behind the last that is past, ``next`` the same where it was not committed yet.
    """

    generation: int = 0
    begun: dict[int, None] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    past: int = 0
    next: int | None = None


class Watermark:
    """Tracks records from poll to acknowledged application.

    An offset here is a record's own; what is answered is always the offset of the *next* record to read. Offsets
    may have gaps (compaction, transaction markers): only those that were begun count. A generation is the number of an
    assignment of a partition to this member.
    """

    def __init__(self) -> None:
        self._runs: dict[Partition, _Run] = {}

    def generations(self) -> Mapping[Partition, int]:
        """The partitions that were started, each with its generation."""
        return {partition: run.generation for partition, run in self._runs.items()}

    def start(self, partition: Partition, offset: int, *, generation: int = 0, is_committed: bool = True) -> None:
        """The next record of ``partition`` is the first at or behind ``offset``; nothing of it is begun or done."""
        self._runs[partition] = _Run(generation, past=offset, next=None if is_committed else offset)

    def begin(self, partition: Partition, offsets: Iterable[int]) -> None:
        """Records of a started partition were polled. Offsets of a partition are begun in their order."""
        self._runs[partition].begun.update(dict.fromkeys(offsets))

    def finish(self, partition: Partition, offsets: Iterable[int], generation: int = 0) -> None:
        """All that follows from these records is done. Of an older generation, or of none, nothing is noted."""
        run = self._runs.get(partition)
        if run is None or run.generation != generation:
            return
        run.done.update(run.begun.keys() & offsets)
        while run.begun and (first := next(iter(run.begun))) in run.done:
            run.done.discard(first)
            del run.begun[first]
            run.past = run.next = first + 1

    def committable(self) -> Mapping[Partition, int]:
        """The next offset of each partition in which records have finished since it was last taken."""
        return {partition: run.next for partition, run in self._runs.items() if run.next is not None}

    def positions(self) -> Mapping[Partition, int]:
        """The offset of the first record of each partition that is not done: where to begin again."""
        return {partition: next(iter(run.begun), run.past) for partition, run in self._runs.items()}

    def begun(self) -> Mapping[Partition, tuple[int, Collection[int]]]:
        """Of each partition of which records are begun: the offset behind the last one, and those that are not done."""
        begun = {part: run for part, run in self._runs.items() if run.begun}
        return {part: (max(run.begun) + 1, run.begun.keys() - run.done) for part, run in begun.items()}

    def committed(self, offsets: Mapping[Partition, int]) -> None:
        """These were committed, and need not be again."""
        for partition, offset in offsets.items():
            run = self._runs.get(partition)
            if run is not None and run.next == offset:
                run.next = None

    def forget(self, partition: Partition) -> None:
        """The partition is somebody else's now."""
        self._runs.pop(partition, None)
