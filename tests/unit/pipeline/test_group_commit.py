"""Commits of the group's offsets: they are begun, answered later, and never lower an offset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from consumer.events.record import Partition
from consumer.pipeline.group_commit import GroupCommit
from consumer.pipeline.protocols import BegunCommit, Source

A, B = Partition("t", 0), Partition("t", 1)


class Kafka:
    """Answers a begun commit when ``answer`` is set; keeps what it was asked to commit."""

    def __init__(self) -> None:
        self.asked: list[Mapping[Partition, int]] = []
        self.answer: bool | None = None

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        self.asked.append(offsets)
        return True

    def begin_commit(self, offsets: Mapping[Partition, int]) -> BegunCommit:
        self.asked.append(offsets)
        return lambda: self.answer


def _started() -> tuple[GroupCommit, Kafka, Source]:
    group, kafka = GroupCommit(), Kafka()
    group.start(A, 10)
    group.start(B, 20)
    return group, kafka, cast("Source", kafka)


def test_the_answer_is_seen_once() -> None:
    group, kafka, source = _started()
    group.begin(source, {A: 12})
    seen = [(group.answered(), group.is_open)]
    kafka.answer = True
    seen += [(group.answered(), group.is_open), (group.answered(), group.is_open)]
    assert seen == [({}, True), ({A: 12}, False), ({}, False)]
    assert group.forget(A) == (12, 12)


def test_a_refused_commit_changes_nothing() -> None:
    group, kafka, source = _started()
    group.begin(source, {A: 12})
    kafka.answer = False
    assert group.answered() == {}
    assert not group.is_open
    assert group.forget(A) == (10, 12)


def test_records_that_are_read_again_do_not_lower_the_groups_offset() -> None:
    group, kafka, source = _started()
    group.begin(source, {A: 12, B: 25})
    assert group.commit(source, {A: 5, B: 26}), "while the first has no answer"
    assert kafka.asked[-1] == {A: 12, B: 26}
    kafka.answer = True
    assert group.answered() == {}, "the later commit tells more"
    group.commit(source, {A: 11})
    assert kafka.asked[-1] == {A: 12}


def test_a_commit_without_an_answer_may_be_the_groups_offset() -> None:
    """Kafka may have made it after the time in which the answer was waited for."""
    group, kafka, source = _started()
    group.begin(source, {A: 12})
    kafka.answer = False
    assert group.answered() == {}
    group.commit(source, {A: 11})
    assert kafka.asked[-1] == {A: 12}
    group.forget(A)
    group.start(A, 10)
    group.commit(source, {A: 11})
    assert kafka.asked[-1] == {A: 11}, "assigned again: Kafka told the group's offset"


def test_of_several_commits_without_an_answer_each_may_be_the_groups_offset() -> None:
    group, kafka, source = _started()
    for offset in (15, 17):
        group.begin(source, {A: offset})
        kafka.answer = False
        assert group.answered() == {}
    assert group.forget(A) == (10, 17)


def test_the_answer_about_a_revoked_partition_is_not_waited_for() -> None:
    group, kafka, source = _started()
    group.begin(source, {A: 12, B: 25})
    assert group.forget(A) == (10, 12)
    kafka.answer = True
    assert not group.is_open
    assert group.answered() == {}
    assert group.forget(B) == (20, 25)
