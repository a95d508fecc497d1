"""A broker that went away while a range is read: said every few seconds, and no more once records come again."""

from __future__ import annotations

from collections.abc import Iterator

from consumer.source.bounds import Span
from consumer.source.range_reader import Portion, watched

SPAN = Span("t", 0, 0, 3)


def test_it_says_so_every_five_seconds_until_records_come() -> None:
    now, at = 0.0, 0
    said: list[float] = []

    def portions() -> Iterator[Portion]:
        """Each after a second; those that get no further bring nothing."""
        nonlocal now, at
        for count in [1, *[0] * 12, 1, *[0] * 4, 1]:
            now += 1.0
            at += count
            yield SPAN, (), at

    assert [position for *_, position in watched(portions(), said.append, lambda: now)][-1] == 3
    assert said == [5.0, 10.0]
