"""A change is not more work than it was: counted in calls of functions, which are the same on a busy machine."""

from __future__ import annotations

import msgspec

from benchmarks.envelopes import changes
from benchmarks.memory import TOPIC
from benchmarks.work import CALLS, MOST, calls_of, counted
from consumer.events.envelope import parse
from consumer.events.record import SourceRecord


def test_no_stage_has_grown_much() -> None:
    found = counted()
    assert found.keys() == CALLS.keys()
    assert {name: calls for name, calls in found.items() if calls > MOST * CALLS[name]} == {}


def test_what_the_process_has_decoded_before_does_not_count() -> None:
    """The columns of a topic with many lists of columns are not expected, and then decoding takes more calls."""
    before = counted()
    _, key, value = next(changes(1, 1, 1))
    for extra in range(20):
        envelope = msgspec.json.decode(value)
        envelope["after"][f"column_{extra}"] = extra
        parse(SourceRecord(TOPIC, 0, extra, 0, key, msgspec.json.encode(envelope)))
    assert counted() == before


def test_every_call_is_counted_and_nothing_is_left_behind() -> None:
    def twice() -> list[int]:
        return [len(()), len("")]

    assert calls_of(twice) == calls_of(twice) == 3 + 1  # the last one ends the count
