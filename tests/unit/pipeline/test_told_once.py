"""A process that lives on tells nothing twice, also if a partition goes and comes back while Redis loses writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.envelopes import changes
from consumer.events.record import Partition, SourceRecord
from consumer.mapping.reference import reference
from consumer.pipeline.loop import Pipeline
from consumer.pipeline.protocols import BegunCommit
from tests.support.group import Group
from tests.unit.pipeline.lossy_redis import PART, TOPIC, LossyRedis, Member


def run(rebalances: int) -> list[str]:
    group = Group(partitions=[PART])
    group.send(SourceRecord(TOPIC, 0, at, 1, key, value) for at, (_, key, value) in enumerate(changes(50, 50, 1)))
    sink = LossyRedis(breaks_after=40)
    pipeline = Pipeline(sink, reference(), commit_interval_s=0)
    source = Member(group, pipeline.revoked, 500)
    source.rebalances = rebalances
    source.subscribe()
    pipeline.run(source, lambda: source.dry >= 4)
    assert group.committed == {PART: 50}
    return sink.told


def test_without_a_rebalance_nothing_is_told_again() -> None:
    told = run(0)
    assert len(told) == len(set(told))


def test_with_a_rebalance_in_the_pause_nothing_is_told_again_either() -> None:
    told = run(1)
    assert len(told) == len(set(told))


class Silent(Member):
    """A commit reaches Kafka and no answer comes back; while the group rebalances, a commit is refused."""

    is_silent = False

    def begin_commit(self, offsets: Mapping[Partition, int]) -> BegunCommit:
        if not self.is_silent:
            return super().begin_commit(offsets)
        self.commit_for_real(offsets)
        return lambda: None

    def commit_for_real(self, offsets: Mapping[Partition, int]) -> None:
        super().commit(offsets)

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        return False if self.is_silent else super().commit(offsets)


def test_what_was_told_by_this_process_is_not_told_again() -> None:
    group = Group(partitions=[PART])
    group.send(SourceRecord(TOPIC, 0, at, 1, key, value) for at, (_, key, value) in enumerate(changes(50, 50, 1)))
    sink = LossyRedis(breaks_after=-1)
    pipeline = Pipeline(sink, reference(), commit_interval_s=0)
    source = Silent(group, pipeline.revoked, 10)
    source.rebalances = 0
    at_poll = {"polls": 0}
    poll = source.poll

    def staged(timeout_s: float) -> Sequence[SourceRecord]:
        at_poll["polls"] += 1
        if at_poll["polls"] == 3:  # 20 records are told; 20 is committed and answered, or nearly
            kept = dict(sink.versions), dict(sink.offsets)
            source.kept = kept  # type: ignore[attr-defined]
            source.is_silent = True
        if at_poll["polls"] == 5:  # 40 are told; the commit of 30 has reached Kafka, and nobody knows
            sink.versions, sink.offsets = source.kept  # type: ignore[attr-defined]
            sink.is_new = True
            group.rebalance()
        if at_poll["polls"] == 6:
            source.is_silent = False
        return poll(timeout_s)

    source.poll = staged  # type: ignore[method-assign]
    source.subscribe()
    pipeline.run(source, lambda: source.dry >= 4)
    assert group.committed == {PART: 50}
    again = {body for body in sink.told if sink.told.count(body) > 1}
    assert len(again) == 0
