"""A Redis, as a sink, whose connection breaks in the middle of answers and which then has lost writes; and a member.

A real server can't be made to lose exactly what it has just answered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from consumer.errors import Reconnected, ServerError, ServerUnavailable
from consumer.events.record import Partition, SourceRecord
from consumer.guard.version import Verdict, Version, compare
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from tests.support.group import GroupSource

TOPIC = "t.trading.live_users"
PART = Partition(TOPIC, 0)


class LossyRedis:
    """Guards and offsets. After ``breaks_after`` answers the connection breaks and all guards are lost; below 0: never.

    ``told``: the messages that were published.
    """

    def __init__(self, breaks_after: int) -> None:
        self.versions: dict[object, Version] = {}
        self.offsets: dict[Partition, int] = {}
        self.told: list[str] = []
        self.breaks_after = breaks_after
        self.is_new = False

    def _check(self) -> None:
        if self.is_new:
            raise Reconnected("Redis", "connected anew")

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        self._check()
        return self._answers(plans)

    def _answers(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        for at, plan in enumerate(plans):
            if self.breaks_after == 0:
                self.breaks_after = -1
                self.versions.clear()  # this batch was the first: Redis lost all of it
                self.is_new = True
                raise ServerUnavailable("Redis", "the connection broke")
            self.breaks_after -= 1
            said = compare(plan.version, self.versions.get((plan.user, plan.table)))
            if said is Verdict.NEWER:
                self.versions[plan.user, plan.table] = plan.version
                self.told += plan.bodies
            yield at, Applied(said, None, None, 0, 0)

    def store_offsets(self, offsets: Mapping[Partition, int], replay_key: str = "") -> bool:
        self._check()
        self.offsets |= offsets
        return True

    def advance(self, offsets: Mapping[Partition, int]) -> bool:
        return self.store_offsets({part: max(at, self.offsets.get(part, 0)) for part, at in offsets.items()})

    def stored_offsets(self) -> Mapping[Partition, int]:
        self._check()
        return dict(self.offsets)

    def store_stop_offsets(self, offsets: Mapping[Partition, int]) -> None: ...
    def delete_stop_offsets(self, partitions: Collection[Partition]) -> None: ...

    def accept_new_connection(self) -> None:
        self.is_new = False


class Member(GroupSource):
    """A member of a group. ``dry``: polls without records in a row. So many of its pauses are ``rebalances``."""

    dry = 0
    rebalances = 1

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        found = super().poll(timeout_s)
        self.dry = 0 if found else self.dry + 1
        return found

    def idle(self, seconds: float) -> None:
        if self.rebalances:
            self.rebalances -= 1
            self._group.rebalance()  # every member revokes and gets its partitions again
        super().idle(seconds)
