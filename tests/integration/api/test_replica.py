"""The health API that reads a replica: a row that is older than what Redis holds is not written."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.integration.api.conftest import BASE, Served, failed, serving
from tests.integration.api.test_contract import CONFIG, ROW
from tests.integration.database.test_mysql_servers import follow, second
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.support.stack.mysql import MySql
from tests.support.stack.trading import Trading

__all__ = ["second"]  # a fixture

pytestmark = [pytest.mark.stack, pytest.mark.slow]
REFRESH = f"{BASE}/user/123/force-refresh"


def test_a_replica_that_is_behind_what_redis_holds_is_refused(
    served: Served, stack: Stack, second: MySql, trading: Trading, redis_client: redis.Redis, tmp_path: Path
) -> None:
    follow(stack.mysql, second)
    trading.insert("live_users", id=123, **ROW)
    served.followed.pass_all(trading, redis_client)
    environment = {**served.environment, "CDC_DATABASE__URL": second.url, "CDC_DATABASE__REPLICA": "true"}
    with serving(tmp_path / "log", environment) as (client, _), second.connect() as connection:
        replica = Trading(connection)
        eventually(lambda: client.post(REFRESH).status_code == 200, 60)
        replica.execute("STOP SLAVE SQL_THREAD")
        trading.update("live_users", 123, leverage=200)
        eventually(lambda: redis_client.hget(CONFIG, "leverage") == "200", 60)
        assert failed(client.post(REFRESH), 503) == "database: the replica is behind what Redis has"
        assert redis_client.hget(CONFIG, "leverage") == "200"
        redis_client.hset(CONFIG, "leverage", "7")
        replica.execute("START SLAVE SQL_THREAD")
        eventually(lambda: client.post(REFRESH).status_code == 200, 60)
        assert redis_client.hget(CONFIG, "leverage") == "200"
        replica.execute("STOP SLAVE")
