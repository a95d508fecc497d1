"""Redis away for longer than the group allows between two polls: the member stays, and nothing is skipped."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from tests.e2e.conftest import WITNESS, System
from tests.e2e.group import Written, written
from tests.e2e.process import Process
from tests.support.redis_view import eventually
from tests.support.stack.port import Ports

pytestmark = pytest.mark.stack

POLL_INTERVAL_S, SESSION_S = 6, 6
AWAY_S = 2.5 * POLL_INTERVAL_S
EVERY_S = 0.25


@pytest.mark.slow
def test_an_outage_longer_than_the_poll_interval_keeps_the_group_and_skips_nothing(system: System) -> None:
    port = Ports().take("metrics")
    environment = {
        "CDC_METRICS__PORT": str(port),
        "CDC_REDIS__TIMEOUT_MS": "1000",
        "CDC_KAFKA__MAX_POLL_INTERVAL_MS": str(POLL_INTERVAL_S * 1000),
        "CDC_KAFKA__SESSION_TIMEOUT_MS": str(SESSION_S * 1000),
    }

    def noted() -> Written:
        return written(system.stack.kafka, system.environment["CDC_KAFKA__GROUP_ID"])

    with system.running(**environment) as process:
        eventually(lambda: system.config(WITNESS) and system.config(WITNESS, "demo"))
        eventually(lambda: status(port, "/readyz") == 200)
        eventually(lambda: noted().commits >= 2)
        system.stack.redis.freeze()
        frozen_at = datetime.now(UTC)
        amounts = ["1.00"]
        system.trading.update("live_users", WITNESS, wallet_balance=1)
        eventually(lambda: told(process, "redis.waiting"), 30)
        before, until = noted(), time.monotonic() + AWAY_S
        while time.monotonic() < until:
            amounts.append(f"{len(amounts) + 1}.00")
            system.trading.update("live_users", WITNESS, wallet_balance=amounts[-1])
            system.trading.update("demo_users", WITNESS, wallet_balance=amounts[-1])
            assert status(port, "/readyz") == 503
            assert status(port, "/healthz") == 200
            time.sleep(EVERY_S)
        meanwhile = noted()
        system.stack.redis.thaw()
        eventually(lambda: status(port, "/readyz") == 200, 30)
        eventually(lambda: system.field(WITNESS, "wallet_balance") == amounts[-1], 30)
        eventually(lambda: system.field(WITNESS, "wallet_balance", "demo") == amounts[-1], 30)
        eventually(lambda: noted().commits > before.commits, what="nothing was committed after it")
        after = noted()

    assert meanwhile == before, "the group changed, or something was committed, while Redis was away"
    assert after.generations == before.generations
    assert len(told(process, "group.assigned")) == 1
    assert told(process, "group.revoked") == []
    (waiting,), (resumed,) = told(process, "redis.waiting"), told(process, "redis.resumed")
    assert frozen_at <= datetime.fromisoformat(waiting["timestamp"]) <= frozen_at + timedelta(seconds=30)
    assert resumed["waited_s"] >= AWAY_S
    for user_type, expected in (("live", amounts), ("demo", amounts[1:])):
        # The last of them may be on its way to the listener still; what comes too much comes before it.
        eventually(partial(is_last, system, user_type, amounts[-1]))
        assert balances(system, user_type) == expected


def is_last(system: System, user_type: str, amount: str) -> bool:
    return balances(system, user_type)[-1:] == [amount]


def balances(system: System, user_type: str) -> list[str]:
    """What subscribers were told of the witness' balance."""
    heard = [body for channel, body in system.heard(WITNESS, user_type) if channel == "balance_updates"]
    return [body["updated_fields"]["wallet_balance"] for body in heard]


def told(process: Process, action: str) -> list[dict[str, Any]]:
    """The log lines of that action."""
    lines = [json.loads(line) for line in process.said().splitlines() if line.startswith("{")]
    return [line for line in lines if line["action"] == action]


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
