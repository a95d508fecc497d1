"""Source positions and the version guard's one rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import NotAnEnvelope
from consumer.position import Origin, Verdict, Version, compare, from_source

GAP_MS = 5000
STREAMED = {
    "connector": "mysql",
    "server_id": 1,
    "file": "binlog.000009",
    "pos": 4,
    "row": 0,
    "ts_ms": 1_700_000_000_000,
    "snapshot": "false",
}
BASE = Version(0, Origin.STREAMED, "mysql:1", "0000000009/00000000000000000004/0000000000", 1_000_000, "t", 0, 50)

versions = st.builds(
    Version,
    epoch=st.integers(0, 2),
    origin=st.sampled_from(Origin),
    lineage=st.sampled_from(["mysql:0", "mysql:1", "mysql:2", "mariadb:1"]),
    order=st.integers(0, 5).map(lambda number: f"{number:010d}/{0:020d}/{0:010d}"),
    ts_ms=st.integers(0, 4).map(lambda number: 1_000_000 + number * 4000),
    topic=st.sampled_from(["t", "u"]),
    partition=st.integers(0, 1),
    offset=st.integers(0, 5),
)


def test_the_binlog_file_number_counts_not_its_text() -> None:
    old = from_source(STREAMED | {"file": "binlog.999999"})
    new = from_source(STREAMED | {"file": "binlog.1000000"})
    assert new.order > old.order


def test_file_then_offset_then_row() -> None:
    positions = [("binlog.000001", 900, 0), ("binlog.000002", 4, 0), ("binlog.000002", 4, 1), ("binlog.000002", 30, 0)]
    orders = [from_source(STREAMED | {"file": file, "pos": pos, "row": row}).order for file, pos, row in positions]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize("field", ["connector", "server_id", "file", "pos", "row", "ts_ms"])
def test_a_missing_part_is_an_error_and_never_the_newest(field: str) -> None:
    source = {name: value for name, value in STREAMED.items() if name != field}
    with pytest.raises(NotAnEnvelope) as refusal:
        from_source(source)
    assert refusal.value.field == f"source.{field}"


@pytest.mark.parametrize(
    ("snapshot", "origin"),
    [("false", "s"), (None, "s"), (False, "s"), ("first", "r"), ("true", "r"), ("last", "r"), ("incremental", "i")],
)
def test_how_a_row_was_read(snapshot: object, origin: str) -> None:
    assert from_source(STREAMED | {"snapshot": snapshot}).origin == origin


@given(versions)
def test_a_version_reads_back_as_it_was_written(version: Version) -> None:
    assert Version.from_text(version.to_text()) == version


@given(versions)
def test_a_replay_is_a_duplicate_and_nothing_before_it_is_newer(version: Version) -> None:
    assert compare(version, version, GAP_MS) is Verdict.DUPLICATE
    assert compare(version, None, GAP_MS) is Verdict.NEWER


@given(versions, versions)
def test_two_versions_are_never_each_newer_than_the_other(one: Version, other: Version) -> None:
    verdicts = {compare(one, other, GAP_MS), compare(other, one, GAP_MS)}
    assert verdicts != {Verdict.NEWER}
    # A snapshot's second read at one position and a log that began again need a later offset: one way only.
    assert verdicts != {Verdict.NEWER, Verdict.NEW_LINEAGE} or one.lineage != other.lineage or one.order != other.order


CASES = {
    "an older position of the same server": (replace(BASE, order="0000000008" + BASE.order[10:]), Verdict.STALE),
    "a newer position, an older clock": (replace(BASE, order="0000000010" + BASE.order[10:], ts_ms=1), Verdict.NEWER),
    "a duplicate that Connect wrote again": (replace(BASE, offset=900), Verdict.DUPLICATE),
    "the log began again: later offset, lower position, clearly later time": (
        replace(BASE, order="0000000001" + BASE.order[10:], offset=900, ts_ms=BASE.ts_ms + GAP_MS + 1),
        Verdict.NEW_LINEAGE,
    ),
    "the log began again and came to the very same position": (
        replace(BASE, offset=900, ts_ms=BASE.ts_ms + GAP_MS + 1),
        Verdict.NEW_LINEAGE,
    ),
    "later offset, lower position, no clearly later time: a duplicate": (
        replace(BASE, order="0000000001" + BASE.order[10:], offset=900, ts_ms=BASE.ts_ms + GAP_MS),
        Verdict.STALE,
    ),
    "another server took over, later in the partition": (
        replace(BASE, lineage="mysql:2", order="0000000001" + BASE.order[10:], offset=51),
        Verdict.NEW_LINEAGE,
    ),
    "another server, earlier in the partition": (replace(BASE, lineage="mysql:2", offset=49), Verdict.STALE),
    "another server, another topic, no later time": (replace(BASE, lineage="mysql:2", topic="x"), Verdict.STALE),
    "an initial snapshot ranks with its own position": (
        replace(BASE, lineage="mysql:0", origin=Origin.SNAPSHOT, order="0000000010" + BASE.order[10:]),
        Verdict.NEWER,
    ),
    "an older snapshot": (
        replace(BASE, lineage="mysql:0", origin=Origin.SNAPSHOT, order="0000000008" + BASE.order[10:]),
        Verdict.STALE,
    ),
    "a second snapshot of an idle database": (
        replace(BASE, lineage="mysql:0", origin=Origin.SNAPSHOT, offset=900),
        Verdict.NEWER,
    ),
    "an operator's epoch outranks": (replace(BASE, epoch=1, order="", offset=0), Verdict.NEWER),
}


@pytest.mark.parametrize("name", CASES)
def test_the_guard(name: str) -> None:
    candidate, expected = CASES[name]
    assert compare(candidate, BASE, GAP_MS) is expected


def test_after_an_incremental_read_only_the_partitions_order_counts() -> None:
    read = replace(BASE, origin=Origin.INCREMENTAL)
    lower = replace(BASE, order="0000000001" + BASE.order[10:])
    assert compare(replace(lower, offset=51), read, GAP_MS) is Verdict.NEWER
    assert compare(replace(lower, offset=49), read, GAP_MS) is Verdict.STALE
