"""The parts of the judgement that need no server: it sees every wrong, and is content with what should be."""

from __future__ import annotations

import pytest

from tests.chaos.ear import Heard
from tests.chaos.script import MONEY, Told
from tests.e2e.failover.judgement import out_of_order, told_late, went_back
from tests.e2e.failover.ledger import GONE
from tests.e2e.failover.redis_monitor import Writes

CONFIG, BALANCE = "user:{live:1}:config", "user_balance:live:1"
RIGHT = ["1", "2", GONE, "3", "4"]


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        (["1", "2", GONE, "3", "4"], []),
        (["1", "2", "2", "4"], []),
        (["1", "3", "2"], [("2", "3")]),
        (["3", "2", GONE, "4"], [("2", "3"), (GONE, "3")]),
        (["1", "7"], [("7", "1")]),
    ],
    ids=["all", "some, one twice", "an older one", "two older ones", "one that never was"],
)
def test_what_lies_before_its_predecessor_is_out_of_order(seen: list[str], wrong: list[tuple[str, str]]) -> None:
    assert list(out_of_order(RIGHT, seen)) == wrong


def test_a_database_that_went_back_may_take_redis_with_it() -> None:
    writes = {1: {CONFIG: ["1", "2", "3", "1", "4"]}}
    assert not list(went_back({1: ["1", "2", "3", "1", "4"]}, writes))
    assert list(went_back({1: ["1", "2", "3", "4"]}, writes)) == [f"went back: {CONFIG} was written with 1 after 3"]


def test_a_late_message_names_user_and_channel() -> None:
    heard = [Heard(Told("live:1", MONEY, token), token) for token in ("b", "a")]
    assert list(told_late({("live:1", MONEY): ["a", "b"]}, heard)) == [f"told late: a after b, to live:1 on {MONEY}"]


def test_writes_are_the_states_of_each_key() -> None:
    writes = Writes()
    for command in (
        ["EVALSHA", "0123", "1", "cdc:{live:1}"],
        ["hset", CONFIG, "group", "A", "net_profit", "1.00"],
        ["set", BALANCE, "1.25", "EX", "3600"],
        ["set", BALANCE, "9.25", "EX", "3600", "NX"],
        ["hsetnx", CONFIG, "net_profit", "9.00"],
        ["hset", CONFIG, "group", "B"],
        ["unlink", BALANCE, CONFIG, "user_stats:live:1"],
        ["unlink", CONFIG],
        ["hset", CONFIG, "net_profit", "2.00"],
        ["hset", "user:{demo:1}:config", "net_profit", "5.00"],
    ):
        writes.add(command)
    assert writes.of_users() == {1: {CONFIG: ["1", GONE, "2"], BALANCE: ["1", GONE]}}
