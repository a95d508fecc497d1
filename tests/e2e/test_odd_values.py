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
    audited = command(
        {**live.environment, "CDC_DATABASE__URL": live.database.url}, "audit", "--json", "--user", "live:7"
    )
    summary = json.loads(audited.stdout.splitlines()[-1])
    assert (summary["users"], summary["wrong"], summary["unusable"]) == (1, 0, 1), audited.stderr
    assert audited.returncode == 1
    explained = command({**live.environment, "CDC_DATABASE__URL": live.database.url}, "explain", "live:7")
    assert f"can't be read, and are not compared: {TIME}" in explained.stdout
    trading.update("live_users", 7, copytrading_alloted_time="2027-01-02 03:04:05")
    eventually(lambda: live.field(7, TIME) == "2027-01-02T03:04:05.000Z")
