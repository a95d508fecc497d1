"""Rows read in the database beside the changes that Debezium sends of them: one order, on every database."""

from __future__ import annotations

from contextlib import closing

import pytest
from pydantic import SecretStr

from consumer.database.reader import Database
from consumer.effect import Plan
from consumer.guard.version import Verdict, Version, compare
from consumer.protocols import Applied
from consumer.rebuild import rebuild_read
from consumer.reference import reference
from consumer.sections import Database as DatabaseSettings
from consumer.sections import Guard, Redis
from consumer.sink import RedisSink
from tests.e2e.conftest import System
from tests.redis_view import eventually
from tests.stack.roster import DATABASES

pytestmark = [pytest.mark.stack, pytest.mark.slow]
RULES = reference()
LIVE = RULES.tables[0]


@pytest.mark.parametrize("database", DATABASES, indirect=True)
def test_a_read_is_newer_than_what_came_before_it_and_older_than_what_comes_after(live: System) -> None:
    live.trading.insert("live_users", id=7, leverage=1)
    eventually(lambda: live.field(7, "leverage") == "1", 60)
    with closing(Database(DatabaseSettings(url=SecretStr(live.database.url)))) as reader:
        before = read_plan(reader)
        assert compare(before.version, stored(live), 5000) is Verdict.NEWER

        live.trading.update("live_users", 7, leverage=2)
        eventually(lambda: live.field(7, "leverage") == "2", 60)
        assert compare(before.version, stored(live), 5000) is Verdict.STALE
        assert applied(live, before).verdict is Verdict.STALE

        live.redis.hset("user:{live:7}:config", "leverage", "66")
        assert applied(live, read_plan(reader)).is_accepted
        assert live.field(7, "leverage") == "2"
        # What comes next in the log is at once behind the read, with nothing in between.
        live.trading.update("live_users", 7, leverage=3)
        eventually(lambda: live.field(7, "leverage") == "3", 60)

        live.trading.delete("live_users", 7)
        gone = read_plan(reader)
        assert gone.removed is not None
        applied(live, gone)
        assert live.config(7) == {}
        live.trading.insert("live_users", id=7, leverage=4)
        eventually(lambda: live.field(7, "leverage") == "4", 60)


def read_plan(reader: Database) -> Plan:
    return rebuild_read(reader.row(LIVE, 7), LIVE, RULES)


def stored(live: System) -> Version:
    return Version.from_text(str(live.redis.hget("cdc:{live:7}", "live_users")))


def applied(live: System, plan: Plan) -> Applied:
    with closing(RedisSink(Redis(url=SecretStr(live.environment["CDC_REDIS__URL"])), Guard(), RULES)) as sink:
        ((_, answer),) = sink.apply([plan])
    assert isinstance(answer, Applied)
    return answer
