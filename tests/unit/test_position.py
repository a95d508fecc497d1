"""Source positions and the version guard's one rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from consumer.errors import NotAnEnvelope
from consumer.guard.version import Verdict, Version, compare
from consumer.position import Origin, from_source

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
WAL = {
    "connector": "postgresql",
    "sequence": '["900","880"]',
    "lsn": 880,
    "txId": 7,
    "ts_ms": 1_700_000_000_000,
    "snapshot": "false",
}
BASE = Version(0, Origin.STREAMED, "mysql:1", "0000000009/00000000000000000004/0000000000", 1_000_000, "t", 0, 50)

versions = st.builds(
    Version,
    epoch=st.integers(0, 2),
    origin=st.sampled_from(Origin),
    lineage=st.sampled_from(["mysql:0", "mysql:1", "mysql:2", "mariadb:1", "postgresql:0"]),
    order=st.one_of(
        st.integers(0, 5).map(lambda number: f"{number:010d}/{0:020d}/{0:010d}"),
        st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda pair: f"{pair[0]:020d}/{pair[1]:020d}"),
    ),
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


def wal(sequence: str, **source: object) -> Version:
    """The version of a row of PostgreSQL at ``sequence``, in one partition."""
    offset = source.pop("offset", 50)
    assert isinstance(offset, int)
    position = from_source(WAL | {"sequence": sequence} | source)
    return structs.replace(
        BASE,
        origin=position.origin,
        lineage=position.lineage,
        order=position.order,
        ts_ms=position.ts_ms,
        offset=offset,
    )


def test_on_postgresql_the_commit_before_counts_then_the_rows_own_place() -> None:
    sequences = ['["8","99"]', '["9","20"]', '["100","30"]', '["100","31"]']
    assert [wal(each).order for each in sequences] == sorted(wal(each).order for each in sequences)
    assert {from_source(WAL).lineage} == {"postgresql:0"}


def test_the_largest_place_in_the_log_still_sorts() -> None:
    largest = str(2**64 - 1)
    assert wal(f'["{largest}","{largest}"]').order > wal('["9","9"]').order


@pytest.mark.parametrize(
    "sequence", [None, "", "[]", '["1"]', "[null,null]", '["1",null]', '["x","1"]', 880, ["1", "2"]]
)
def test_without_its_sequence_a_row_of_postgresql_is_an_error(sequence: object) -> None:
    with pytest.raises(NotAnEnvelope) as refusal:
        from_source(WAL | {"sequence": sequence})
    assert refusal.value.field == "source.sequence"


@pytest.mark.parametrize(
    ("source", "time"),
    [
        (STREAMED | {"gtid": "uuid:5"}, SourceTime.COMMIT),
        (STREAMED | {"gtid": None}, SourceTime.STATEMENT),
        (STREAMED | {"connector": "mariadb", "gtid": "0-102-5"}, SourceTime.STATEMENT),
        (WAL, SourceTime.COMMIT),
        (WAL | {"sequence": '[null,"5"]'}, SourceTime.COMMIT),
        (WAL | {"snapshot": "incremental"}, SourceTime.READ),
        (STREAMED | {"snapshot": "last"}, SourceTime.READ),
    ],
)
def test_what_the_time_is_the_time_of(source: dict[str, object], time: SourceTime) -> None:
    assert from_source(source).time is time


@pytest.mark.parametrize(
    ("sequence", "snapshot", "origin", "order"),
    [
        ('["900","880"]', "false", "s", (900, 880)),
        ('[null,"880"]', "false", "f", (880, 880)),
        ('[null,"880"]', "first", "r", (880, 880)),
        ('[null, "880"]', "incremental", "i", (880, 880)),
        ('["900","880"]', "incremental", "i", (900, 880)),
    ],
)
def test_where_the_commit_before_is_unknown(sequence: str, snapshot: str, origin: str, order: tuple[int, int]) -> None:
    found = from_source(WAL | {"sequence": sequence, "snapshot": snapshot})
    assert (found.origin, found.order) == (origin, f"{order[0]:020d}/{order[1]:020d}")


def test_a_transaction_that_was_in_progress_at_the_snapshot_comes_after_it() -> None:
    """Its rows lie lower in the log than the snapshot, which did not see them: it was committed after."""
    snapshot = wal('[null,"1000"]', snapshot="true", offset=50)
    first = wal('[null,"980"]', offset=51)
    second = wal('["1010","990"]', offset=52)
    assert compare(first, snapshot, GAP_MS) is Verdict.NEWER
    assert compare(second, snapshot, GAP_MS) is Verdict.NEWER
    assert compare(second, first, GAP_MS) is Verdict.NEWER
    assert compare(snapshot, first, GAP_MS) is Verdict.STALE
    assert compare(first, first, GAP_MS) is Verdict.DUPLICATE


def test_after_a_restart_the_same_row_at_another_position_is_a_duplicate() -> None:
    """A connector that starts again does not know the commit before its first transaction."""
    streamed, first = wal('["900","950"]', offset=50), wal('[null,"950"]', offset=80)
    assert compare(first, streamed, GAP_MS) is Verdict.DUPLICATE
    assert compare(structs.replace(streamed, offset=90), first, GAP_MS) is Verdict.DUPLICATE
    assert compare(wal('[null,"960"]', offset=81), streamed, GAP_MS) is Verdict.NEWER
    interleaved = wal('["900","850"]', offset=50)
    assert compare(wal('[null,"850"]', offset=80), interleaved, GAP_MS) is Verdict.DUPLICATE


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
    "an older position of the same server": (
        structs.replace(BASE, order="0000000008" + BASE.order[10:]),
        Verdict.STALE,
    ),
    "a newer position, an older clock": (
        structs.replace(BASE, order="0000000010" + BASE.order[10:], ts_ms=1),
        Verdict.NEWER,
    ),
    "a duplicate that Connect wrote again": (structs.replace(BASE, offset=900), Verdict.DUPLICATE),
    "the log began again: later offset, lower position, clearly later time": (
        structs.replace(BASE, order="0000000001" + BASE.order[10:], offset=900, ts_ms=BASE.ts_ms + GAP_MS + 1),
        Verdict.NEW_LINEAGE,
    ),
    "the log began again and came to the very same position": (
        structs.replace(BASE, offset=900, ts_ms=BASE.ts_ms + GAP_MS + 1),
        Verdict.NEW_LINEAGE,
    ),
    "later offset, lower position, no clearly later time: a duplicate": (
        structs.replace(BASE, order="0000000001" + BASE.order[10:], offset=900, ts_ms=BASE.ts_ms + GAP_MS),
        Verdict.STALE,
    ),
    "another server took over, later in the partition": (
        structs.replace(BASE, lineage="mysql:2", order="0000000001" + BASE.order[10:], offset=51),
        Verdict.NEW_LINEAGE,
    ),
    "another server, earlier in the partition": (structs.replace(BASE, lineage="mysql:2", offset=49), Verdict.STALE),
    "another server, another topic, no later time": (
        structs.replace(BASE, lineage="mysql:2", topic="x"),
        Verdict.STALE,
    ),
    "an initial snapshot ranks with its own position": (
        structs.replace(BASE, lineage="mysql:0", origin=Origin.SNAPSHOT, order="0000000010" + BASE.order[10:]),
        Verdict.NEWER,
    ),
    "an older snapshot": (
        structs.replace(BASE, lineage="mysql:0", origin=Origin.SNAPSHOT, order="0000000008" + BASE.order[10:]),
        Verdict.STALE,
    ),
    "a second snapshot of an idle database": (
        structs.replace(BASE, lineage="mysql:0", origin=Origin.SNAPSHOT, offset=900),
        Verdict.NEWER,
    ),
    "the snapshot that was read before it, sent again": (
        structs.replace(BASE, lineage="mysql:0", origin=Origin.SNAPSHOT, offset=49),
        Verdict.DUPLICATE,
    ),
    "an operator's epoch outranks": (structs.replace(BASE, epoch=1, order="", offset=0), Verdict.NEWER),
    "another topic's later position": (
        structs.replace(BASE, order="0000000010" + BASE.order[10:], topic="x", offset=0),
        Verdict.NEWER,
    ),
}


def test_below_an_operators_epoch_nothing_is_newer() -> None:
    raised = structs.replace(BASE, epoch=1)
    assert (
        compare(structs.replace(BASE, order="0000000099" + BASE.order[10:], offset=900), raised, GAP_MS)
        is Verdict.STALE
    )


@pytest.mark.parametrize("name", CASES)
def test_the_guard(name: str) -> None:
    candidate, expected = CASES[name]
    assert compare(candidate, BASE, GAP_MS) is expected


def binlog(offset: int, **source: object) -> Version:
    """The version of a row of MySQL, in one partition."""
    at = from_source(STREAMED | source)
    return structs.replace(BASE, lineage=at.lineage, order=at.order, ts_ms=at.ts_ms, offset=offset)


def test_a_gtid_whose_number_fell_after_a_failover_is_no_older() -> None:
    """Its numbers count what one server committed, and another's may be far behind: they are no order."""
    stored = binlog(50, gtid="47a6d12d-e749-11f1-8c59-02fc00000001:9000")
    taken_over = binlog(51, gtid="5c9e1f6a-e749-11f1-8c59-02fc00000002:7", server_id=2, file="binlog.000001")
    later = binlog(52, gtid="5c9e1f6a-e749-11f1-8c59-02fc00000002:6", server_id=2, file="binlog.000001", pos=900)
    back = binlog(53, gtid="47a6d12d-e749-11f1-8c59-02fc00000001:8999", pos=900)
    assert compare(taken_over, stored, GAP_MS) is Verdict.NEW_LINEAGE
    assert compare(later, taken_over, GAP_MS) is Verdict.NEWER
    assert compare(back, later, GAP_MS) is Verdict.NEW_LINEAGE
    assert compare(back, stored, GAP_MS) is Verdict.NEWER
    assert compare(stored, taken_over, GAP_MS) is Verdict.STALE


