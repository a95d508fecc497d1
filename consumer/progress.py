"""How far each partition is: done, committed to Kafka, and remembered beside the data in Redis.

Redis remembers first. Where it comes back without what it had acknowledged (a crash between two syncs, a replica that
was behind), what it remembers is older too, and the records from there on are read again. They write what was lost,
and tell nobody a second time. Nothing newer may be applied before: it would make them stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import structlog

from consumer.errors import ServerUnavailable
from consumer.outage import Outage
from consumer.protocols import Observer, Sink, Source
from consumer.record import SourceRecord
from consumer.watermark import Partition, Watermark

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Patient(Protocol):
    """What an attempt answers, made until its server is there."""

    def __call__(self, attempt: Callable[[], _T], /) -> _T: ...


class Progress:
    """The watermark of a source, and what is known of it elsewhere."""

    def __init__(self, sink: Sink, observer: Observer, outage: Outage) -> None:
        self._sink = sink
        self._outage = outage
        self._observer = observer
        self._watermark = Watermark()
        self._in_doubt: list[SourceRecord] = []
        self._compared: set[Partition] = set()
        self._has_remembered = False
        self.told: dict[Partition, int] = {}
        """Records before these offsets were done once, and their messages went out."""

    @property
    def is_in_doubt(self) -> bool:
        """Whether there are dead letters of which it is not yet known whether they may be passed."""
        return bool(self._in_doubt)

    def begin(self, records: Sequence[SourceRecord]) -> None:
        """These were polled."""
        for record in records:
            self._watermark.begin(_partition(record), record.offset)

    def finish(self, record: SourceRecord) -> None:
        """All that follows from a record is done."""
        self._watermark.finish(_partition(record), record.offset)

    def doubt(self, record: SourceRecord) -> None:
        """The record's dead letter is safe, but it may be one of too many."""
        self._in_doubt.append(record)

    def trust(self, is_in_doubt: Callable[[str], bool] = lambda _: False) -> None:
        """Dead letters of topics that are well again were bad rows: their offsets may be committed."""
        for record in self._in_doubt:
            if not is_in_doubt(record.topic):
                self.finish(record)
        self._in_doubt = [record for record in self._in_doubt if is_in_doubt(record.topic)]

    def commit(self, source: Source) -> None:
        """What is done, to Redis and then to Kafka; put off if one of them can't.

        Raises:
            Reconnected: Redis may have lost some of it.

        """
        offsets = self._watermark.committable()
        if not offsets:
            return
        try:
            self._sink.remember(offsets)
        except ServerUnavailable as error:
            self._outage.began(error, 0.0)
            return
        self._outage.ended()
        self._has_remembered = True
        if source.commit(offsets):
            self._watermark.committed(offsets)
            self._observer.committed(offsets)

    def forget(self, partitions: Sequence[Partition]) -> None:
        """They are somebody else's now."""
        for partition in partitions:
            self._watermark.forget(partition)
            self._compared.discard(partition)
            self.told.pop(partition, None)

    def is_behind(self, source: Source, records: Sequence[SourceRecord], patient: Patient) -> bool:
        """Whether Redis is not as far as the first records of a partition that is new here; then it is read again.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`consumer.protocols.Sink.recall`.

        """
        first: dict[Partition, int] = {}
        for record in records:
            first.setdefault(_partition(record), record.offset)
        fresh = first.keys() - self._compared
        if not fresh:
            return False
        reached = patient(self._sink.recall)
        self._compared |= fresh
        behind = {each: reached[each] for each in fresh if reached.get(each, first[each]) < first[each]}
        if behind:
            self.told |= {each: first[each] for each in behind}
            self._begin_again(source, {each: behind.get(each, offset) for each, offset in first.items()}, behind)
        return bool(behind)

    def begin_again(self, source: Source, patient: Patient) -> None:
        """Redis is back: go on where it says it is, which is where it was if it has lost nothing.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`consumer.protocols.Sink.recall`.

        """
        self._sink.go_on()
        reached = patient(self._sink.recall)
        positions = self._watermark.positions()
        if self._has_remembered and not reached:
            _log.error(
                "Redis is back without any data; rebuild it from the topics",
                action="redis.emptied",
                advice="cdc-consumer replay --rebuild --yes",
            )
        behind = {each: reached[each] for each, at in positions.items() if reached.get(each, at) < at}
        self.told |= {each: max(positions[each], self.told.get(each, 0)) for each in behind}
        self._begin_again(source, {**positions, **behind}, behind)

    def _begin_again(self, source: Source, offsets: Mapping[Partition, int], behind: Mapping[Partition, int]) -> None:
        if behind:
            _log.warning(
                "reading again what Redis may have lost",
                action="redis.reread",
                records=sum(self.told[each] - offset for each, offset in behind.items()),
                partitions=len(behind),
            )
        for partition in offsets:
            self._watermark.forget(partition)
        self._in_doubt = [record for record in self._in_doubt if _partition(record) not in offsets]
        source.seek(offsets)


def _partition(record: SourceRecord) -> Partition:
    return Partition(record.topic, record.partition)
