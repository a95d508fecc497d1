"""Rows read in the database beside the changes that Debezium sends of them, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytest

from consumer.commands.shared.catch_up import CatchUpLimits
from consumer.commands.shared.refresh import Refresher, write
from consumer.database.reader import Database
from consumer.events.avro import NO_SCHEMAS
from consumer.guard.version import Verdict
from consumer.mapping.reference import reference
from consumer.planning.effect import Plan
from consumer.settings.sources import Settings
from consumer.sink import group_databases
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from consumer.source.consumed_topics import selected
from consumer.source.topic_ends import Topics
from tests.e2e.conftest import System
from tests.support.redis_view import eventually
from tests.support.stack.roster import DATABASES

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.parametrize("database", DATABASES, indirect=True)]
RULES = reference()
LIVE = RULES.tables[0]
CONFIG, GUARD = "user:{live:7}:config", "cdc:{live:7}"


@dataclass(frozen=True)
class Mender:
    """What a force-refresh and a repair do, step by step."""

    refresher: Refresher
    sink: RedisSink

    def read(self) -> Plan:
        return self.refresher.read(LIVE, 7).plan

    def passed(self) -> Plan:
        """A row that the consumer has passed."""
        plan = self.read()
        assert not self.refresher.wait().behind
        return plan

    def write(self, plan: Plan) -> Verdict:
        return write(self.sink, plan).verdict


@contextmanager
def mending(live: System) -> Iterator[Mender]:
    settings = settings_of(live)
    with (
        closing(Database(settings.database)) as database,
        closing(RedisView(settings.redis)) as view,
        Topics(settings.kafka, selected(settings, RULES, NO_SCHEMAS, group_databases.load), NO_SCHEMAS) as topics,
        closing(RedisSink(settings.redis, settings.guard, RULES)) as sink,
    ):
        sink.reach()
        yield Mender(Refresher(database, view, topics, RULES, CatchUpLimits(0.5, 60)), sink)


def settings_of(live: System) -> Settings:
    given = live.environment
    kafka = {
        "bootstrap_servers": given["CDC_KAFKA__BOOTSTRAP_SERVERS"],
        "topic_prefix": given["CDC_KAFKA__TOPIC_PREFIX"],
        "group_id": given["CDC_KAFKA__GROUP_ID"],
    }
    redis, database = {"url": given["CDC_REDIS__URL"]}, {"url": live.database.url}
    return Settings.model_validate({"kafka": kafka, "redis": redis, "database": database})


def test_a_row_is_written_while_no_change_came_since_and_changes_behind_it_are_applied(live: System) -> None:
    live.trading.insert("live_users", id=7, leverage=1)
    eventually(lambda: live.field(7, "leverage") == "1", 60)
    with mending(live) as mender:
        before = mender.read()
        live.trading.update("live_users", 7, leverage=2)
        eventually(lambda: live.field(7, "leverage") == "2", 60)
        assert mender.write(before) is Verdict.STALE
        assert live.field(7, "leverage") == "2"

        live.redis.hset(CONFIG, "leverage", "66")
        stood = live.redis.hget(GUARD, "live_users")
        assert mender.write(mender.passed()) is Verdict.HEALED
        assert live.field(7, "leverage") == "2"
        assert live.redis.hget(GUARD, "live_users") == stood, "it is still the last change's"
        # What comes next in the log is at once behind the read, with nothing in between.
        live.trading.update("live_users", 7, leverage=3)
        eventually(lambda: live.field(7, "leverage") == "3", 60)


def test_a_row_that_is_gone_takes_the_user_along_and_they_may_come_back(live: System) -> None:
    live.trading.insert("live_users", id=7, leverage=1)
    eventually(lambda: live.field(7, "leverage") == "1", 60)
    with mending(live) as mender:
        live.trading.delete("live_users", 7)
        eventually(lambda: live.config(7) == {}, 60)
        gone = mender.passed()
        assert gone.removed is not None
        live.redis.hset(CONFIG, "leverage", "66")
        assert mender.write(gone) is Verdict.HEALED
        assert live.config(7) == {}
        live.trading.insert("live_users", id=7, leverage=4)
        eventually(lambda: live.field(7, "leverage") == "4", 60)


def test_what_was_read_before_its_changes_were_applied_is_applied_and_told_once(live: System) -> None:
    """Redis lost the user; a repair writes them before the next change comes."""
    live.trading.insert("live_users", id=7, leverage=1)
    eventually(lambda: live.field(7, "leverage") == "1", 60)
    for key in (CONFIG, GUARD, "user_balance:live:7"):
        live.redis.delete(key)
    with mending(live) as mender:
        assert mender.write(mender.passed()) is Verdict.NEWER
        assert live.field(7, "leverage") == "1"
        assert not live.redis.exists(GUARD)
        heard = len(live.heard(7))
        live.trading.update("live_users", 7, leverage=2)
        eventually(lambda: live.field(7, "leverage") == "2", 60)
        eventually(lambda: len(live.heard(7)) == heard + 2)
