"""How many dead letters are too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.pipeline.dead_letter_limit import NONE, DeadLetterCounter, Judged, Limit

THREE = Limit(in_a_row=3, share=0.5, window=10)


def judged(text: str) -> Judged:
    """``x`` is a dead letter and ``.`` a good record of topic t, ``X`` and ``o`` the same of topic u."""
    return {at: ("u" if each in "Xo" else "t", each in "xX") for at, each in enumerate(text)}


@pytest.mark.parametrize(
    ("before", "batch", "begin"),
    [
        ("", "xxx", None),
        ("", "xxxx", 0),
        ("", "..xxxx", 2),
        ("xxx", ".x", None),
        ("xxx", "x.", 0),
        ("x", ".xxxx", 1),
        ("", "x.x.xx.x", None),
        ("", "xoxoxox", 0),
        ("xx", "ooooox", None),
        ("", "xXxXxX", None),
        ("", "xx.xx.x.x", 8),
        ("xx.xx.x...", "x", None),
        ("xx.xx.x..", "x", 0),
    ],
)
def test_a_row_of_a_topic_or_a_share_of_its_last_records(before: str, batch: str, begin: int | None) -> None:
    counter = DeadLetterCounter(THREE)
    counter.count(judged(before))
    found = counter.excess(judged(batch))
    assert (found.begin if found else None) == begin


def test_the_words_name_the_topic_and_the_number() -> None:
    in_a_row = DeadLetterCounter(THREE).excess(judged("xxxx"))
    share = DeadLetterCounter(THREE).excess(judged("xx.xx.x.x"))
    assert in_a_row is not None
    assert in_a_row.problem == "4 records of t in a row can't be applied"
    assert share is not None
    assert share.problem == "6 of the last 9 records of t can't be applied"


def test_without_a_limit_above_zero_the_first_is_too_many() -> None:
    found = DeadLetterCounter(NONE).excess(judged("..x."))
    assert found is not None
    assert found.begin == 2


def test_a_topic_ends_with_a_dead_letter_until_a_record_of_its_own_is_good() -> None:
    counter = DeadLetterCounter(THREE)
    assert not counter.ends_with_dead_letter("t")
    counter.count(judged(".xo"))
    assert counter.ends_with_dead_letter("t")
    counter.count(judged("."))
    assert not counter.ends_with_dead_letter("t")


@given(batches=st.lists(st.text("x.Xo", max_size=30), max_size=8))
def test_however_the_records_are_cut_into_batches_the_same_one_is_too_many(batches: list[str]) -> None:
    whole = DeadLetterCounter(THREE).excess(judged("".join(batches)))
    counter = DeadLetterCounter(THREE)
    for batch in batches:
        if (found := counter.excess(judged(batch))) is not None:
            assert whole is not None
            assert whole.problem == found.problem
            return
        counter.count(judged(batch))
    assert whole is None
