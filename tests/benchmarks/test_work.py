"""A change is not more work than it was: counted in calls of functions, which are the same on a busy machine."""

from __future__ import annotations

from benchmarks.work import CALLS, MOST, calls_of, counted


def test_no_stage_has_grown_much() -> None:
    found = counted()
    assert found.keys() == CALLS.keys()
    assert {name: calls for name, calls in found.items() if calls > MOST * CALLS[name]} == {}


def test_every_call_is_counted_and_nothing_is_left_behind() -> None:
    def twice() -> list[int]:
        return [len(()), len("")]

    assert calls_of(twice) == calls_of(twice) == 3 + 1  # the last one ends the count
