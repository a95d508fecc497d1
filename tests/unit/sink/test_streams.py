"""Reading entries of streams, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import redis

from consumer.errors import UnreadableStream
from consumer.mapping.keys import UserId
from consumer.sink import streams
from consumer.sink.streams import Entry, entries, next_id, read_page


class Server:
    """Answers XRANGE as Redis does, from a list of entries; ``asked`` are the ranges."""

    def __init__(self, *ids: str) -> None:
        self._all = [
            [name, ["event_id", name, "user", f"live:{at % 2}", "message", "{}"]] for at, name in enumerate(ids)
        ]
        self.asked: list[tuple[str, ...]] = []

    def ask(self, questions: Sequence[tuple[str, ...]]) -> list[Any]:
        ((command, _, start, end, count, most),) = questions
        assert (command, count) == ("XRANGE", "COUNT")
        self.asked.append((start, end))
        low, high = self._place(start, 0), self._place(end, 2**64)
        return [[each for each in self._all if low <= self._place(each[0], 0) <= high][: int(most)]]

    def _place(self, name: Any, number: int) -> tuple[int, int]:
        ms, dash, rest = name.partition("-")
        return int(ms), int(rest) if dash else number


def test_pages_meet_without_a_gap_and_without_an_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_PAGE", 2)
    server = Server("5-0", "5-1", "5-2", "6-0", "7-9")
    assert [each.id for each in entries(server.ask, "s", 5, 7)] == ["5-0", "5-1", "5-2", "6-0", "7-9"]
    assert server.asked == [("5", "7"), ("5-2", "7"), ("6-1", "7")]
    assert [each.id for each in entries(server.ask, "s", 5, 6)] == ["5-0", "5-1", "5-2", "6-0"]
    assert [each.id for each in entries(server.ask, "s", 0, 7, UserId("live", 1))] == ["5-1", "6-0"]


def test_nothing_more_is_read_than_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_PAGE", 2)
    server = Server("5-0", "5-1", "5-2", "6-0", "7-9")
    assert next(entries(server.ask, "s", 5, 7)).id == "5-0"
    assert len(server.asked) == 1


def test_the_next_id() -> None:
    assert next_id("1795993095089-0") == "1795993095089-1"
    assert next_id("7-99") == "7-100"


def test_a_page_is_read_in_both_forms() -> None:
    fields = {"event_id": "e", "user": "live:7", "message": "{}", "receivers": "3"}
    wanted = [Entry("9-1", "e", "live:7", "{}", 3)]
    assert wanted[0].time_ms == 9
    assert read_page([("9-1", fields)]) == wanted
    assert read_page([["9-1", [part for pair in fields.items() for part in pair]]]) == wanted


def test_what_another_program_wrote_is_no_failure() -> None:
    assert read_page([["9-1", ["receivers", "²", "user", ""]]]) == [Entry("9-1", "", "", "")]
    assert read_page([]) == []


def test_a_stream_that_redis_refuses_to_read_is_no_empty_one() -> None:
    with pytest.raises(UnreadableStream, match="WRONGTYPE no stream"):
        list(entries(lambda _: [redis.ResponseError("WRONGTYPE no stream")], "s", 0, 1))
