"""Values that PostgreSQL has and Python has not, through Debezium and as the database's driver reads them."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import System
from tests.e2e.process import command
from tests.support.redis_view import eventually

pytestmark = [pytest.mark.stack, pytest.mark.parametrize("database", ["postgres"], indirect=True)]
TIME = "copytrading_alloted_time"


@pytest.mark.parametrize(
    "overrides", [{"time.precision.mode": mode} for mode in ("isostring", "connect", "adaptive")], indirect=True
)
@pytest.mark.parametrize("moment", ["infinity", "12026-01-01 00:00:00"])
def test_a_time_that_is_no_date_costs_its_column_alone(live: System, moment: str) -> None:
    trading = live.trading
    trading.insert("live_users", id=7, wallet_balance="100", copytrading_alloted_time="2026-01-02 03:04:05")
    eventually(lambda: live.field(7, TIME) == "2026-01-02T03:04:05.000Z")
    trading.update("live_users", 7, wallet_balance="200", copytrading_alloted_time=moment)
    eventually(lambda: live.field(7, "wallet_balance") == "200.00")
    assert live.field(7, TIME) == "2026-01-02T03:04:05.000Z"
    for user_id in (8, 9):
        trading.insert("live_users", id=user_id, wallet_balance="100")
    trading.update("live_users", 8, wallet_balance="NaN")  # a balance that is no amount costs its row
    live.passed(9)
    eventually(lambda: live.redis.hexists("cdc:{live:8}", "!live_users"))
    assert live.field(8, "wallet_balance") == "100.00"
    asked = {**live.environment, "CDC_DATABASE__URL": live.database.url}
    users = [word for user_id in (7, 8, 9) for word in ("--user", f"live:{user_id}")]
    audited = command(asked, "audit", "--json", *users)
    summary = json.loads(audited.stdout.splitlines()[-1])
    assert (summary["users"], summary["wrong"], summary["unusable"]) == (3, 0, 2), audited.stderr
    assert audited.returncode == 1
    unusable = [line for line in audited.stderr.splitlines() if "audit.unusable" in line]
    assert [("live:8" in line, "no amount" in line) for line in unusable] == [(False, False), (True, True)]
    explained = command(asked, "explain", "live:7")
    assert f"can't be read, and are not compared: {TIME}" in explained.stdout
    explained = command(asked, "explain", "live:8")
    assert (explained.returncode, "wallet_balance: no amount" in explained.stdout) == (0, True), explained.stdout
    assert "can't be reached" not in audited.stderr + explained.stderr
    trading.update("live_users", 7, copytrading_alloted_time="2027-01-02 03:04:05")
    eventually(lambda: live.field(7, TIME) == "2027-01-02T03:04:05.000Z")
