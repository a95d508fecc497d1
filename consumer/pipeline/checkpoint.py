"""The position of each partition: what is done, which offsets Redis holds, which are committed in Kafka.

Only this module seeks. Offsets are written first to Redis, beside the data, then committed to Kafka. If Redis comes
back without its last acknowledged writes (a crash between two syncs, or a replica that was behind), its offsets are
older too. The records from there on are read and applied again, and their messages are not published again. No newer
record may be applied before, because then the older ones would count as stale.

If Redis has no offset for a partition, everything that was applied from it is gone: Redis was emptied, while the
program ran, while Redis was away, or before the start. Such a partition is ``lost``. Reading it again would publish its
messages again. So nothing is applied until Redis has offsets of the partitions again
(:mod:`consumer.pipeline.recovery`). A partition is also lost if, at the start, the group has committed an offset after
the oldest record and Redis has no offset.

Each assignment of a partition has a generation. Records that were polled under an older generation are ignored here:
the partition was started again at the group's offset. After a failure, reading resumes at the first record that is not
done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

import structlog

from consumer.errors import Emptied, Place, Reconnected, ServerUnavailable
from consumer.events.record import Partition, SourceRecord
from consumer.guard.history import NO_HISTORY, History
from consumer.pipeline.group_commit import GroupCommit
from consumer.pipeline.protocols import Observer, Polled, Sink, Source, Start
from consumer.pipeline.retry import KAFKA, REDIS, Outages, Retry
from consumer.pipeline.watermark import Watermark

_log = structlog.get_logger(__name__)
_PLACE = attrgetter("topic", "partition")


class Checkpoint:
    """The watermarks of a source's partitions: in memory, in Redis and in Kafka.

    ``history``: forgets a partition that is revoked or read from another offset. It must not rely on records that were
    decided about and not applied.
    """

    def __init__(self, sink: Sink, observer: Observer, outages: Outages, history: History = NO_HISTORY) -> None:
        self._sink = sink
        self._history = history
        self._observer = observer
        self._outages = outages
        self._watermark = Watermark()
        self._may_be_behind = False
        """Redis is back and its offsets are not compared yet. Writing newer offsets now would hide what it lost."""
        self._acknowledged: dict[Partition, int] = {}
        """The offsets that Redis acknowledged. If it has lower ones, it lost writes, even if no connection broke."""
        self._held: dict[Place, SourceRecord] = {}
        self._fresh: dict[Partition, int] = {}
        """The first offset of partitions for which Redis has no offset yet, because nothing was applied before."""
        self._lost: set[Partition] = set()
        self._published: dict[Partition, int] = {}
        """Records below these offsets were published before: apply them, do not publish again."""
        self._group = GroupCommit()
        self._revoked: dict[Partition, tuple[int, int, int]] = {}
        """Revoked partitions: the group's lowest and highest possible offset (:meth:`GroupCommit.forget`), and the
        offset below which everything was published."""

    @property
    def has_held_offsets(self) -> bool:
        """Whether there are dead letters whose offsets may not be committed yet."""
        return bool(self._held)

    @property
    def lost(self) -> Mapping[Partition, int]:
        """The partitions that Redis has lost, each with the offset at which reading resumes."""
        return {part: at for part, at in self._watermark.positions().items() if part in self._lost}

    @property
    def published_up_to(self) -> Mapping[Partition, int]:
        """The offset of each partition below which everything was published."""
        return {part: max(at, self._published.get(part, 0)) for part, at in self._watermark.positions().items()}

    def ends(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """Where reading resumes in all partitions with these numbers: a user's tables have one partition number."""
        numbers = {part.number for part in partitions}
        return {part: at for part, at in self._watermark.positions().items() if part.number in numbers}

    def look(self, source: Source, retry: Retry) -> None:
        """Check that Redis still has its offsets; also called while no records arrive, but not with a batch in flight.

        Raises:
            Emptied: Redis has lost offsets.
            Reconnected: Redis has lower offsets than it acknowledged, or as ServerUnavailable.
            ServerUnavailable: as :meth:`consumer.pipeline.protocols.Sink.stored_offsets`.
        """
        reached = retry(REDIS, self._sink.stored_offsets)
        self._forget_revoked(source)
        if self._watermark.positions().keys() - reached.keys():
            raise _emptied()
        self._check_acknowledged(reached)

    def _check_acknowledged(self, reached: Mapping[Partition, int]) -> None:
        """Raises Reconnected if Redis has lower offsets than it acknowledged."""
        if any(reached.get(part, at) < at for part, at in self._acknowledged.items()):
            raise Reconnected(REDIS, "it has lower offsets than it acknowledged: it lost what it acknowledged last")

    def look_again(self, source: Source, retry: Retry) -> None:
        """While partitions are lost: find out which still are, and check partitions that were assigned since.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`look`.
        """
        self._start(source, retry)
        reached = retry(REDIS, self._sink.stored_offsets)
        self._forget_revoked(source)
        self._lost = set(self._watermark.positions()) - reached.keys() - self._fresh.keys()

    def published(self, records: Sequence[SourceRecord]) -> frozenset[int]:
        """The indexes of the records whose messages were published before, or whose dead letter is acknowledged."""
        if not self._published and not self._held:
            return frozenset()
        return frozenset(at for at, record in enumerate(records) if self._is_published(record))

    def admit(self, source: Source, polled: Polled, retry: Retry) -> Sequence[SourceRecord]:
        """The records that are to be applied now.

        Left out: records of an older assignment, and of partitions that must first be read from an earlier offset.

        Raises:
            Emptied: Redis has lost a partition, so nothing may be applied.
            ServerUnavailable, Reconnected: Redis or Kafka could not be asked. The caller drops the records, and
                :meth:`resume` reads them again.
        """
        behind = self._start(source, retry)
        if self._lost:
            raise _emptied()
        current = self._current(source)
        offsets = _offsets(polled.records)
        admitted = {
            part: polled_offsets
            for part, polled_offsets in offsets.items()
            if part not in behind and part in current and current[part] == polled.generations.get(part)
        }
        for part, begun in admitted.items():
            self._watermark.begin(part, begun)
        if len(admitted) == len(offsets):
            return polled.records
        return [record for record in polled.records if Partition.of(record) in admitted]

    def finish(self, records: Iterable[SourceRecord], generations: Mapping[Partition, int]) -> None:
        """Record that these records, polled under ``generations``, are done."""
        for part, offsets in _offsets(records).items():
            if part in generations:
                self._watermark.finish(part, offsets, generations[part])

    def hold_offset(self, record: SourceRecord) -> None:
        """Do not commit the record's offset yet: its dead letter is acknowledged, but the topic may have too many."""
        self._held[record.place] = record

    def release_offsets(self, is_still_held: Callable[[str], bool] = lambda _: False) -> None:
        """The offsets of dead letters may be committed, except for topics for which ``is_still_held`` is true."""
        released = {place: record for place, record in self._held.items() if not is_still_held(record.topic)}
        self.finish(released.values(), self._watermark.generations())
        for place in released:
            del self._held[place]

    def commit(self, source: Source) -> None:
        """Write the offsets of what is done to Redis, then commit them to Kafka. If a server is away, do it later.

        Raises:
            Reconnected: Redis may have lost some writes.
            Emptied: Redis has lost offsets, and nothing was committed.

        """
        if (offsets := self._stored(source)) and self._group.commit(source, offsets):
            self._note_committed(offsets)

    def begin_commit(self, source: Source) -> None:
        """As :meth:`commit`, without waiting for Kafka. Nothing is done while an earlier commit has no answer."""
        if not self._group.is_open and (offsets := self._stored(source)):
            self._group.begin(source, offsets)

    def see_answer(self) -> None:
        """If Kafka has answered the begun commit: note what is committed.

        Raises:
            ServerError: Kafka refuses the commit for ever.
        """
        if offsets := self._group.answered():
            self._note_committed(offsets)

    def _stored(self, source: Source) -> Mapping[Partition, int]:
        """The offsets that may be committed to Kafka now, because Redis has them."""
        if self._may_be_behind:
            return {}
        self._forget_revoked(source)
        offsets = {part: at for part, at in self._watermark.committable().items() if part not in self._lost}
        if not offsets and not self._outages.is_of(REDIS):
            return {}
        try:
            self._check_acknowledged(self._sink.stored_offsets())  # before they are overwritten
            if not self._sink.advance(offsets):
                raise _emptied()
        except ServerUnavailable as error:
            self._outages.failed(error, 0.0)
            return {}
        self._outages.succeeded(REDIS)
        self._acknowledged |= offsets
        for part in offsets:
            self._fresh.pop(part, None)
        return offsets

    def _note_committed(self, offsets: Mapping[Partition, int]) -> None:
        self._watermark.committed(offsets)
        self._observer.committed(offsets)

    def forget(self, partitions: Collection[Partition]) -> None:
        """The partitions are revoked, or are started again: forget their positions."""
        self._history.forget(partitions)
        positions = self._watermark.positions()
        for part in partitions:
            if part in positions:
                done = max(positions[part], self._published.get(part, 0))
                self._revoked[part] = (*self._group.forget(part), done)
            self._watermark.forget(part)
            for known in (self._published, self._fresh, self._acknowledged):
                known.pop(part, None)
            self._lost.discard(part)
        self._held = {place: record for place, record in self._held.items() if Partition.of(record) not in partitions}

    def resume(self, source: Source, retry: Retry) -> None:
        """After a failure: resume each partition at the first record that is not done, or that Redis has lost.

        A partition for which Redis has no offset becomes :attr:`lost`.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`consumer.pipeline.protocols.Sink.stored_offsets`; call this again.

        """
        self._may_be_behind = True
        self._sink.accept_new_connection()
        self._acknowledged.clear()
        reached = dict(retry(REDIS, self._sink.stored_offsets))
        self._forget_revoked(source)
        positions, generations = self._watermark.positions(), self._watermark.generations()
        gone = positions.keys() - reached.keys()
        self._lost = set(gone - self._fresh.keys())
        self._published |= self._published_of(self._lost)
        # Nothing was applied from partitions that had just started; they start again at the same offset.
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
        # Redis may have higher offsets, if storing the start failed: what it loses below them would not be noticed.
        low = {part: at for part, at in self._watermark.positions().items() if at < reached[part]}
        if begun or low:
            retry(REDIS, lambda: self._sink.store_offsets(begun | low))
        self._may_be_behind = False
        self._log_reread(behind)
        self._start(source, retry)
        self._seek(source, self._watermark.positions())

    def _start(self, source: Source, retry: Retry) -> Collection[Partition]:
        """Start newly assigned partitions at Redis' offset; answers those where Redis' offset is below the group's."""
        self._forget_revoked(source)
        started, generations = self._watermark.generations(), source.assignment()
        fresh = [part for part in generations if part not in started]
        if not fresh:
            return ()
        self._history.forget(fresh)  # it may hold records that were dropped before the partition was revoked
        starts = retry(KAFKA, lambda: source.starts([part for part in fresh if part in source.assignment()]))
        reached = retry(REDIS, self._sink.stored_offsets)
        now = source.assignment()  # the group may have rebalanced while servers were away
        fresh = [part for part in fresh if part in starts and now.get(part) == generations[part]]
        behind = {}
        for part in fresh:
            offset, oldest, is_first_time, is_committed = starts[part]
            at = max(oldest, reached.get(part, offset))
            if part not in reached and offset > oldest and not is_first_time:
                self._lost.add(part)
            elif part not in reached:
                self._fresh[part] = offset
            if at < offset:
                behind[part] = at
                self._published[part] = offset
            self._group.start(part, offset)
            committed, sent, published = self._revoked.pop(part, (0, 0, 0))
            if committed <= offset <= sent and offset < published:  # nobody but this member committed in between
                self._published[part] = published
            is_committed &= at >= offset
            self._watermark.start(part, min(at, offset), generation=generations[part], is_committed=is_committed)
            if part in reached and reached[part] < oldest:
                _log_unreachable(part, oldest - reached[part])
        known = [part for part in fresh if part not in self._lost]
        retry(REDIS, lambda: self._sink.store_offsets(self._started_at(known)))
        _log_begun({part: starts[part] for part in fresh}, reached)
        if behind:
            self._seek(source, behind)
            self._log_reread(behind)
        return behind

    def _published_of(self, lost: Collection[Partition]) -> dict[Partition, int]:
        """For partitions of ``lost``: the offset below which everything was published, if it is above the position."""
        held = {(Partition(place.topic, place.partition), place.offset) for place in self._held}
        return {
            part: max(end, self._published.get(part, 0))
            for part, (end, open_offsets) in self._watermark.begun().items()
            if part in lost and all((part, offset) in held for offset in open_offsets)
        }

    def _started_at(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return {part: offset for part, offset in self._watermark.positions().items() if part in partitions}

    def _current(self, source: Source) -> Mapping[Partition, int]:
        """The started partitions whose assignment has not changed since they were started."""
        assigned = source.assignment()
        return {part: at for part, at in self._watermark.generations().items() if assigned.get(part) == at}

    def _forget_revoked(self, source: Source) -> None:
        if revoked := self._watermark.generations().keys() - self._current(source).keys():
            self.forget(revoked)
            for part in revoked & source.assignment().keys():  # started again in place, maybe in another topic
                self._revoked.pop(part, None)

    def _seek(self, source: Source, offsets: Mapping[Partition, int]) -> None:
        """The only call of the source's seek."""
        current = self._current(source)
        self._history.forget(current.keys() & offsets.keys())
        source.seek({part: offset for part, offset in offsets.items() if part in current})

    def _is_published(self, record: SourceRecord) -> bool:
        return record.offset < self._published.get(Partition.of(record), 0) or record.place in self._held

    def _log_reread(self, behind: Mapping[Partition, int]) -> None:
        # A partition may have been revoked while Redis was asked; then another member reads it.
        counts = [self._published[part] - at for part, at in behind.items() if part in self._published]
        if counts:
            _log.warning(
                "reading records again that Redis may have lost",
                action="redis.reread",
                records=sum(counts),
                partitions=len(counts),
            )


def _emptied() -> Emptied:
    return Emptied(REDIS, "it has less than it acknowledged: it was emptied, or is another one")


def _log_begun(starts: Mapping[Partition, Start], reached: Mapping[Partition, int]) -> None:
    """Log the partitions that start at the oldest record because the group has no offsets of them."""
    of_old = [part for part, start in starts.items() if start.is_first_time and reached.get(part, 0) > start.offset]
    never = [part for part, start in starts.items() if start.is_first_time and part not in reached]
    if never:
        _log.info("no offsets yet: reading from the oldest records", action="offset.first", partitions=len(never))
    if of_old:
        _log.warning(
            "Kafka has lost the group's offsets, but Redis has them: reading from the oldest records; records that were"
            " applied before are refused as old",
            action="offset.lost",
            partitions=len(of_old),
        )


def _log_unreachable(part: Partition, records: int) -> None:
    _log.error(
        "Redis is behind the oldest record that Kafka still has: take a snapshot",
        action="redis.unreachable",
        topic=part.topic,
        partition=part.number,
        records=records,
    )


def _offsets(records: Iterable[SourceRecord]) -> dict[Partition, list[int]]:
    """The offsets of each partition's records, in order."""
    found: dict[tuple[str, int], list[int]] = {}
    for place, run in groupby(records, _PLACE):  # records of one partition mostly follow one another
        found.setdefault(place, []).extend([record.offset for record in run])
    return {Partition(*each): offsets for each, offsets in found.items()}
