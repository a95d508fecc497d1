"""How far each partition is: done, committed to Kafka, and remembered beside the data in Redis.

Redis remembers first. Where it comes back without what it had acknowledged (a crash between two syncs, a replica that
was behind), what it remembers is older too, and the records from there on are read again. They write what was lost,
and tell nobody a second time. Nothing newer may be applied before: it would make them stale.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import structlog

from consumer.errors import Place, ServerUnavailable
from consumer.outage import REDIS, Outage
from consumer.protocols import Observer, Sink, Source
from consumer.record import SourceRecord
from consumer.watermark import Partition, Watermark

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Patient(Protocol):
    """What an attempt answers, made until its server is there; the server is named for people."""

    def __call__(self, server: str, attempt: Callable[[], _T], /) -> _T: ...


class Progress:
    """The watermark of a source, and what is known of it elsewhere."""

    def __init__(self, sink: Sink, observer: Observer, outage: Outage) -> None:
        self._sink = sink
        self._observer = observer
        self._outage = outage
        self._watermark = Watermark()
        self._in_doubt: dict[Place, SourceRecord] = {}
        self._fresh: dict[Partition, int] = {}
        """Where partitions began of which nothing more was remembered since."""
        self._told: dict[Partition, int] = {}
        """Records before these offsets were done once, and their messages went out."""

    @property
    def is_in_doubt(self) -> bool:
        """Whether there are dead letters of which it is not yet known whether they may be passed."""
        return bool(self._in_doubt)

    def told(self, records: Sequence[SourceRecord]) -> frozenset[int]:
        """The places in ``records`` of those whose messages went out before, or whose dead letter is safe."""
        if not self._told and not self._in_doubt:
            return frozenset()
        return frozenset(at for at, record in enumerate(records) if self._is_told(record))

    def admit(self, source: Source, records: Sequence[SourceRecord], patient: Patient) -> list[SourceRecord]:
        """Those of ``records`` that are to be applied: of partitions that are ours, and not to be read again first.

        Raises:
            ServerUnavailable, Reconnected: Redis or Kafka could not be asked; the records will be polled again.

        """
        assigned, started = source.assignment(), self._watermark.partitions
        self.forget(started - assigned)
        if fresh := assigned - started:
            try:
                records = self._compared(source, fresh, records, patient)
            except BaseException:
                source.seek(first_of(records))
                raise
        started = self._watermark.partitions
        offsets = {each: lie for each, lie in _offsets(records).items() if each in started}
        for partition, begun in offsets.items():
            self._watermark.begin(partition, begun)
        return [record for record in records if (record.topic, record.partition) in offsets]

    def finish(self, records: Iterable[SourceRecord]) -> None:
        """All that follows from these records is done."""
        for partition, offsets in _offsets(records).items():
            self._watermark.finish(partition, offsets)

    def doubt(self, record: SourceRecord) -> None:
        """The record's dead letter is safe, but it may be one of too many."""
        self._in_doubt[record.place] = record

    def trust(self, is_in_doubt: Callable[[str], bool] = lambda _: False) -> None:
        """Dead letters of topics that are well again were bad rows: their offsets may be committed."""
        trusted = {place: record for place, record in self._in_doubt.items() if not is_in_doubt(record.topic)}
        self.finish(trusted.values())
        for place in trusted:
            del self._in_doubt[place]

    def commit(self, source: Source) -> None:
        """What is done, to Redis and then to Kafka; put off if one of them can't.

        Raises:
            Reconnected: Redis may have lost some of it.

        """
        offsets = self._watermark.committable()
        if not offsets and not self._outage.is_of(REDIS):
            return
        try:
            self._sink.remember(offsets)
        except ServerUnavailable as error:
            self._outage.began(error, 0.0)
            return
        self._outage.ended(REDIS)
        for partition in offsets:
            self._fresh.pop(partition, None)
        # What is read again was committed once: a successor must see that Redis is behind it.
        if source.commit({each: max(offset, self._told.get(each, 0)) for each, offset in offsets.items()}):
            self._watermark.committed(offsets)
            self._observer.committed(offsets)

    def forget(self, partitions: Collection[Partition]) -> None:
        """They are somebody else's now."""
        for partition in partitions:
            self._watermark.forget(partition)
            self._told.pop(partition, None)
            self._fresh.pop(partition, None)
        self._in_doubt = {at: each for at, each in self._in_doubt.items() if _partition(each) not in partitions}

    def begin_again(self, source: Source, patient: Patient) -> None:
        """Redis is back: go on where it says it is, which is where it was if it has lost nothing.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`consumer.protocols.Sink.recall`.

        """
        self._sink.go_on()
        reached = dict(patient(REDIS, self._sink.recall))
        positions = dict(self._watermark.positions())
        lost = positions.keys() - reached.keys()
        if lost - self._fresh.keys():
            _say_emptied(len(lost))
        # What it had only just begun it may have lost whole, and the rest is there.
        reached = {each: self._fresh.get(each, positions[each]) for each in lost} | reached
        for partition, offset in positions.items():
            at = min(offset, reached[partition])
            if at < offset:
                self._told[partition] = max(offset, self._told.get(partition, 0))
            self._watermark.start(partition, at, is_committed=False)
            positions[partition] = at
        source.seek(positions)
        self._say_reread({each: at for each, at in positions.items() if at < self._told.get(each, 0)})

    def _is_told(self, record: SourceRecord) -> bool:
        return record.offset < self._told.get(_partition(record), 0) or record.place in self._in_doubt

    def _compared(
        self, source: Source, fresh: Collection[Partition], records: Sequence[SourceRecord], patient: Patient
    ) -> Sequence[SourceRecord]:
        """Start the partitions that are new here, where Redis is; answers the records that can be taken now."""
        starts = patient("Kafka", lambda: source.starts(fresh))
        reached = patient(REDIS, self._sink.recall)
        behind = {}
        for partition, (offset, oldest, _) in starts.items():
            at = max(oldest, reached.get(partition, offset))
            if partition not in reached:
                self._fresh[partition] = offset
            if at < offset:
                behind[partition] = at
                self._told[partition] = offset
            self._watermark.start(partition, min(at, offset), is_committed=at >= offset)
            if partition in reached and reached[partition] < oldest:
                _log.error(
                    "Redis is behind the oldest record that there still is: take a snapshot",
                    action="redis.unreachable",
                    topic=partition.topic,
                    partition=partition.number,
                    records=oldest - reached[partition],
                )
        patient(REDIS, lambda: self._sink.remember(self._watermark.positions()))
        if unknown := [each for each, start in starts.items() if each not in reached and not start.is_first_time]:
            _say_emptied(len(unknown))
        if behind:
            source.seek(behind)
            self._say_reread(behind)
        return [record for record in records if _partition(record) not in behind]

    def _say_reread(self, behind: Mapping[Partition, int]) -> None:
        if behind:
            _log.warning(
                "reading again what Redis may have lost",
                action="redis.reread",
                records=sum(self._told[each] - offset for each, offset in behind.items()),
                partitions=len(behind),
            )


def _say_emptied(partitions: int) -> None:
    _log.error(
        "Redis does not know how far it is: it was emptied, or is another one; or its key was removed",
        action="redis.emptied",
        partitions=partitions,
        advice="if it was emptied: cdc-consumer replay --rebuild --yes",
    )


def first_of(records: Sequence[SourceRecord]) -> dict[Partition, int]:
    """The offset of the first record of each partition."""
    return {partition: offsets[0] for partition, offsets in _offsets(records).items()}


def _offsets(records: Iterable[SourceRecord]) -> dict[Partition, list[int]]:
    """The offsets of each partition's records, in their order."""
    found: dict[tuple[str, int], list[int]] = {}
    for record in records:
        found.setdefault((record.topic, record.partition), []).append(record.offset)
    return {Partition(*each): offsets for each, offsets in found.items()}


def _partition(record: SourceRecord) -> Partition:
    return Partition(record.topic, record.partition)
