"""Decisions about live topics: `tail` beside the group, and `plan` between two times."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from consumer.mapping.file import to_toml
from consumer.mapping.reference import reference
from tests.e2e.feed import Feed, deposit, poison
from tests.e2e.group import written
from tests.e2e.process import Process, command
from tests.support.redis_view import eventually

pytestmark = pytest.mark.stack


@contextmanager
def tailing(feed: Feed, *arguments: str, **environment: str) -> Iterator[Process]:
    """`tail`, reading for sure from its end on when the block begins."""
    process = Process({**feed.environment, **environment}, feed.folder / "tail.log", *arguments, command="tail")
    try:
        yield process
    except BaseException as error:
        error.add_note(f"tail said:\n{process.said()}")
        raise
    finally:
        process.close()


def decisions(process: Process) -> list[dict[str, Any]]:
    return [found for found in lines(process) if "outcome" in found]


def lines(process: Process) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.said().splitlines()]


def begun(feed: Feed, process: Process) -> None:
    """Send changes of another user until one is shown: from then on nothing is missed."""
    amounts = count(1)  # a change that was sent before is no change

    def is_shown() -> bool:
        feed.send(deposit(999, 0, wallet_balance=f"{next(amounts)}.25"))
        return '"live:999"' in process.said()

    eventually(is_shown, 60)


def test_decisions_are_shown_while_they_are_made_and_nothing_is_changed(feed: Feed) -> None:
    feed.send(deposit(1, 0))  # before its start
    with tailing(feed, "--json") as process:
        begun(feed, process)
        feed.send(deposit(7, 0, wallet_balance="12.00"), poison(8, 0))
        eventually(lambda: any(each["outcome"] == "rejected" for each in decisions(process)), 30)
        process.send(signal.SIGINT)
        assert process.wait() == 130
    found = [each for each in decisions(process) if each["user"] != "live:999"]
    assert [(each["user"], each["outcome"]) for each in found] == [("live:7", "planned"), ("live:8", "rejected")]
    assert found[0]["effects"][0]["changed"]["wallet_balance"] == "12.00"
    assert "hunter2" not in process.said()
    assert feed.redis.keys() == []
    assert feed.committed() is None
    assert written(feed.stack.kafka, feed.environment["CDC_KAFKA__GROUP_ID"]).generations == []


def test_one_line_each_of_those_that_are_wanted(feed: Feed) -> None:
    offsets = feed.send(deposit(7, 0, wallet_balance="12.00"), deposit(8, 1), poison(7, 2), deposit(7, 3, leverage=5))
    wanted = ("--user", "live:7", "--outcome", "planned", "--channel", "balance_updates", "--from", "beginning")
    with tailing(feed, *wanted) as process:
        eventually(lambda: process.said().count("\n") >= 2, 60)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    first, second = process.said().splitlines()
    assert first.split()[1:4] == [f"{feed.topic}[0]@{offsets[0]}", "live:7", "planned"]
    assert first.endswith("wallet_balance → user_updates, balance_updates")
    assert f"@{offsets[3]}" in second


def test_a_broker_that_is_away_is_waited_for_with_one_line(feed: Feed) -> None:
    with tailing(feed, "--json") as process:
        begun(feed, process)
        feed.stack.kafka.kill()
        try:
            eventually(lambda: "kafka.waiting" in process.said(), 60)
        finally:
            feed.stack.kafka.start()
        feed.send(deposit(7, 0))
        eventually(lambda: '"live:7"' in process.said(), 60)
        eventually(lambda: "kafka.resumed" in process.said(), 60)
    assert [each["action"] for each in lines(process) if "action" in each] == ["kafka.waiting", "kafka.resumed"]


def test_a_broker_that_was_never_there_is_waited_for_until_ctrl_c(tmp_path: Path) -> None:
    nowhere = {"CDC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    process = Process(nowhere, tmp_path / "tail.log", command="tail")
    try:
        eventually(lambda: "kafka.waiting" in process.said(), 30)
        process.send(signal.SIGINT)
        assert process.wait() == 130
    finally:
        process.close()
    assert len(process.said().splitlines()) == 1


def test_a_mapping_is_compared_over_the_live_topic_between_two_times(feed: Feed, tmp_path: Path) -> None:
    first, *_, last = feed.send(*(deposit(each, each, wallet_balance=f"{each}.00") for each in range(1, 11)))
    mine = tmp_path / "mine.toml"
    mine.write_text(to_toml(reference()).replace('"balance_updates"', '"cash_updates"'))
    bounds = ("--from", f"{feed.topic}:0:{first}", "--to", f"{feed.topic}:0:{last}")
    ran = command(feed.environment, "plan", *bounds, "--mapping", str(mine), "--against", "reference")
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout.startswith("mine.toml against reference: 9 records compared\n9 are decided otherwise, of 9 users")
    assert "+9/−9 messages on 2 channels, 0 keys cleared, 0 fields" in ran.stdout
    ran = command(feed.environment, "plan", *bounds, "--mapping", str(mine), "--against", str(mine))
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "all are decided alike")
    ran = command(feed.environment, "plan", "--from", "end", "--json")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert feed.committed() is None
