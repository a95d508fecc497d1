"""The topics that Redis can be rebuilt from: made by the connector as they should be, and compacted by the broker."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping

import msgspec
import pytest
from kafka.admin import ConfigResource

from consumer.commands.shared.check.kafka_survey import topic_settings
from consumer.commands.shared.check.topic_findings import TopicSettings
from consumer.settings.sections import Kafka
from consumer.source.topic_reader import read_to_end
from tests.e2e.conftest import WITNESS, System
from tests.e2e.test_check import check, fill, said
from tests.e2e.test_databases import each_database
from tests.support.redis_view import eventually

pytestmark = pytest.mark.stack
DAY = 86_400_000
# The cleaner takes closed segments only, and what is half new by default.
SOON = {"segment.ms": "1000", "min.cleanable.dirty.ratio": "0.001"}


def kafka(system: System) -> Kafka:
    return Kafka(bootstrap_servers=system.stack.kafka.bootstrap_servers)


@each_database
def test_topics_are_made_as_they_should_be(system: System) -> None:
    fill(system)
    topics = {table: system.registration.topic(table) for table in ("live_users", "demo_users", "user_transactions")}
    found = topic_settings(kafka(system), [*topics.values(), "absent"])
    assert found.keys() == set(topics.values())
    for table in ("live_users", "demo_users"):
        settings = TopicSettings.read(found[topics[table]])
        assert settings.policies == {"compact"}
        assert (settings.compaction_lag_ms, settings.tombstones_ms) == (7 * DAY, 7 * DAY)
    rows = TopicSettings.read(found[topics["user_transactions"]])
    assert rows.policies == {"delete"}
    assert (rows.retention_ms, rows.retention_bytes) == (30 * DAY, -1)
    ran = check(system)
    assert said(ran, "failure") == []
    kept = [line for line in said(ran, "ok") if line.startswith("history of ")]
    assert len(kept) == 4


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "overrides",
    [
        {
            "topic.creation.groups": "lagging,users,control",
            "topic.creation.lagging.include": r".*\.demo_users",
            "topic.creation.lagging.cleanup.policy": "compact",
            "topic.creation.lagging.min.compaction.lag.ms": str(7 * DAY),
            "topic.creation.users.min.compaction.lag.ms": "0",
            **{f"topic.creation.users.{name}": value for name, value in SOON.items()},
            **{f"topic.creation.lagging.{name}": value for name, value in SOON.items()},
            **{
                f"topic.creation.{group}.{name}": value
                for group in ("users", "lagging")
                for name, value in {"partitions": "1", "replication.factor": "1"}.items()
            },
        }
    ],
)
def test_a_compacted_topic_holds_every_users_last_image(system: System) -> None:
    """And the tombstones of deleted users, each of them a delete where nothing else is left; with a lag every change.
    Redis is rebuilt from what is left.
    """
    trading = system.trading
    for table in ("live_users", "demo_users"):
        for user in (1, 2):
            trading.insert(table, id=user, wallet_balance="1")
            for amount in range(2, 7):
                trading.update(table, user, wallet_balance=str(amount))
        trading.delete(table, 2)

    topics = [system.registration.topic(table) for table in ("live_users", "demo_users")]
    eventually(lambda: len(topic_settings(kafka(system), topics)) == 2, 60)
    eventually(lambda: len(records(system, "demo_users")[2]) == 8, 60)
    eventually(lambda: records(system, "live_users")[2][-1:] == [None], 60)

    def is_compacted() -> bool:
        time.sleep(0.5)
        # A segment is closed by the first record after its time.
        trading.execute("UPDATE live_users SET country_id = COALESCE(country_id, 0) + 1 WHERE id = %s", WITNESS)
        trading.execute("UPDATE demo_users SET country_id = COALESCE(country_id, 0) + 1 WHERE id = %s", WITNESS)
        return len(records(system, "live_users")[2]) == 1

    eventually(is_compacted, 120)
    left = records(system, "live_users")
    assert left[2] == [None]
    (image,) = left[1]
    assert image is not None
    assert image["wallet_balance"] == "6.000000"
    lagging = records(system, "demo_users")
    assert len(lagging[1]) == 6
    assert len(lagging[2]) == 8

    # A Redis from before the delete, of which the topic tells by the tombstone alone.
    system.redis.hset("user:{live:2}:config", mapping={"id": "2", "group": "VIP"})
    with system.running(CDC_KAFKA__GROUP_ID=f"{system.registration.prefix}-anew"):
        eventually(lambda: system.config(WITNESS) and system.config(WITNESS, "demo"), 60)
        eventually(lambda: system.field(1, "wallet_balance") == "6.00", 60)
        eventually(lambda: system.field(1, "wallet_balance", "demo") == "6.00", 60)
        eventually(lambda: system.config(2) == {}, 60)
        eventually(lambda: system.config(2, "demo") == {}, 60)
        assert [body["event_type"] for _, body in system.heard(2)] == ["user_deleted"]


def records(system: System, table: str) -> Mapping[int, list[Mapping[str, object] | None]]:
    """The new row images of each user's records, None for a tombstone; ``{}`` for a delete."""
    found = defaultdict(list)
    for record in read_to_end(kafka(system), [system.registration.topic(table)]):
        assert record.key is not None
        value = None if record.value is None else msgspec.json.decode(record.value)["after"] or {}
        found[msgspec.json.decode(record.key)["id"]].append(value)
    return found


def test_check_says_which_topics_can_not_rebuild(system: System) -> None:
    fill(system)
    registration = system.registration
    users, rows = registration.topic("live_users"), registration.topic("user_transactions")
    letters = f"{registration.prefix}.dlq"
    assert any("`run` can create it" in line for line in said(check(system), "ok"))
    assert letters not in topic_settings(kafka(system), [letters])

    ran = check(system, CDC_KAFKA__HISTORY_DAYS="31")
    assert ran.returncode == 0
    short = [line for line in said(ran, "warning") if line.startswith("history of ")]
    assert len(short) == 4
    assert all("31 days are required" in line or "31 days that are required" in line for line in short)

    admin = system.stack.kafka.admin()
    changed = {"cleanup.policy": "delete", "retention.ms": str(30 * DAY)}
    admin.alter_configs([ConfigResource("TOPIC", users, changed)])
    admin.alter_configs([ConfigResource("TOPIC", rows, {"cleanup.policy": "compact"})])
    admin.close()
    ran = check(system)
    assert ran.returncode == 1
    (warned,) = [line for line in said(ran, "warning") if line.startswith("history of ")]
    assert warned.startswith(
        f"history of {users}: records are deleted after 30 days: it lacks users who have not changed since"
    )
    (failed,) = said(ran, "failure")
    assert failed.startswith(f"history of {rows}: it is compacted, and its records are keyed by the user")


def test_the_topic_of_dead_letters_that_run_made(system: System) -> None:
    with system.running():
        eventually(lambda: system.config(WITNESS), 60)
    ran = check(system)
    (line,) = [line for line in said(ran, "ok") if line.startswith("dead letters")]
    assert line == f"dead letters {system.registration.prefix}.dlq: exists; everything is kept"
