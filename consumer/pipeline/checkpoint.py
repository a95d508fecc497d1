"""Where each partition stands: what is done, what Redis remembers of it, what Kafka has of it. Nobody else seeks.

Redis remembers first, beside the data. Where it comes back without what it had acknowledged (a crash between two
syncs, a replica that was behind), what it remembers is older too, and the records from there on are read again: they
write what was lost, and their messages do not go out a second time. Nothing newer may be applied before: it would make
them stale.

Where it remembers nothing of a partition any more, all that was applied of it is gone: Redis was emptied, under the
program, while it was away, or before the start. Such partitions are ``lost``. Reading again would publish again, so
nothing is applied until they are known to Redis once more (:mod:`consumer.pipeline.recovery`). Lost too is a
partition of which the group has read more than the topic's first records, and Redis knows nothing at the start.

Each assignment of a partition has a generation. What was polled under an older one counts for nothing here: the
partition began again at the group's offset. After a failure reading goes on at the first record that is not done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import structlog

from consumer.errors import Emptied, Place, ServerUnavailable
from consumer.events.record import Partition, SourceRecord
from consumer.pipeline.protocols import Observer, Polled, Sink, Source, Start
from consumer.pipeline.retry import KAFKA, REDIS, Outages, Retry
from consumer.pipeline.watermark import Watermark

_log = structlog.get_logger(__name__)


class Checkpoint:
    """The watermark of a source's partitions, in the program, in Redis and in Kafka."""

    def __init__(self, sink: Sink, observer: Observer, outages: Outages) -> None:
        self._sink = sink
        self._observer = observer
        self._outages = outages
        self._watermark = Watermark()
        self._may_be_behind = False
        """Redis is back, and what it remembers is not compared yet: writing offsets there would hide what it lost."""
        self._in_doubt: dict[Place, SourceRecord] = {}
        self._fresh: dict[Partition, int] = {}
        """Where partitions began of which nothing more was remembered since: there was nothing before it to lose."""
        self._lost: set[Partition] = set()
        self._published: dict[Partition, int] = {}
        """Records below these offsets were published before: they are applied again, and publish nothing."""
        self._committed: dict[Partition, int] = {}
        """The group's offsets."""
        self._revoked: dict[Partition, tuple[int, int]] = {}
        """Of revoked partitions: the group's offset then, and the offset below which everything was published."""

    @property
    def is_in_doubt(self) -> bool:
        """Whether there are dead letters of which it is not yet known whether they may be passed."""
        return bool(self._in_doubt)

    @property
    def lost(self) -> Mapping[Partition, int]:
        """The partitions that Redis has lost, each with the offset at which it goes on."""
        return {part: at for part, at in self._watermark.positions().items() if part in self._lost}

    @property
    def told(self) -> Mapping[Partition, int]:
        """Of each partition the offset below which everything was published: what lies behind is told from here."""
        return {part: max(at, self._published.get(part, 0)) for part, at in self._watermark.positions().items()}

    def ends(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """Where each goes on that has the number of one of ``partitions``: a user's tables lie in one number."""
        numbers = {part.number for part in partitions}
        return {part: at for part, at in self._watermark.positions().items() if part.number in numbers}

    def look(self, source: Source, retry: Retry) -> None:
        """Whether Redis still has what it had: also while nothing comes. Not while records are under way.

        Raises:
            Emptied: it has not.
            ServerUnavailable, Reconnected: as :meth:`consumer.pipeline.protocols.Sink.recall`.
        """
        reached = retry(REDIS, self._sink.recall)
        self._forget_stale(source)
        if self._watermark.positions().keys() - reached.keys():
            raise _emptied()

    def look_again(self, source: Source, retry: Retry) -> None:
        """While partitions are lost: which still are, with those that were assigned since.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`look`.
        """
        self._start(source, retry)
        reached = retry(REDIS, self._sink.recall)
        self._forget_stale(source)
        self._lost = set(self._watermark.positions()) - reached.keys() - self._fresh.keys()

    def published(self, records: Sequence[SourceRecord]) -> frozenset[int]:
        """The places in ``records`` of those whose messages went out before, or whose dead letter is safe."""
        if not self._published and not self._in_doubt:
            return frozenset()
        return frozenset(at for at, record in enumerate(records) if self._is_published(record))

    def admit(self, source: Source, polled: Polled, retry: Retry) -> Sequence[SourceRecord]:
        """Those of the records that are to be applied now.

        Not those of an older assignment, nor of partitions that have to be read from an earlier offset first.

        Raises:
            Emptied: Redis has lost a partition, so nothing may be applied.
            ServerUnavailable, Reconnected: Redis or Kafka could not be asked. The records are lost to the caller, and
                :meth:`resume` reads them again.
        """
        behind = self._start(source, retry)
        if self._lost:
            raise _emptied()
        current = self._current(source)
        offsets = _offsets(polled.records)
        admitted = {
            part: lie
            for part, lie in offsets.items()
            if part not in behind and part in current and current[part] == polled.generations.get(part)
        }
        for part, begun in admitted.items():
            self._watermark.begin(part, begun)
        if len(admitted) == len(offsets):
            return polled.records
        return [record for record in polled.records if Partition.of(record) in admitted]

    def finish(self, records: Iterable[SourceRecord], generations: Mapping[Partition, int]) -> None:
        """All that follows from these records, polled under ``generations``, is done."""
        for part, offsets in _offsets(records).items():
            if part in generations:
                self._watermark.finish(part, offsets, generations[part])

    def doubt(self, record: SourceRecord) -> None:
        """The record's dead letter is safe, but it may be one of too many."""
        self._in_doubt[record.place] = record

    def trust(self, is_in_doubt: Callable[[str], bool] = lambda _: False) -> None:
        """Dead letters of topics that are well again were bad rows: their offsets may be committed."""
        trusted = {place: record for place, record in self._in_doubt.items() if not is_in_doubt(record.topic)}
        self.finish(trusted.values(), self._watermark.generations())
        for place in trusted:
            del self._in_doubt[place]

    def commit(self, source: Source) -> None:
        """What is done, to Redis and then to Kafka; put off if one of them can't.

        Raises:
            Reconnected: Redis may have lost some of it.
            Emptied: it has, and nothing was committed.

        """
        if self._may_be_behind:
            return
        self._forget_stale(source)
        offsets = {part: at for part, at in self._watermark.committable().items() if part not in self._lost}
        if not offsets and not self._outages.is_of(REDIS):
            return
        try:
            if not self._sink.advance(offsets):
                raise _emptied()
        except ServerUnavailable as error:
            self._outages.failed(error, 0.0)
            return
        self._outages.succeeded(REDIS)
        for part in offsets:
            self._fresh.pop(part, None)
        # The group's offset does not go back to what is read again: a successor must see that Redis is behind it.
        to_kafka = {part: max(offset, self._committed[part]) for part, offset in offsets.items()}
        if source.commit(to_kafka):
            self._committed |= to_kafka
            self._watermark.committed(offsets)
            self._observer.committed(offsets)

    def forget(self, partitions: Collection[Partition]) -> None:
        """They are revoked: another member's, or to be begun again."""
        positions = self._watermark.positions()
        for part in partitions:
            if part in positions:
                done = max(positions[part], self._published.get(part, 0))
                self._revoked[part] = self._committed.pop(part), done
            self._watermark.forget(part)
            self._published.pop(part, None)
            self._fresh.pop(part, None)
            self._lost.discard(part)
        self._in_doubt = {
            place: record for place, record in self._in_doubt.items() if Partition.of(record) not in partitions
        }

    def resume(self, source: Source, retry: Retry) -> None:
        """After a failure: go on at the first record of each partition that is not done, or that Redis lacks.

        Where it knows nothing of a partition that one is :attr:`lost`.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`consumer.pipeline.protocols.Sink.recall`; to be called again.

        """
        self._may_be_behind = True
        self._sink.go_on()
        reached = dict(retry(REDIS, self._sink.recall))
        self._forget_stale(source)
        positions, generations = self._watermark.positions(), self._watermark.generations()
        gone = positions.keys() - reached.keys()
        self._lost = set(gone - self._fresh.keys())
        self._published |= self._published_of(self._lost)
        # Of what had only just begun nothing was there before; it begins again.
        begun = {part: self._fresh[part] for part in gone & self._fresh.keys()}
        reached = {part: positions[part] for part in self._lost} | begun | reached
        behind = {}
        for part, offset in positions.items():
            at = min(offset, reached[part])
            if at < offset:
                self._published[part] = max(offset, self._published.get(part, 0))
            if at < self._published.get(part, 0):
                behind[part] = at
            self._watermark.start(part, at, generation=generations[part], is_committed=False)
        if begun:
            retry(REDIS, lambda: self._sink.remember(begun))
        self._may_be_behind = False
        self._say_reread(behind)
        self._start(source, retry)
        self._seek(source, self._watermark.positions())

    def _start(self, source: Source, retry: Retry) -> Collection[Partition]:
        """Start the partitions that were assigned anew, where Redis is; answers those that are read from before."""
        self._forget_stale(source)
        started, generations = self._watermark.generations(), source.assignment()
        fresh = [part for part in generations if part not in started]
        if not fresh:
            return ()
        starts = retry(KAFKA, lambda: source.starts(fresh))
        reached = retry(REDIS, self._sink.recall)
        now = source.assignment()  # while servers were away the group may have shared out its partitions again
        fresh = [part for part in fresh if now.get(part) == generations[part]]
        behind = {}
        for part in fresh:
            offset, oldest, is_first_time = starts[part]
            at = max(oldest, reached.get(part, offset))
            if part not in reached and offset > oldest and not is_first_time:
                self._lost.add(part)
            elif part not in reached:
                self._fresh[part] = offset
            if at < offset:
                behind[part] = at
                self._published[part] = offset
            self._committed[part] = offset
            committed, published = self._revoked.pop(part, (0, 0))
            if committed == offset < published:  # given back, and nobody has gone on in between
                self._published[part] = published
            self._watermark.start(part, min(at, offset), generation=generations[part], is_committed=at >= offset)
            if part in reached and reached[part] < oldest:
                _say_unreachable(part, oldest - reached[part])
        known = [part for part in fresh if part not in self._lost]
        retry(REDIS, lambda: self._sink.remember(self._started_at(known)))
        _say_begun({part: starts[part] for part in fresh}, reached)
        if behind:
            self._seek(source, behind)
            self._say_reread(behind)
        return behind

    def _published_of(self, lost: Collection[Partition]) -> dict[Partition, int]:
        """Up to where everything of ``lost`` was published, where more than the position says."""
        doubted = {(Partition(place.topic, place.partition), place.offset) for place in self._in_doubt}
        return {
            part: max(end, self._published.get(part, 0))
            for part, (end, open_offsets) in self._watermark.begun().items()
            if part in lost and all((part, offset) in doubted for offset in open_offsets)
        }

    def _started_at(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return {part: offset for part, offset in self._watermark.positions().items() if part in partitions}

    def _current(self, source: Source) -> Mapping[Partition, int]:
        """The started partitions of which the assignment is still the one under which they were started."""
        assigned = source.assignment()
        return {part: at for part, at in self._watermark.generations().items() if assigned.get(part) == at}

    def _forget_stale(self, source: Source) -> None:
        if stale := self._watermark.generations().keys() - self._current(source).keys():
            self.forget(stale)

    def _seek(self, source: Source, offsets: Mapping[Partition, int]) -> None:
        """The only place from which reading is moved."""
        current = self._current(source)
        source.seek({part: offset for part, offset in offsets.items() if part in current})

    def _is_published(self, record: SourceRecord) -> bool:
        return record.offset < self._published.get(Partition.of(record), 0) or record.place in self._in_doubt

    def _say_reread(self, behind: Mapping[Partition, int]) -> None:
        if behind:
            _log.warning(
                "reading again what Redis may have lost",
                action="redis.reread",
                records=sum(self._published[part] - at for part, at in behind.items()),
                partitions=len(behind),
            )


def _emptied() -> Emptied:
    return Emptied(REDIS, "it has less than it acknowledged: it was emptied, or is another one")


def _say_begun(starts: Mapping[Partition, Start], reached: Mapping[Partition, int]) -> None:
    """Partitions that begin at the oldest record because the group has no offsets of them."""
    of_old = [part for part, start in starts.items() if start.is_first_time and reached.get(part, 0) > start.offset]
    never = [part for part, start in starts.items() if start.is_first_time and part not in reached]
    if never:
        _log.info("no offsets yet: from the oldest records", action="offset.first", partitions=len(never))
    if of_old:
        _log.warning(
            "Kafka has lost the group's offsets, which Redis knows of: from the oldest records; what was applied is"
            " refused as old",
            action="offset.lost",
            partitions=len(of_old),
        )


def _say_unreachable(part: Partition, records: int) -> None:
    _log.error(
        "Redis is behind the oldest record that there still is: take a snapshot",
        action="redis.unreachable",
        topic=part.topic,
        partition=part.number,
        records=records,
    )


def _offsets(records: Iterable[SourceRecord]) -> dict[Partition, list[int]]:
    """The offsets of each partition's records, in their order."""
    found: dict[tuple[str, int], list[int]] = {}
    for record in records:
        found.setdefault((record.topic, record.partition), []).append(record.offset)
    return {Partition(*each): offsets for each, offsets in found.items()}