def test_on_mariadb_the_rows_of_one_transaction_are_told_apart_by_their_count() -> None:
    """Measured on 11.4: three updates of one row in one transaction had the same file, offset and row."""
    source = STREAMED | {"connector": "mariadb", "gtid": "0-102-19"}
    orders = [from_source(source, {"id": "0-102-19", "total_order": count}).order for count in (1, 2, 10)]
    assert orders == sorted(set(orders))
    assert from_source(source).order < orders[0]
    assert from_source(source, {"id": "0-102-19", "total_order": "2"}).order == from_source(source).order


def test_the_first_change_after_a_snapshot_may_begin_at_the_snapshots_position() -> None:
    """Measured on MariaDB: rows of the transaction that comes first carry the position where the snapshot ended."""
    snapshot = structs.replace(BASE, lineage="mariadb:0", origin=Origin.SNAPSHOT)
    first = structs.replace(BASE, lineage="mariadb:102", offset=51)
    assert compare(first, snapshot, GAP_MS) is Verdict.NEWER
    assert compare(snapshot, first, GAP_MS) is Verdict.DUPLICATE
    assert compare(structs.replace(first, offset=60), first, GAP_MS) is Verdict.DUPLICATE


def read_at(place: int, ts_ms: int = BASE.ts_ms) -> Version:
    """The version of a row that was read in MySQL itself where its log ended."""
    order = f"0000000009/{place:020d}/0000000000"
    return Version(0, Origin.READ, "mysql:1", order, ts_ms, "", 0, 0)


