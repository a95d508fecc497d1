"""Trying again while a server is away: how often, after which pauses, and what is left behind."""

from __future__ import annotations

import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from consumer.errors import ServerUnavailable
from consumer.pipeline.protocols import Observer
from consumer.pipeline.retry import KAFKA, LONGEST_PAUSE_S, REDIS, Outages, Reminder, backoff_s, retry


class Away:
    """A server that is away for so many attempts."""

    def __init__(self, attempts: int) -> None:
        self.left = attempts
        self.asked = 0
        self.paused: list[float] = []
        self.told: list[float] = []

    def __call__(self) -> str:
        self.asked += 1
        if self.left:
            self.left -= 1
            raise ServerUnavailable("Redis", f"away, {self.left} left")
        return "there"

    def wait_for(self, should_stop: bool = False) -> str:
        return retry(
            self,
            sleep=self.paused.append,
            on_wait=lambda _, seconds: self.told.append(seconds),
            should_stop=lambda: should_stop,
        )


def test_each_attempt_that_fails_is_told_and_followed_by_a_longer_pause() -> None:
    server = Away(4)
    assert server.wait_for() == "there"
    assert server.asked == 5
    assert server.told == server.paused
    assert len(server.paused) == 4
    for pause, longest in zip(server.paused, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert longest / 2 <= pause <= longest


def test_pauses_stay_bounded_however_often_it_fails() -> None:
    """An account without its rights for an hour made the power of two too large for a float."""
    pauses = [backoff_s(failures) for failures in range(1, 10_001)]
    assert max(pauses) <= LONGEST_PAUSE_S
    assert min(pauses[6:]) >= LONGEST_PAUSE_S / 2
    assert len(set(pauses[6:106])) == 100, "processes that failed together should not try again together"


def test_a_server_that_fails_ten_thousand_times_is_still_waited_for() -> None:
    server = Away(10_000)
    assert server.wait_for() == "there"
    assert max(server.paused) <= LONGEST_PAUSE_S


@pytest.mark.parametrize(("first_s", "longest_s"), [(1.0, 30.0), (0.5, 0.5)])
def test_the_first_and_the_longest_pause_are_the_callers(first_s: float, longest_s: float) -> None:
    assert first_s / 2 <= backoff_s(1, first_s, longest_s) <= first_s
    assert longest_s / 2 <= backoff_s(10_000, first_s, longest_s) <= longest_s


def test_a_server_that_is_there_is_asked_once() -> None:
    server = Away(0)
    assert server.wait_for() == "there"
    assert (server.asked, server.paused, server.told) == (1, [], [])


def test_told_to_stop_after_the_attempt_at_hand() -> None:
    server = Away(9)
    with pytest.raises(ServerUnavailable, match="8 left"):
        server.wait_for(should_stop=True)
    assert (server.asked, server.paused) == (1, [])


def test_what_goes_well_leaves_nothing_to_the_collector() -> None:
    """It is done for every batch: cycles would be looked through, for long, while changes wait.

    In a process of its own: here the threads of other tests leave cycles too.
    """
    waits = "from tests.unit.pipeline.test_retry import Away; server = Away(0); server.wait_for()"
    counts = "import gc; gc.collect(); gc.disable(); [server.wait_for() for _ in range(100)]; print(gc.collect())"
    done = subprocess.run([sys.executable, "-c", f"{waits}; {counts}"], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "0\n"


class Clock:
    """A clock of the test's."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_lasts_is_said_when_it_begins_when_it_is_another_and_every_so_often() -> None:
    clock = Clock()
    reminder = Reminder(60.0, clock)
    said = []
    for second in range(200):
        clock.now = 100.0 + second
        if reminder.is_due("Redis" if second < 30 else "Kafka"):
            said.append(second)
    assert said == [0, 30, 90, 150]
    assert reminder.lasted_s == 199
    reminder.is_over()
    assert reminder.lasted_s == 0
    assert reminder.is_due("Kafka"), "the next time is another"


def test_an_outage_is_said_once_a_minute_with_its_beginning() -> None:
    """It was said once, and then never: who looked at the last lines an hour later found no reason."""
    clock = Clock()
    outages = Outages(Observer(), 60.0, clock)
    with capture_logs() as lines:
        for second in range(0, 150, 5):
            clock.now = 100.0 + second
            assert outages.failed(ServerUnavailable("Redis", "away", "bring it back"), 5.0) == REDIS
            assert outages.is_of(REDIS)
        outages.succeeded(KAFKA)
        outages.succeeded(REDIS)
    assert [line["action"] for line in lines] == ["redis.waiting"] * 3 + ["redis.resumed"]
    assert lines[0]["advice"] == "bring it back"
    assert lines[-1]["waited_s"] == 145
    assert len({line["since"] for line in lines}) == 1


def test_two_outages_are_said_each_by_itself() -> None:
    clock = Clock()
    outages = Outages(Observer(), 60.0, clock)
    with capture_logs() as lines:
        outages.failed(ServerUnavailable("Redis", "away"), 1.0)
        clock.now += 59
        outages.failed(ServerUnavailable("Kafka", "away"), 1.0)
        clock.now += 1
        outages.failed(ServerUnavailable("Redis", "away"), 1.0)
        outages.failed(ServerUnavailable("Kafka", "away"), 1.0)
    assert [line["action"] for line in lines] == ["redis.waiting", "kafka.waiting", "redis.waiting"]
