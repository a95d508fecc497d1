"""Which of two changes is the newer: the version guard's one rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from consumer.events.position import Origin
from consumer.guard.version import NOWHERE, Verdict, Version, compare, compare_letter, is_of_deleted

BASE = Version(0, Origin.STREAMED, 1_000_500, 1_000_000, "t", 0, 50)

# Of different lengths too: the script compares a part of two texts by its place, and numbers by their digits.
versions = st.builds(
    Version,
    epoch=st.sampled_from([0, 1, 10]),
    origin=st.sampled_from(Origin),
    written_ms=st.integers(0, 3).map(lambda number: 1_000_000 + number),
    ts_ms=st.integers(0, 3).map(lambda number: 1_000_000 + number),
    topic=st.sampled_from(["t", "u"]),
    partition=st.sampled_from([0, 10]),
    offset=st.sampled_from([0, 1, 9, 10, 11]),
)


@given(versions)
def test_a_version_reads_back_as_it_was_written(version: Version) -> None:
    assert Version.from_text(version.to_text()) == version
    assert Version.from_text(version.to_text() + "|d") == version


@given(versions)
def test_a_change_is_a_duplicate_of_itself_and_newer_than_nothing(version: Version) -> None:
    assert compare(version, version) in (Verdict.DUPLICATE, Verdict.STALE)
    assert compare(version, None) is Verdict.NEWER


@given(versions, versions)
def test_two_versions_are_never_each_newer_than_the_other(one: Version, other: Version) -> None:
    is_anew = one.offset != other.offset and one.partition == other.partition and one.topic == other.topic
    verdicts = {compare(one, other), compare(other, one)}
    assert verdicts != {Verdict.NEWER} or is_anew


CASES = {
    "a later offset": (structs.replace(BASE, offset=51), Verdict.NEWER),
    "a later offset with older clocks": (structs.replace(BASE, offset=51, ts_ms=1, written_ms=1), Verdict.NEWER),
    "an earlier offset": (structs.replace(BASE, offset=49), Verdict.STALE),
    "an earlier offset whose statement began later": (structs.replace(BASE, offset=49, ts_ms=2_000_000), Verdict.STALE),
    "an earlier offset that Connect wrote later": (
        structs.replace(BASE, offset=49, written_ms=2_000_000),
        Verdict.STALE,
    ),
    "the very record": (BASE, Verdict.DUPLICATE),
    "a topic made anew: an earlier offset, both times later": (
        structs.replace(BASE, offset=3, ts_ms=2_000_000, written_ms=2_000_000),
        Verdict.NEWER,
    ),
    "a topic made anew: the same offset, both times later": (
        structs.replace(BASE, ts_ms=2_000_000, written_ms=2_000_000),
        Verdict.NEWER,
    ),
    "another partition, written later": (
        structs.replace(BASE, partition=1, offset=0, written_ms=1_000_501),
        Verdict.NEWER,
    ),
    "another partition, written earlier": (
        structs.replace(BASE, partition=1, offset=900, written_ms=1_000_499, ts_ms=2_000_000),
        Verdict.STALE,
    ),
    "another partition in the same millisecond, changed later": (
        structs.replace(BASE, partition=1, ts_ms=1_000_001),
        Verdict.NEWER,
    ),
    "another partition in the same millisecond": (structs.replace(BASE, partition=1), Verdict.STALE),
    "another topic, written later": (structs.replace(BASE, topic="u", offset=0, written_ms=1_000_501), Verdict.NEWER),
    "an operator's higher epoch": (structs.replace(BASE, epoch=1, offset=0), Verdict.NEWER),
}


@pytest.mark.parametrize("name", CASES)
def test_the_guard(name: str) -> None:
    candidate, expected = CASES[name]
    assert compare(candidate, BASE) is expected


EARLIER = structs.replace(BASE, offset=900, ts_ms=1, written_ms=1)


def test_a_letter_from_before_its_topic_was_created_again_is_stale() -> None:
    assert compare(EARLIER, BASE) is Verdict.NEWER
    assert compare_letter(EARLIER, BASE) is Verdict.STALE
    for one_time in ({"ts_ms": BASE.ts_ms}, {"written_ms": BASE.written_ms}):
        assert compare_letter(structs.replace(EARLIER, **one_time), BASE) is Verdict.NEWER
    assert compare_letter(structs.replace(EARLIER, epoch=1), BASE) is Verdict.NEWER, "an operator's epoch"
    assert compare_letter(EARLIER, None) is Verdict.NEWER


@given(versions, versions)
def test_a_letter_is_never_newer_where_a_change_is_not(candidate: Version, stored: Version) -> None:
    assert compare_letter(candidate, stored) in (compare(candidate, stored), Verdict.STALE)


def test_below_an_operators_epoch_nothing_is_newer() -> None:
    later = structs.replace(BASE, offset=900, written_ms=2_000_000, ts_ms=2_000_000)
    assert compare(later, structs.replace(BASE, epoch=1)) is Verdict.STALE


def test_every_change_is_newer_than_that_of_a_user_of_whom_no_record_is_known() -> None:
    assert compare(BASE, NOWHERE) is Verdict.NEWER
    assert compare(NOWHERE, BASE) is Verdict.STALE


OLD = {
    "a streamed change": "0|s|mysql:1|0000000009/00000000000000000004/0000000000|1000000|t|0|50",
    "the first transaction on PostgreSQL": "0|f|postgresql:0|00000000000000000880/00000000000000000880|1000000|t|0|50",
    "a deleted user": "0|s|mariadb:1|0000000009/00000000000000000004/0000000000/0000000001|1000000|t|0|50|d",
}


@pytest.mark.parametrize("name", OLD)
def test_what_version_0_1_wrote_is_understood(name: str) -> None:
    stored = Version.from_text(OLD[name])
    assert (stored.topic, stored.partition, stored.offset, stored.ts_ms) == ("t", 0, 50, 1_000_000)
    assert compare(BASE, stored) is Verdict.DUPLICATE, "the record that was applied, read again"
    assert compare(structs.replace(BASE, offset=49), stored) is Verdict.STALE
    assert compare(structs.replace(BASE, offset=51, ts_ms=1, written_ms=1), stored) is Verdict.NEWER
    assert is_of_deleted(OLD[name]) == OLD[name].endswith("|d")


def test_a_row_that_version_0_1_read_in_the_database_is_older_than_what_was_written_after() -> None:
    read = Version.from_text("0|q|mysql:1|0000000009/00000000000000000004/0000000000|1000400||0|0")
    assert compare(BASE, read) is Verdict.NEWER
    assert compare(structs.replace(BASE, written_ms=1_000_300, ts_ms=1_000_200), read) is Verdict.STALE


@pytest.mark.parametrize("text", ["", "nonsense", "0|s|t:1||2|t|0", "x|s|t:1||2|t|0|5", "0|z|t:1||2|t|0|5"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # of several kinds, and the caller asks for no more
        Version.from_text(text)
