"""Waiting for a server: what is tried, told and left behind."""

from __future__ import annotations

import gc

import pytest

from consumer.errors import ServerUnavailable
from consumer.patience import patiently


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
        return patiently(
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
    for pause, least in zip(server.paused, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert least <= pause <= least + 0.1


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
