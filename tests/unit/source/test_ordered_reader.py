"""Records of several partitions in the order of their times, whatever order the client gives them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from kafka import TopicPartition

from consumer.errors import ServerUnavailable
from consumer.events.record import SourceRecord
from consumer.settings.sections import Kafka
from consumer.source import ordered_reader
from consumer.source.bounds import Span
from consumer.source.ordered_reader import read_in_order

ONE, OTHER = TopicPartition("a", 0), TopicPartition("b", 0)


class Client:
    """Gives ``step`` records a poll, of the first partition that is not paused and has some."""

    def __init__(self, times: Mapping[TopicPartition, Sequence[int]], step: int) -> None:
        self._times = times
        self._step = step
        self._at = dict.fromkeys(times, 0)
        self._paused: set[TopicPartition] = set()
        self.is_closed = False

    def assign(self, parts: Iterable[TopicPartition]) -> None:
        assert list(parts) == sorted(self._times)

    def seek(self, part: TopicPartition, offset: int) -> None:
        self._at[part] = offset

    def pause(self, *parts: TopicPartition) -> None:
        self._paused.update(parts)

    def resume(self, *parts: TopicPartition) -> None:
        self._paused.difference_update(parts)

    def position(self, part: TopicPartition) -> int:
        return self._at[part]

    def poll(self, timeout_ms: int) -> Mapping[TopicPartition, list[Any]]:
        for part, times in self._times.items():
            begin = self._at[part]
            if part not in self._paused and begin < len(times):
                end = self._at[part] = min(begin + self._step, len(times))
                return {part: [_record(part, offset, times[offset]) for offset in range(begin, end)]}
        return {}

    def close(self, autocommit: bool) -> None:
        self.is_closed = True


def _record(part: TopicPartition, offset: int, time: int) -> SourceRecord:
    return SourceRecord(part.topic, 0, offset, time, None, b"")


def read(monkeypatch: pytest.MonkeyPatch, client: Client, *spans: Span) -> list[tuple[str, int]]:
    monkeypatch.setattr(ordered_reader, "open_consumer", lambda *_, **__: client)
    advanced: list[int] = []
    found = [(each.topic, each.offset) for each in read_in_order(Kafka(), spans, advanced.append)]
    assert sum(advanced) == sum(span.size for span in spans)
    assert client.is_closed
    return found


@pytest.mark.parametrize("step", [1, 2, 5, 100])
@pytest.mark.parametrize("most", [1, 3, 2000])
def test_the_oldest_comes_first_and_a_partition_keeps_its_order(
    monkeypatch: pytest.MonkeyPatch, step: int, most: int
) -> None:
    monkeypatch.setattr(ordered_reader, "_MOST_WAITING", most)
    client = Client({ONE: [10, 20, 30, 5, 40], OTHER: [1, 15, 20, 35, 50]}, step)
    assert read(monkeypatch, client, Span("a", 0, 0, 5), Span("b", 0, 1, 4)) == [
        *(("a", 0), ("b", 1), ("a", 1), ("b", 2), ("a", 2)),
        *(("a", 3), ("b", 3), ("a", 4)),
    ]


def test_no_more_than_a_few_records_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of one partition come after those of the other, and are not all held meanwhile."""
    monkeypatch.setattr(ordered_reader, "_MOST_WAITING", 10)
    times = {ONE: range(1000, 1100), OTHER: range(100)}
    client = Client(times, 5)
    monkeypatch.setattr(ordered_reader, "open_consumer", lambda *_, **__: client)
    for record in read_in_order(Kafka(), [Span("a", 0, 0, 100), Span("b", 0, 0, 100)]):
        if record.topic == "b":
            assert client.position(ONE) <= 15


def test_a_broker_without_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered_reader, "_SILENCE_S", -1.0)
    with pytest.raises(ServerUnavailable, match="no record arrived"):
        read(monkeypatch, Client({ONE: []}, 1), Span("a", 0, 0, 5))


def test_nothing_is_asked_for_empty_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, Client({}, 1), Span("a", 0, 3, 3)) == []
