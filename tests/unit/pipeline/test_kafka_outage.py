"""Outages of Kafka on a clock of the test's: what is said, and how long Kafka is left alone."""

from __future__ import annotations

import pytest

from consumer.errors import ServerError, ServerUnavailable
from consumer.pipeline.kafka_outage import KafkaOutage
from consumer.pipeline.protocols import Observer

ERROR = ServerUnavailable("Kafka", "no", "wait")


class _Told(Observer):
    def __init__(self) -> None:
        self.of: list[str] = []

    def interrupted(self, error: ServerError, seconds: float) -> None:
        self.of.append("interrupted")

    def source_available(self) -> None:
        self.of.append("available")


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
def outage(clock: _Clock, told: _Told) -> KafkaOutage:
    return KafkaOutage(told, clock)


def test_pauses_grow_up_to_a_limit_and_are_jittered(outage: KafkaOutage, clock: _Clock) -> None:
    assert outage.rest_s == 0
    pauses = []
    for number in range(12):
        outage.failed(ERROR)
        pauses.append(outage.rest_s)
        longest = min(5.0, 0.1 * 2**number)
        assert longest / 2 <= pauses[-1] <= longest
        clock.now += pauses[-1]
        assert outage.rest_s < 1e-9
    assert len(set(pauses[6:])) == 6, "two processes that began together should not stay together"


def test_ten_thousand_failures_in_a_row_are_followed_by_pauses_too(outage: KafkaOutage, clock: _Clock) -> None:
    """An hour of a refused account ended the program: the pause was two to the power of the failures."""
    for _ in range(10_000):
        outage.failed(ERROR)
        assert 0 < outage.rest_s <= 5.0
        clock.now += outage.rest_s


def test_it_is_said_once_and_over_after_a_while_without_failures(
    outage: KafkaOutage, clock: _Clock, told: _Told, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        outage.failed(ERROR)
        clock.now += 5.0
        outage.worked()  # which proves nothing yet
    assert told.of == ["interrupted"] * 3
    clock.now += 3.0
    outage.worked()
    outage.worked()
    assert told.of == ["interrupted"] * 3 + ["available"]
    waiting, resumed = capsys.readouterr().out.splitlines()
    assert "kafka.waiting" in waiting
    assert "advice=wait" in waiting
    assert "kafka.resumed" in resumed
    assert "waited_s=18.0" in resumed


def test_a_connection_that_comes_back_at_once_is_no_news(outage: KafkaOutage, clock: _Clock, told: _Told) -> None:
    outage.unconnected(ERROR, str)
    clock.now += 2.9
    outage.unconnected(ERROR, str)
    outage.worked()
    outage.unconnected(ERROR, str)
    assert told.of == []
    clock.now += 3.0
    outage.unconnected(ERROR, str)
    assert told.of == ["interrupted"]
    assert outage.rest_s == 0, "the client is at it already"


def test_the_client_gets_its_grace_also_if_the_search_for_the_cause_takes_long(
    outage: KafkaOutage, clock: _Clock
) -> None:
    searches = 0

    def search() -> str:
        nonlocal searches
        searches += 1
        clock.now += 8.0
        return ""

    outage.unconnected(ERROR, search)
    clock.now += 3.0
    for _ in range(10):
        outage.unconnected(ERROR, search)
        clock.now += 0.2
    assert searches == 1


def test_a_cause_that_is_found_later_is_said_too(
    outage: KafkaOutage, clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    found = iter(["", "expired", "expired", ""])
    outage.unconnected(ERROR, lambda: next(found))
    for _ in range(4):
        clock.now += 3.0
        outage.unconnected(ERROR, lambda: next(found))
    first, second = capsys.readouterr().out.splitlines()
    assert "error=no" in first
    assert "error=expired" in second
    outage.failed(ERROR, "expired")
    outage.failed(ERROR)
    outage.failed(ERROR, "a password")
    (third,) = capsys.readouterr().out.splitlines()
    assert "error='a password'" in third or 'error="a password"' in third


def test_it_is_said_again_once_a_minute_also_where_the_cause_is_known(
    outage: KafkaOutage, clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    outage.failed(ERROR)
    clock.now += 5
    outage.failed(ERROR, "its certificate has expired")
    for _ in range(12):
        clock.now += 10
        outage.failed(ERROR)
    said = [line for line in capsys.readouterr().out.splitlines() if "kafka.waiting" in line]
    assert len(said) == 4
    assert ["certificate" in line for line in said] == [False, True, True, True]
