"""What the watch says of balances that it saw one after another."""

from __future__ import annotations

import pytest
import redis

from tests.chaos.watch import Watch, Watermarks
from tests.support.redis_view import eventually


def said(*balances: str | None) -> list[str]:
    marks = Watermarks()
    return [problem for each in balances if (problem := marks.problem("live:1", each))]


@pytest.mark.parametrize(
    "balances",
    [
        (None, "1001.50", "1001.50", "1007.25"),
        ("1001.50", None, None, "1002.50"),
    ],
    ids=["grows", "deleted, and a new life"],
)
def test_nothing_is_wrong(balances: tuple[str | None, ...]) -> None:
    assert said(*balances) == []


def test_an_older_balance_after_a_newer_one() -> None:
    assert said("1007.25", "1001.50", "1008.25") == ["live:1: its balance went back from 1007.25 to 1001.50"]


@pytest.mark.parametrize("back", ["1007.25", "1001.50"])
def test_a_deleted_user_is_back_with_an_old_balance(back: str) -> None:
    (problem,) = said("1007.25", None, back)
    assert problem.startswith("live:1: ")


def test_what_is_forgotten_says_nothing() -> None:
    marks = Watermarks()
    assert marks.problem("live:1", "1007.25") is None
    marks.forget(["live:2"])
    assert marks.problem("live:1", "1001.25") is not None
    marks.forget(["live:1"])
    assert marks.problem("live:1", "1000.25") is None


def test_a_watch_that_can_not_go_on_says_so() -> None:
    def connect() -> redis.Redis:
        raise ValueError("no balance")

    watch = Watch(connect, lambda: 0, lambda: ["live:1"], list)
    eventually(lambda: watch.problems)
    watch.close()
    assert watch.problems == ["the watch ended: ValueError('no balance')"]
