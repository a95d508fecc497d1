"""Watermarks: only the unbroken run of finished records is committed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumer.events.record import Partition
from consumer.pipeline.watermark import Watermark

ONE, OTHER = Partition("t", 0), Partition("t", 1)


def started() -> Watermark:
    watermark = Watermark()
    for partition in (ONE, OTHER):
        watermark.start(partition, 0)
    return watermark


@given(
    st.lists(st.integers(0, 50), unique=True)
    .map(sorted)
    .flatmap(lambda offsets: st.tuples(st.just(offsets), st.permutations(offsets)))
)
def test_nothing_past_an_unfinished_record_is_committable(case: tuple[list[int], list[int]]) -> None:
    offsets, finishing = case
    watermark = started()
    for offset in offsets:
        watermark.begin(ONE, [offset])
    finished = set()
    for offset in finishing:
        watermark.finish(ONE, [offset])
        finished.add(offset)
        unfinished = [each for each in offsets if each not in finished]
        done = [each for each in offsets if not unfinished or each < unfinished[0]]
        assert watermark.committable() == ({ONE: done[-1] + 1} if done else {})


def test_partitions_are_apart() -> None:
    watermark = started()
    watermark.begin(ONE, [5])
    watermark.begin(OTHER, [5])
    watermark.finish(OTHER, [5])
    assert watermark.committable() == {OTHER: 6}


def test_what_was_committed_is_not_committed_again() -> None:
    watermark = started()
    watermark.begin(ONE, [5])
    watermark.begin(ONE, [6])
    watermark.finish(ONE, [5])
    offsets = watermark.committable()
    watermark.finish(ONE, [6])
    watermark.committed(offsets)
    assert watermark.committable() == {ONE: 7}
    watermark.committed({ONE: 7})
    assert watermark.committable() == {}


def test_a_partition_that_was_forgotten_takes_no_late_answer() -> None:
    watermark = started()
    watermark.begin(ONE, [5])
    watermark.forget(ONE)
    watermark.finish(ONE, [5])
    assert watermark.committable() == {}


def test_an_older_generation_finishes_nothing() -> None:
    watermark = started()
    watermark.start(ONE, 5, generation=2)
    watermark.begin(ONE, [5])
    assert watermark.generations() == {ONE: 2, OTHER: 0}
    watermark.finish(ONE, [5], generation=1)
    assert watermark.committable() == {}
    watermark.finish(ONE, [5], generation=2)
    assert watermark.committable() == {ONE: 6}


def test_positions_are_where_to_begin_again() -> None:
    watermark = started()
    watermark.start(OTHER, 7)
    watermark.begin(ONE, [5])
    watermark.begin(ONE, [9])
    assert watermark.positions() == {ONE: 5, OTHER: 7}
    watermark.finish(ONE, [5])
    assert watermark.positions() == {ONE: 9, OTHER: 7}
    watermark.finish(ONE, [9])
    assert watermark.positions() == {ONE: 10, OTHER: 7}


def test_a_partition_that_was_started_elsewhere_is_to_be_committed_there() -> None:
    watermark = started()
    assert watermark.committable() == {}
    watermark.start(ONE, 3, is_committed=False)
    assert watermark.committable() == {ONE: 3}