def test_a_row_read_in_the_database_stands_between_what_was_before_and_what_came_after() -> None:
    assert compare(read_at(5), BASE, GAP_MS) is Verdict.NEWER
    assert compare(BASE, read_at(5), GAP_MS) is Verdict.STALE
    assert compare(read_at(3), BASE, GAP_MS) is Verdict.STALE
    assert compare(structs.replace(BASE, ts_ms=1), read_at(3), GAP_MS) is Verdict.NEWER
    assert compare(BASE, read_at(4), GAP_MS) is Verdict.NEWER, "it begins where the read stood"
    assert compare(read_at(4), BASE, GAP_MS) is Verdict.STALE


def test_of_an_idle_database_each_read_is_as_true_as_the_last_and_as_its_snapshot() -> None:
    snapshot = structs.replace(BASE, lineage="mysql:0", origin=Origin.SNAPSHOT)
    assert compare(read_at(4), snapshot, GAP_MS) is Verdict.NEWER
    assert compare(snapshot, read_at(4), GAP_MS) is Verdict.DUPLICATE
    assert compare(read_at(4, BASE.ts_ms + 1), read_at(4), GAP_MS) is Verdict.NEWER
    assert compare(read_at(4), read_at(4, BASE.ts_ms + 1), GAP_MS) is Verdict.STALE


def test_after_a_read_the_log_may_begin_again_but_a_replica_that_lags_is_only_old() -> None:
    late = BASE.ts_ms + GAP_MS + 1
    assert compare(structs.replace(BASE, ts_ms=late), read_at(9), GAP_MS) is Verdict.NEW_LINEAGE
    assert compare(structs.replace(BASE, ts_ms=late - 1), read_at(9), GAP_MS) is Verdict.STALE
    assert compare(read_at(3, late), BASE, GAP_MS) is Verdict.STALE
    assert compare(structs.replace(read_at(3, late), lineage="mysql:2"), read_at(9), GAP_MS) is Verdict.NEW_LINEAGE
    assert compare(structs.replace(read_at(99), lineage="mysql:2"), read_at(9), GAP_MS) is Verdict.STALE


def test_beside_a_read_of_postgresql_the_rows_own_place_counts() -> None:
    """Debezium knows of no commit between 700 and the read at 940, for those were of tables it does not follow."""
    read = structs.replace(wal('[null,"940"]', offset=0), origin=Origin.READ, topic="")
    before, after = wal('["700","930"]', offset=60), wal('["700","950"]', offset=61)
    assert compare(after, read, GAP_MS) is Verdict.NEWER
    assert compare(before, read, GAP_MS) is Verdict.STALE
    assert compare(read, before, GAP_MS) is Verdict.NEWER
    assert compare(read, after, GAP_MS) is Verdict.STALE
    assert compare(wal('[null,"940"]', offset=70), read, GAP_MS) is Verdict.NEWER


def test_after_an_incremental_read_only_the_partitions_order_counts() -> None:
    read = structs.replace(BASE, origin=Origin.INCREMENTAL)
    lower = structs.replace(BASE, order="0000000001" + BASE.order[10:])
    assert compare(structs.replace(lower, offset=51), read, GAP_MS) is Verdict.NEWER
    assert compare(structs.replace(lower, offset=49), read, GAP_MS) is Verdict.STALE
