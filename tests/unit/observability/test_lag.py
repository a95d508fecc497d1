"""Lag and pauses on a clock of the test's."""

from __future__ import annotations

import pytest

from consumer.events.record import Partition
from consumer.observability.lag import Lag
from consumer.observability.server_waits import ServerWaits

USERS, DEMO = Partition("trading.trading.live_users", 0), Partition("trading.trading.demo_users", 3)


def test_nothing_is_known_of_partitions_before_the_first_look() -> None:
    lag = Lag()
    lag.done({USERS: 900_000})
    assert lag.records == {}
    assert lag.seconds(1000.0, is_blocked=True) == {}


def test_what_is_left_is_as_old_as_what_was_done_last() -> None:
    lag = Lag()
    lag.done({USERS: 900_000})
    lag.looked({USERS: 5, DEMO: 0}, 1000.0)
    assert lag.records == {USERS: 5, DEMO: 0}
    assert lag.seconds(1001.5, is_blocked=False) == {USERS: 101.5, DEMO: 0.0}
    lag.done({USERS: 990_000})
    assert lag.seconds(1001.5, is_blocked=False)[USERS] == 11.5


def test_after_an_idle_time_what_is_left_is_no_older_than_the_last_look() -> None:
    """One record after an hour of silence is not an hour late."""
    lag = Lag()
    lag.done({USERS: 100_000})
    lag.looked({USERS: 0}, 4000.0)
    lag.looked({USERS: 1}, 4001.0)
    assert lag.seconds(4001.0, is_blocked=False) == {USERS: 1.0}


def test_of_a_backlog_that_was_not_begun_only_the_time_since_it_was_seen_is_known() -> None:
    lag = Lag()
    lag.looked({USERS: 70}, 1000.0)
    lag.looked({USERS: 70}, 1010.0)
    assert lag.seconds(1012.0, is_blocked=False) == {USERS: 12.0}


def test_while_something_blocks_nothing_counts_as_up_to_date() -> None:
    lag = Lag()
    lag.looked({USERS: 0}, 1000.0)
    assert lag.seconds(1030.0, is_blocked=True) == {USERS: 30.0}


def test_a_clock_that_is_behind_the_source_gives_no_negative_lag() -> None:
    lag = Lag()
    lag.done({USERS: 2_000_000})
    lag.looked({USERS: 1}, 1000.0)
    assert lag.seconds(1000.0, is_blocked=False) == {USERS: 0.0}


def test_partitions_that_are_somebody_elses_are_forgotten() -> None:
    lag = Lag()
    lag.done({USERS: 1_000})
    lag.looked({USERS: 1}, 1000.0)
    lag.looked({DEMO: 1}, 1001.0)
    lag.looked({USERS: 1, DEMO: 1}, 1002.0)
    assert lag.seconds(1003.0, is_blocked=False) == {USERS: 1.0, DEMO: 2.0}


@pytest.fixture
def pauses() -> ServerWaits:
    return ServerWaits()


def test_a_pause_counts_while_it_lasts(pauses: ServerWaits) -> None:
    assert pauses.seconds(5.0) == {}
    pauses.began("pipeline", "redis", 10.0)
    pauses.began("pipeline", "redis", 12.0)
    assert pauses.servers() == ["redis"]
    assert pauses.seconds(15.0) == {"redis": 5.0}
    pauses.ended("pipeline", 16.0)
    assert pauses.servers() == []
    assert pauses.seconds(99.0) == {"redis": 6.0}


def test_each_server_has_its_own_seconds(pauses: ServerWaits) -> None:
    pauses.began("pipeline", "registry", 10.0)
    pauses.began("pipeline", "redis", 13.0)
    pauses.ended("pipeline", 14.0)
    assert pauses.seconds(20.0) == {"registry": 3.0, "redis": 1.0}


def test_two_who_wait_for_one_server_wait_once(pauses: ServerWaits) -> None:
    pauses.began("pipeline", "kafka", 10.0)
    pauses.began("source", "kafka", 11.0)
    pauses.ended("pipeline", 13.0)
    assert pauses.servers() == ["kafka"]
    pauses.ended("source", 15.0)
    assert pauses.seconds(20.0) == {"kafka": 5.0}


def test_going_on_without_having_waited_is_nothing(pauses: ServerWaits) -> None:
    pauses.ended("pipeline", 10.0)
    assert pauses.seconds(20.0) == {}


def test_of_a_partition_whose_leader_does_not_answer_the_age_grows_from_the_last_look_before() -> None:
    lag = Lag()
    lag.looked({USERS: 0, DEMO: 0}, 1000.0)
    lag.looked({USERS: None, DEMO: 0}, 1030.0)
    assert lag.records == {USERS: 0, DEMO: 0}
    assert lag.seconds(1030.0, is_blocked=True) == {USERS: 30.0, DEMO: 0.0}


def test_a_number_that_is_not_known_now_is_the_one_before() -> None:
    lag = Lag()
    lag.looked({USERS: 7}, 1000.0)
    lag.looked({USERS: None, DEMO: None}, 1030.0)
    assert lag.records == {USERS: 7, DEMO: 0}
