"""Trying again while a server is away: how often, after which pauses, and what is left behind."""

from __future__ import annotations

import gc

import pytest

from consumer.errors import ServerUnavailable
from consumer.pipeline.retry import LONGEST_PAUSE_S, backoff_s, retry


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
    """It is done for every batch: cycles would be looked through, for long, while changes wait."""
    server = Away(0)
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            server.wait_for()
        assert gc.collect() == 0
    finally:
        gc.enable()
