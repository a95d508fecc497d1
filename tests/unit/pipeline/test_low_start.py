"""A partition that starts below the offset that Redis has, while Redis does not take the lower one at once."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.envelopes import changes
from consumer.errors import Reconnected
from consumer.events.record import Partition, SourceRecord
from consumer.mapping.reference import reference
from consumer.pipeline.loop import Pipeline
from tests.support.group import Group
from tests.unit.pipeline.lossy_redis import PART, TOPIC, LossyRedis, Member


class RefusingOnce(LossyRedis):
    """Its connection is new when the start is to be stored."""

    refusals = 1

    def store_offsets(self, offsets: Mapping[Partition, int], replay_key: str = "") -> bool:
        if offsets and self.refusals:
            self.refusals -= 1
            self.is_new = True
            raise Reconnected("Redis", "connected anew")
        return super().store_offsets(offsets, replay_key)


def test_the_lower_offset_is_stored_after_all() -> None:
    """Else writes that Redis loses below its own offset would never be noticed."""
    group = Group(partitions=[PART])
    group.send(SourceRecord(TOPIC, 0, at, 1, key, value) for at, (_, key, value) in enumerate(changes(20, 20, 1)))
    sink = RefusingOnce(breaks_after=-1)
    sink.offsets = {PART: 1000}  # of the topic that had this name before
    group.committed = {PART: 0}
    pipeline = Pipeline(sink, reference(), commit_interval_s=0)
    source = Member(group, pipeline.revoked, 10)
    source.rebalances = 0
    source.subscribe()
    pipeline.run(source, lambda: source.dry >= 4)
    assert sink.refusals == 0
    assert sink.offsets == {PART: 20}
