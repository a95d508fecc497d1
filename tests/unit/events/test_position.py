"""Source positions: what Debezium's ``source`` block says of a change's place, time and transaction."""

from __future__ import annotations

import pytest

from consumer.errors import NotAnEnvelope
from consumer.events.position import SourcePosition, from_source

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


def wal(sequence: str, **source: object) -> SourcePosition:
    """Of a row of PostgreSQL."""
    return from_source(WAL | {"sequence": sequence} | source)


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
def test_a_missing_part_is_an_error_that_names_it(field: str) -> None:
    source = {name: value for name, value in STREAMED.items() if name != field}
    with pytest.raises(NotAnEnvelope) as refusal:
        from_source(source)
    assert refusal.value.field == f"source.{field}"


def test_on_postgresql_the_commit_before_counts_then_the_rows_own_place() -> None:
    sequences = ['["8","99"]', '["9","20"]', '["100","30"]', '["100","31"]']
    assert [wal(each).order for each in sequences] == sorted(wal(each).order for each in sequences)
    assert from_source(WAL).lineage == "postgresql:0"


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
    ("sequence", "snapshot", "origin", "before"),
    [
        ('["900","880"]', "false", "s", 900),
        ('[null,"880"]', "false", "s", 880),
        ('[null,"880"]', "first", "r", 880),
        ('[null, "880"]', "incremental", "i", 880),
        ('["900","880"]', "incremental", "i", 900),
    ],
)
def test_where_the_commit_before_is_unknown(sequence: str, snapshot: str, origin: str, before: int) -> None:
    found = wal(sequence, snapshot=snapshot)
    assert (found.origin, found.order) == (origin, f"{before:020d}/{880:020d}/{0:010d}")
    assert found.place == f"{880:020d}"


@pytest.mark.parametrize(
    ("snapshot", "origin"),
    [("false", "s"), (None, "s"), (False, "s"), ("first", "r"), ("true", "r"), ("last", "r"), ("incremental", "i")],
)
def test_how_a_row_was_read(snapshot: object, origin: str) -> None:
    assert from_source(STREAMED | {"snapshot": snapshot}).origin == origin


@pytest.mark.parametrize(
    ("source", "transaction"),
    [
        (STREAMED | {"gtid": "uuid:5"}, "uuid:5"),
        (STREAMED | {"gtid": None}, ""),
        (STREAMED | {"connector": "mariadb", "gtid": "0-102-5"}, "0-102-5"),
        (WAL, "7"),
        (WAL | {"txId": None}, ""),
    ],
)
def test_which_transaction_it_was(source: dict[str, object], transaction: str) -> None:
    assert from_source(source).transaction == transaction


@pytest.mark.parametrize("source", [STREAMED, STREAMED | {"connector": "mariadb", "gtid": "0-102-19"}, WAL])
def test_rows_of_one_transaction_at_one_place_are_told_apart_by_their_count(source: dict[str, object]) -> None:
    """Measured on MariaDB 11.4, and on MySQL with compressed transactions."""
    found = [from_source(source, {"id": "any", "total_order": count}) for count in (1, 2, 10)]
    orders = [each.order for each in found]
    assert orders == sorted(set(orders))
    assert [each.count for each in found] == [1, 2, 10]
    assert from_source(source).order < orders[0]


@pytest.mark.parametrize("count", ["2", 0, -1, None, 1.5])
def test_what_is_no_count_counts_nothing(count: object) -> None:
    assert from_source(STREAMED, {"id": "any", "total_order": count}).count == 0
