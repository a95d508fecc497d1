"""Redis emptied under a live system, and rebuilt beside the running consumer while SQL goes on."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from consumer.events.value import money
from tests.e2e.conftest import System
from tests.support.forked import base_environment
from tests.support.redis_view import eventually

pytestmark = [pytest.mark.stack, pytest.mark.slow]
USERS = range(1, 121)


def balances(live: System) -> dict[int, str]:
    """What the database says."""
    return {user: money(live.trading.row("live_users", user, "wallet_balance")[0]) for user in USERS}


def test_redis_emptied_is_rebuilt_beside_the_running_consumer(live: System) -> None:
    for user in USERS:
        live.trading.insert("live_users", id=user, wallet_balance=user)
    live.passed(USERS[-1])
    live.redis.flushall()
    clean = base_environment()
    command = [str(Path(sys.executable).with_name("cdc-consumer")), "replay", "--rebuild", "--yes"]
    replay = subprocess.Popen(command, env=clean | dict(live.environment))
    turn = 0
    while replay.poll() is None or turn < 60:
        turn += 1
        live.trading.update("live_users", 1 + turn % 60, wallet_balance=1000 + turn)
    assert replay.returncode == 0
    for user in (1, 60):
        live.passed(user)
    eventually(lambda: all(live.field(user, "wallet_balance") == is_so for user, is_so in balances(live).items()), 60)
    for user in USERS:
        (group,) = live.trading.row("live_users", user, "group")
        assert live.field(user, "group") == group
    told = Counter((channel, body["event_id"]) for channel, body in live.listener.heard())
    assert set(told.values()) == {1}, "the replay told nobody again what they had heard"
    updates = {body["updated_fields"].get("wallet_balance") for _, body in live.listener.heard()}
    assert {money_of(1000 + each) for each in range(1, turn + 1)} <= updates, "the consumer told of every change"


def money_of(number: int) -> str:
    return f"{number}.00"
