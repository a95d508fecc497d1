"""Interruptions on a clock of the test's: what is said, and how long Kafka is left alone."""

from __future__ import annotations

import pytest

from consumer.errors import ServerError, ServerUnavailable
from consumer.pipeline.interruption import Interruption
from consumer.pipeline.protocols import Observer

ERROR = ServerUnavailable("Kafka", "no", "wait")


class _Told(Observer):
    def __init__(self) -> None:
        self.of: list[str] = []

    def interrupted(self, error: ServerError, seconds: float) -> None:
        self.of.append("interrupted")

    def continued(self) -> None:
        self.of.append("continued")


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def told() -> _Told:
    return _Told()


@pytest.fixture
def interruption(clock: _Clock, told: _Told) -> Interruption:
    return Interruption(told, clock)


def test_pauses_grow_up_to_a_limit_and_are_jittered(interruption: Interruption, clock: _Clock) -> None:
    assert interruption.rest_s == 0
    pauses = []
    for number in range(12):
        interruption.failed(ERROR)
        pauses.append(interruption.rest_s)
        longest = min(5.0, 0.1 * 2**number)
        assert longest / 2 <= pauses[-1] <= longest
        clock.now += pauses[-1]
        assert interruption.rest_s < 1e-9
    assert len(set(pauses[6:])) == 6, "two processes that began together should not stay together"


def test_ten_thousand_failures_in_a_row_are_followed_by_pauses_too(interruption: Interruption, clock: _Clock) -> None:
    """An hour of a refused account ended the program: the pause was two to the power of the failures."""
    for _ in range(10_000):
        interruption.failed(ERROR)
        assert 0 < interruption.rest_s <= 5.0
        clock.now += interruption.rest_s


def test_it_is_said_once_and_over_after_a_while_without_failures(
    interruption: Interruption, clock: _Clock, told: _Told, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        interruption.failed(ERROR)
        clock.now += 5.0
        interruption.worked()  # which proves nothing yet
    assert told.of == ["interrupted"] * 3
    clock.now += 3.0
    interruption.worked()
    interruption.worked()
    assert told.of == ["interrupted"] * 3 + ["continued"]
    waiting, resumed = capsys.readouterr().out.splitlines()
    assert "kafka.waiting" in waiting
    assert "advice=wait" in waiting
    assert "kafka.resumed" in resumed
    assert "waited_s=18.0" in resumed


def test_a_connection_that_comes_back_at_once_is_no_news(
    interruption: Interruption, clock: _Clock, told: _Told
) -> None:
    interruption.unconnected(ERROR, str)
    clock.now += 2.9
    interruption.unconnected(ERROR, str)
    interruption.worked()
    interruption.unconnected(ERROR, str)
    assert told.of == []
    clock.now += 3.0
    interruption.unconnected(ERROR, str)
    assert told.of == ["interrupted"]
    assert interruption.rest_s == 0, "the client is at it already"


def test_a_cause_that_is_found_later_is_said_too(
    interruption: Interruption, clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    found = iter(["", "expired", "expired", ""])
    interruption.unconnected(ERROR, lambda: next(found))
    for _ in range(4):
        clock.now += 3.0
        interruption.unconnected(ERROR, lambda: next(found))
    first, second = capsys.readouterr().out.splitlines()
    assert "error=no" in first
    assert "error=expired" in second
    interruption.failed(ERROR, "expired")
    interruption.failed(ERROR)
    interruption.failed(ERROR, "a password")
    (third,) = capsys.readouterr().out.splitlines()
    assert "error='a password'" in third or 'error="a password"' in third


def test_it_is_said_again_once_a_minute_also_where_the_cause_is_known(
    interruption: Interruption, clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    interruption.failed(ERROR)
    clock.now += 5
    interruption.failed(ERROR, "its certificate has expired")
    for _ in range(12):
        clock.now += 10
        interruption.failed(ERROR)
    said = [line for line in capsys.readouterr().out.splitlines() if "kafka.waiting" in line]
    assert len(said) == 4
    assert ["certificate" in line for line in said] == [False, True, True, True]
