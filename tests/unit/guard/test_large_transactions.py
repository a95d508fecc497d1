"""A transaction with more rows than are kept: its memory is bounded, and no change of it is lost."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator, Sequence

import pytest
from msgspec.structs import replace

from consumer.events.event import ChangeEvent
from consumer.guard import open_transaction
from tests.unit.guard.test_history import again, change, firsts, fresh

_ROWS = 3_000


def rows_of_one(changes: Sequence[tuple[int, int, int]], first_count: int = 1) -> Iterator[ChangeEvent]:
    """Rows of one transaction: the user, the old and the new value of each."""
    for at, (user, before, after) in enumerate(changes):
        row = change(5, at, user=user, before=before, after=after, pos=500 + at)
        yield replace(row, position=replace(row.position, count=first_count + at))


@pytest.fixture
def two_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows are kept."""
    monkeypatch.setattr(open_transaction, "MOST_ROWS", 2)


@pytest.mark.usefixtures("two_rows")
def test_a_row_that_is_not_kept_and_changes_back_is_new() -> None:
    history, rows = fresh(), [*rows_of_one([(1, 1, 2), (2, 1, 2), (3, 1, 2), (3, 2, 1), (3, 1, 2)])]
    assert firsts(history, rows) == [None] * 5
    assert firsts(history, [again(each, 5 + at) for at, each in enumerate(rows)]) == [0, 1, 2, 3, 2]


@pytest.mark.usefixtures("two_rows")
def test_a_row_that_is_kept_is_told_apart_as_ever() -> None:
    history, rows = fresh(), [*rows_of_one([(1, 1, 2), (2, 1, 2), (3, 1, 2), (1, 2, 1), (1, 1, 2)])]
    assert firsts(history, rows) == [None] * 5
    assert firsts(history, [again(each, 5 + at) for at, each in enumerate(rows)]) == [0, 1, 2, 3, 0]


def test_the_memory_of_a_transaction_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_transaction, "MOST_ROWS", 100)
    small = kept_bytes(replace_number=True)
    assert kept_bytes(replace_number=False) < 2 * small


def kept_bytes(*, replace_number: bool) -> int:
    """What a history keeps of many rows: each of a transaction of its own, or all of one."""
    history = fresh()
    gc.collect()
    tracemalloc.start()
    for at in range(_ROWS):
        row = change(at if replace_number else 5, at, user=at, pos=500 + at)
        assert (
            history.first_sent(replace(row, position=replace(row.position, count=1 if replace_number else at + 1)))
            is None
        )
    del row
    gc.collect()
    found, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found
