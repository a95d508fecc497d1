"""A broker that went away while a range is read: said every few seconds, and no more once records come again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from kafka import TopicPartition

from consumer.replay.bounds import Span
from consumer.replay.reader import read

PART = TopicPartition("t", 0)


class Broker:
    """A client that gets nothing in some polls, each of a second. A real broker would have to be killed for it."""

    def __init__(self, polls: list[int]) -> None:
        self.polls = polls
        self.now = 0.0
        self.at = 0

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        self.now += 1.0
        count = self.polls.pop(0)
        records = [SimpleNamespace(offset=self.at + each) for each in range(count)]
        self.at += count
        return {PART: records} if records else {}

    def position(self, part: TopicPartition) -> int:
        return self.at

    def assign(self, parts: list[TopicPartition]) -> None: ...
    def seek(self, part: TopicPartition, offset: int) -> None: ...
    def pause(self, part: TopicPartition) -> None: ...
    def close(self, autocommit: bool) -> None: ...


def test_it_says_so_every_five_seconds_until_records_come() -> None:
    broker = Broker([1, *[0] * 12, 1, *[0] * 4, 1])
    said: list[float] = []
    read_so_far = [
        len(records) for _, records, _ in read(broker, [Span("t", 0, 0, 3)], said.append, clock=lambda: broker.now)
    ]
    assert sum(read_so_far) == 3
    assert said == [5.0, 10.0]
