"""What ``check`` says of topics: whether Redis can be rebuilt from them, and of the topic of dead letters."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from consumer.commands.shared.check.topic_findings import (
    TopicSettings,
    of_broker,
    of_dead_letters,
    of_heartbeats,
    of_history,
    of_topics,
)
from consumer.commands.shared.finding import Finding, Level
from consumer.mapping.reference import reference
from consumer.settings.sections import Kafka
from consumer.source.topic_selection import Known, select

RULES = reference()
DAY = 86_400_000
WEEK = str(7 * DAY)
COMPACTED = {"cleanup.policy": "compact", "min.compaction.lag.ms": WEEK, "delete.retention.ms": WEEK}
FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1"}
MONTH = {"cleanup.policy": "delete", "retention.ms": str(30 * DAY)}


def said(found: Iterable[Finding]) -> list[tuple[Level, str]]:
    """Level and first words."""
    return [(each.level, each.found.partition(":")[0]) for each in found]


def history(settings: dict[str, str], table: str = "live_users", days: int = 7) -> list[tuple[Level, str]]:
    return said(of_history(f"p.db.{table}", (table,), TopicSettings.read(settings), RULES, days))


@pytest.mark.parametrize(
    "settings", [COMPACTED, FOR_EVER, COMPACTED | {"cleanup.policy": "compact,delete"} | {"retention.ms": "-1"}]
)
def test_user_topics_that_can_rebuild(settings: dict[str, str]) -> None:
    ((level, _),) = history(settings)
    assert level is Level.OK


def test_what_is_kept_is_said() -> None:
    (found,) = of_history("p.db.live_users", ("live_users",), TopicSettings.read(COMPACTED), RULES, 7)
    assert found.found == "the last record of each key, all of the last 7 days; 7 days are required"
    (found,) = of_history("p.db.money_requests", ("money_requests",), TopicSettings.read(MONTH), RULES, 7)
    assert found.found == "records are deleted after 30 days; 7 days are required"
    (found,) = of_history("p.db.live_users", ("live_users",), TopicSettings.read(FOR_EVER), RULES, 7)
    assert found.found == "everything is kept; 7 days are required"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (MONTH, ["records are deleted after 30 days"]),
        ({}, ["records are deleted after 7 days"]),
        (
            MONTH | {"retention.ms": str(DAY // 2)},
            ["records are deleted after 12 hours", "records are deleted after 12 hours"],
        ),
        (
            FOR_EVER | {"retention.bytes": "1000"},
            ["the oldest records are deleted when a partition has 1000 bytes"] * 2,
        ),
        (
            COMPACTED | {"cleanup.policy": "compact,delete", "retention.ms": str(8 * DAY)},
            ["the last record of each key, all of the last 7 days; records are deleted after 8 days"],
        ),
        (COMPACTED | {"min.compaction.lag.ms": "0"}, ["min.compaction.lag.ms is 0 hours"]),
        (COMPACTED | {"min.compaction.lag.ms": str(7 * DAY - 1)}, ["min.compaction.lag.ms is 168 hours"]),
        (COMPACTED | {"delete.retention.ms": str(DAY)}, ["delete.retention.ms is 1 days"]),
    ],
)
def test_user_topics_that_can_not(settings: dict[str, str], words: list[str]) -> None:
    found = history(settings)
    assert found == [(Level.WARNING, each) for each in words]


def test_nothing_promised_is_always_kept() -> None:
    ((level, _),) = history({"cleanup.policy": "compact", "delete.retention.ms": "0"}, days=0)
    assert level is Level.OK


@pytest.mark.parametrize("table", ["user_transactions", "money_requests"])
def test_topics_of_rows(table: str) -> None:
    assert [level for level, _ in history(MONTH, table)] == [Level.OK]
    assert [level for level, _ in history(MONTH, table, 31)] == [Level.WARNING]
    assert [level for level, _ in history(MONTH | {"retention.bytes": "1000"}, table)] == [Level.WARNING]
    for policy in ("compact", "compact,delete", "delete, compact"):
        assert history({"cleanup.policy": policy}, table) == [
            (Level.FAILURE, "it is compacted, and its records are keyed by the user")
        ]


def test_a_topic_that_no_rule_names_and_one_that_may_not_be_asked_about() -> None:
    assert history({"cleanup.policy": "compact"}, "other") == []
    (found,) = of_history("p.db.live_users", ("live_users",), None, RULES, 7)
    assert (found.level, found.advice) == (Level.WARNING, "allow this account DESCRIBE_CONFIGS on the topic")


def test_a_topic_of_several_tables() -> None:
    def levels(settings: dict[str, str], *tables: str) -> list[Level]:
        return [each.level for each in of_history("cdc.all", tables, TopicSettings.read(settings), RULES, 7)]

    assert levels(FOR_EVER, "demo_users", "live_users") == [Level.OK]
    assert levels(COMPACTED, "demo_users", "live_users") == [Level.WARNING]
    assert levels(COMPACTED, "live_users", "money_requests") == [Level.FAILURE, Level.WARNING]
    assert levels(MONTH, "live_users", "money_requests") == [Level.WARNING]


def letters(settings: dict[str, str], largest: str = "1048588") -> list[Level]:
    told = TopicSettings.read(FOR_EVER | {"max.message.bytes": "16777216"} | settings)
    followed = {"t": TopicSettings.read({"max.message.bytes": largest})}
    return [each.level for each in of_dead_letters("p.dlq", told, followed, 7)]


def test_the_topic_of_dead_letters() -> None:
    assert letters({}) == [Level.OK]
    assert letters({"retention.ms": WEEK}) == [Level.OK]
    assert letters({"retention.ms": str(DAY)}) == [Level.WARNING]
    assert letters({"cleanup.policy": "compact"}) == [Level.FAILURE]
    assert letters({"max.message.bytes": "1048588"}) == [Level.WARNING]
    assert letters({}, "20000000") == [Level.WARNING]
    (found,) = of_dead_letters("p.dlq", None, {}, 7)
    assert found.level is Level.WARNING


@pytest.mark.parametrize(("version", "level"), [((2, 6), Level.OK), ((2, 1), Level.OK), ((1, 1, 0), Level.WARNING)])
def test_brokers(version: tuple[int, ...], level: Level) -> None:
    found = of_broker(version, "k:9092", 3)
    assert found.level is level
    assert f"Kafka {'.'.join(map(str, version))} or later" in found.found


def test_a_table_that_a_running_connector_captures_may_be_empty() -> None:
    there = {f"p.db.{table}": 8 for table in RULES.captured() if table != "live_users"}

    def levels(followed: tuple[str, ...], *named: str) -> set[Level]:
        settings = Kafka(topic_prefix="p", topics=named)
        selection = select(Known(there), settings, RULES.captured())
        return {each.level for each in of_topics(selection, there, settings, RULES, followed)}

    assert Level.FAILURE in levels(())
    assert levels(("live_users",)) == {Level.OK, Level.WARNING}
    assert levels(("live_users",), "p.db.live_users") == {Level.WARNING}
    assert Level.FAILURE in levels(("live_users",), "q.db.live_users")


def test_topics_may_come_and_go_during_the_check() -> None:
    """The topics are selected in one request to Kafka, their partitions are counted in another."""
    settings = Kafka(topic_prefix="p")
    selection = select(Known({f"p.db.{table}": 8 for table in RULES.captured()}), settings, RULES.captured())
    found = [each.found for each in of_topics(selection, {"p.db.live_users": 8}, settings, RULES)]
    assert found[: len(RULES.captured())].count("0 partitions") == len(RULES.captured()) - 1


def test_without_heartbeats_nobody_notices_a_silent_connector() -> None:
    there, missing = of_heartbeats(["__debezium-heartbeat.p", "__debezium-heartbeat.q"], {"__debezium-heartbeat.p"})
    assert (there.level, missing.level) == (Level.OK, Level.WARNING)
    assert "heartbeat.interval.ms" in missing.advice
