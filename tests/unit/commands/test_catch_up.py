"""Waiting until what a database's log has now is in the topics, and the consumer has come to their ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from consumer.commands.shared.catch_up import CatchUpLimits, wait_for_catch_up
from consumer.events.event import ChangeEvent
from consumer.events.position import SourcePosition
from consumer.events.record import Partition
from consumer.mapping.reference import reference
from consumer.planning.decision import decide
from tests.support.scenario import load_all

DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0]
PART = Partition("trading.trading.live_users", 0)
SOON = CatchUpLimits(settle_s=0.03, limit_s=0.3, look_s=0.01)


def change(offset: int) -> ChangeEvent:
    event = decide(DEPOSIT.record(offset), reference()).event
    assert event is not None
    return event


def place(offset: int, file: int = 3) -> SourcePosition:
    position = change(offset).position
    return replace(position, place=f"{file:010d}{position.place[10:]}", order=f"{file:010d}{position.order[10:]}")


class DatabaseStub:
    """A log whose end moves, look by look; the last one stays."""

    def __init__(self, *ends: SourcePosition) -> None:
        self._ends = list(ends)

    def position(self) -> SourcePosition:
        return self._ends.pop(0) if len(self._ends) > 1 else self._ends[0]


class TopicsStub:
    """What each look finds: the last change of each partition, and then whether the consumer is behind."""

    def __init__(self, newest: Sequence[Sequence[ChangeEvent]], behind: Sequence[bool] = (False,)) -> None:
        self._newest, self._behind = list(newest), list(behind)
        self.looks = 0

    def look(self) -> None:
        """The topics are always the same."""

    def newest(self) -> list[ChangeEvent]:
        self.looks += 1
        return list(self._newest.pop(0) if len(self._newest) > 1 else self._newest[0])

    def ends(self) -> Mapping[Partition, int]:
        return {PART: 9}

    def behind(self, ends: Mapping[Partition, int]) -> frozenset[Partition]:
        is_behind = self._behind.pop(0) if len(self._behind) > 1 else self._behind[0]
        return frozenset(ends) if is_behind else frozenset()


def test_a_change_behind_the_place_says_that_all_before_it_has_arrived() -> None:
    topics = TopicsStub([[change(3)], [change(3)], [change(6)]])
    passage = wait_for_catch_up(DatabaseStub(place(5)), topics, CatchUpLimits(10, 10, 0.01), lambda: False)
    assert (passage.connector_passed, passage.behind, topics.looks) == (True, frozenset(), 3)


def test_a_log_that_does_not_move_gets_some_time() -> None:
    passage = wait_for_catch_up(DatabaseStub(place(5)), TopicsStub([[change(3)]]), SOON, lambda: False)
    assert (passage.connector_passed, passage.behind) == (False, frozenset())


def test_a_consumer_that_catches_up_is_waited_for_and_one_that_does_not_is_told() -> None:
    topics = TopicsStub([[change(6)]], [True, True, False])
    assert not wait_for_catch_up(DatabaseStub(place(5)), topics, SOON, lambda: False).behind
    assert wait_for_catch_up(DatabaseStub(place(5)), TopicsStub([[change(6)]], [True]), SOON, lambda: False).behind == {
        PART
    }


def test_after_a_failover_a_place_in_the_old_log_is_not_behind_one_in_the_new() -> None:
    """The topics still end in changes of file 9 of the old primary; the new one writes file 3."""
    old = replace(change(3), position=place(3, file=9))
    topics = TopicsStub([[old]])
    new = replace(place(5), server="2")
    assert not wait_for_catch_up(DatabaseStub(new), topics, SOON, lambda: False).connector_passed


def test_after_a_failover_and_back_a_place_in_the_servers_old_log_says_nothing() -> None:
    """A server that was built anew has its old id, and begins at file 1. Idle partitions end in changes of file 900."""
    old = replace(change(3), position=place(3, file=900))
    new = replace(change(7), position=place(7, file=1))
    position = place(5, file=1)
    idle = wait_for_catch_up(DatabaseStub(position), TopicsStub([[old]]), SOON, lambda: False)
    assert not idle.connector_passed
    topics = TopicsStub([[old], [old], [old, new]])
    passage = wait_for_catch_up(DatabaseStub(position), topics, CatchUpLimits(10, 10, 0.01), lambda: False)
    assert (passage.connector_passed, topics.looks) == (True, 3)
