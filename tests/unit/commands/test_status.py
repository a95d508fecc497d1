"""What ``status`` judges of what it found out, and its screens, without servers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest

from consumer.commands.shared.finding import Level, exit_code
from consumer.commands.shared.status.facts import Connector, Facts, Kafka, Limits, Redis, RedisServer, Unknown
from consumer.commands.shared.status.judgement import Line, judged
from consumer.commands.shared.status.rounds import Survey
from consumer.commands.shared.status.words import percent, size, span
from consumer.commands.status.present import json_lines, parts
from consumer.errors import ConfigError, ServerUnavailable
from consumer.events.record import Partition
from consumer.pipeline.reports import AuditReport, MemberReport
from consumer.sink.report_store import Reports
from tests.unit.commands.snapshot import check, printed

NOW = 1_795_986_280_000
USERS, DEMO = "trading.trading.live_users", "trading.trading.demo_users"
BEAT = "__debezium-heartbeat.trading"
LIMITS = Limits("0.2.0", "cdc-consumer", "trading", 30.0, (BEAT,), has_connect=True)
MEMBER = MemberReport(
    host="consumer-a",
    pid=4711,
    version="0.2.0",
    started_ms=NOW - 3 * 3_600_000,
    written_ms=NOW - 2000,
    partitions={USERS: (0, 1, 2, 3), DEMO: (0, 1, 2, 3)},
    per_minute=12_345.6,
    lag_records=3,
    lag_s=0.4,
    index="warm",
    heartbeat_age_s=2.0,
)
OTHER = msgspec.structs.replace(MEMBER, host="consumer-b", pid=17, partitions={USERS: (4, 5, 6, 7), DEMO: (4, 5, 6, 7)})
SERVER = RedisServer("10.0.0.1:6379", "7.2.4", used=1_300_000_000, limit=4 << 30, policy="volatile-lru")
AUDIT = AuditReport(ended_ms=NOW - 7_300_000, users=12_000, wrong=0, share_right=1.0)
REDIS = Redis("one server", [SERVER], Reports((MEMBER, OTHER), audit=AUDIT))
KAFKA = Kafka("3.9 or later", {USERS: 8, DEMO: 8}, {Partition(USERS, 5): 40}, 2, {BEAT: NOW / 1000 - 2})
CONNECTOR = Connector("trading-mysql", "RUNNING", ["RUNNING"], version="3.5.0.Final")
WELL = Facts(NOW, [CONNECTOR], REDIS, KAFKA, {})
AWAY = Unknown("no broker answers at broker-1:9092", "start the brokers, or check the network")


def reports(*members: MemberReport, gone: Mapping[str, int] | None = None, audit: AuditReport | None = AUDIT) -> Redis:
    return replace(REDIS, reports=Reports(members, gone or {}, audit=audit))


def bad(facts: Facts) -> list[tuple[str, Level, str]]:
    """What is not well."""
    lines = judged(facts, LIMITS)
    found = [each.finding for each in lines if each.finding.level is not Level.OK]
    return [(each.subject, each.level, each.found) for each in found]


def line(facts: Facts, subject: str) -> Line:
    return next(each for each in judged(facts, LIMITS) if each.finding.subject == subject)


def test_all_is_well() -> None:
    assert bad(WELL) == []
    assert exit_code(each.finding for each in judged(WELL, LIMITS)) == 0
    group = line(WELL, "group")
    assert group.finding.found == "2 members with 16 partitions; lag 6 records, 0 s"
    assert (group.facts["members"], group.facts["partitions"], group.facts["lag_records"]) == (2, 16, 6)


@pytest.mark.parametrize(
    ("connector", "found"),
    [
        (replace(CONNECTOR, tasks=["RUNNING", "FAILED"], cause="no route"), "trading-mysql: task 1 FAILED: no route"),
        (replace(CONNECTOR, state="FAILED", cause="many"), "trading-mysql FAILED: many"),
        (replace(CONNECTOR, state="PAUSED", tasks=["PAUSED"]), "trading-mysql is PAUSED"),
        (replace(CONNECTOR, tasks=[]), "trading-mysql has no task"),
        (replace(CONNECTOR, tasks=["UNASSIGNED"]), "trading-mysql: a task is UNASSIGNED"),
    ],
)
def test_a_connector(connector: Connector, found: str) -> None:
    assert bad(replace(WELL, connectors=[connector])) == [("connector", Level.FAILURE, found)]


@pytest.mark.parametrize("state", ["PAUSED", "STOPPED"])
def test_a_connector_that_somebody_stopped_does_not_come_back_by_waiting(state: str) -> None:
    stopped = judged(replace(WELL, connectors=[replace(CONNECTOR, state=state, tasks=[state])]), LIMITS)[0].finding
    assert stopped.advice.endswith("curl --request PUT $CDC_CONNECT__URL/connectors/trading-mysql/resume")
    assert "wait" not in stopped.advice
    starting = judged(replace(WELL, connectors=[replace(CONNECTOR, tasks=["UNASSIGNED"])]), LIMITS)[0].finding
    assert starting.advice.startswith("wait until Connect has started it")


def test_no_connector_is_a_failure_only_where_connect_is_said_to_be() -> None:
    absent = replace(WELL, connectors=[])
    assert [level for _, level, _ in bad(absent)] == [Level.FAILURE]
    found = judged(absent, replace(LIMITS, has_connect=False))
    assert found[0].finding.level is Level.WARNING
    assert bad(replace(WELL, connectors=None)) == []


@pytest.mark.parametrize(
    ("heartbeats", "level"),
    [
        ({BEAT: NOW / 1000 - 31}, Level.FAILURE),
        ({BEAT: NOW / 1000 - 29}, Level.OK),
        ({BEAT: None}, Level.WARNING),
        ({}, Level.WARNING),
        (Unknown("refused"), Level.FAILURE),
    ],
)
def test_heartbeats(heartbeats: Mapping[str, float | None] | Unknown, level: Level) -> None:
    facts = replace(WELL, kafka=replace(KAFKA, heartbeats=heartbeats))
    assert line(facts, "heartbeat").finding.level is level
    without_limit = judged(facts, replace(LIMITS, silence_s=0.0))
    if isinstance(heartbeats, dict) and heartbeats.get(BEAT):
        assert all(each.finding.level is Level.OK for each in without_limit)


def test_a_member_that_waits_or_is_not_ready_is_named() -> None:
    waits = msgspec.structs.replace(MEMBER, waits_for=("redis",), unready="waiting for redis")
    assert bad(replace(WELL, redis=reports(waits, OTHER))) == [
        ("member", Level.FAILURE, "consumer-a:4711: waits for redis")
    ]
    behind = msgspec.structs.replace(MEMBER, unready="310 s behind, more than 300")
    assert [found for *_, found in bad(replace(WELL, redis=reports(behind, OTHER)))] == [
        "consumer-a:4711: 310 s behind, more than 300"
    ]


def test_a_member_without_partitions_is_well() -> None:
    spare = msgspec.structs.replace(MEMBER, pid=5, partitions={}, unready="no partitions are assigned")
    facts = replace(WELL, redis=reports(MEMBER, OTHER, spare), kafka=replace(KAFKA, members=3))
    assert bad(facts) == []


def test_members_that_have_nothing_at_all() -> None:
    idle = msgspec.structs.replace(
        MEMBER, partitions={}, unready="no partitions are assigned", lag_records=0, lag_s=0.0
    )
    facts = replace(WELL, redis=reports(idle), kafka=replace(KAFKA, members=1))
    assert bad(facts) == [("group", Level.FAILURE, "1 member without any partition; lag 0 records, 0 s")]


def test_partitions_without_a_member() -> None:
    facts = replace(
        WELL, redis=reports(MEMBER, gone={"consumer-b:17:5": NOW - 40_000}), kafka=replace(KAFKA, members=1)
    )
    found = bad(facts)
    assert found == [
        (
            "group",
            Level.FAILURE,
            f"8 partitions without a member: {DEMO}[4], {DEMO}[5], {DEMO}[6] and 5 more; lag 43 records, 0 s",
        ),
        (
            "member",
            Level.WARNING,
            "consumer-b:17: no report for 40 s: it was killed, or it can't reach Redis",
        ),
    ]
    assert line(facts, "group").facts["lag_records"] == 3 + 40


def test_nobody_runs() -> None:
    facts = replace(WELL, redis=reports(gone={"a:1:2": NOW - 50_000}), kafka=replace(KAFKA, members=0))
    assert bad(facts)[0] == (
        "group",
        Level.FAILURE,
        "no member runs, the last report was 50 s ago; lag 40 records",
    )


def test_nobody_runs_and_kafka_does_not_answer() -> None:
    """Without Kafka nobody knows what is left: 0 records would say that all was applied."""
    facts = replace(WELL, redis=reports(), kafka=AWAY)
    assert ("group", Level.FAILURE, "no member runs; lag not known") in bad(facts)
    assert line(facts, "group").facts["lag_records"] is None


def test_a_member_that_does_not_report_is_no_failure_while_reports_have_every_partition() -> None:
    """An older version, or an account without the right: what it does is not known, and it has nothing to do."""
    facts = replace(WELL, kafka=replace(KAFKA, members=3))
    assert bad(facts) == [
        ("group", Level.WARNING, "3 members in Kafka, only 2 of them with a report; lag 6 records, 0 s")
    ]
    assert exit_code(each.finding for each in judged(facts, LIMITS)) == 0


def test_a_group_in_which_nobody_reports_is_a_failure() -> None:
    """A member that can't reach Redis stays in the group, and applies nothing."""
    behind = replace(KAFKA, members=1, left={Partition(USERS, 5): 20_000_000})
    facts = replace(WELL, redis=reports(gone={"consumer-a:4711:5": NOW - 1_800_000}), kafka=behind)
    assert bad(facts)[0] == (
        "group",
        Level.FAILURE,
        "1 member in Kafka, none of them with a report; lag 20,000,000 records",
    )
    assert exit_code(each.finding for each in judged(facts, LIMITS)) == 1


def test_partitions_that_no_report_has_are_a_failure_whether_or_not_kafka_knows_more_members() -> None:
    assert bad(replace(WELL, redis=reports(MEMBER))) == [
        (
            "group",
            Level.FAILURE,
            (
                "2 members in Kafka, only 1 of them with a report;"
                f" no report has {DEMO}[4], {DEMO}[5], {DEMO}[6] and 5 more; lag 43 records, 0 s"
            ),
        )
    ]
    idle = msgspec.structs.replace(MEMBER, partitions={}, unready="no partitions are assigned", lag_records=0)
    assert bad(replace(WELL, redis=reports(idle))) == [
        (
            "group",
            Level.FAILURE,
            "2 members in Kafka, only 1 of them with a report; no report has a partition; lag 0 records, 0 s",
        )
    ]


@pytest.mark.parametrize(
    ("server", "level"),
    [
        (replace(SERVER, version=""), Level.WARNING),
        (replace(SERVER, role="slave"), Level.FAILURE),
        (replace(SERVER, policy="allkeys-lru", evicted=7), Level.WARNING),
        (replace(SERVER, used=4 << 30, policy="noeviction"), Level.WARNING),
        (replace(SERVER, used=4 << 30), Level.OK),
        (replace(SERVER, limit=0), Level.OK),
    ],
)
def test_redis(server: RedisServer, level: Level) -> None:
    facts = replace(WELL, redis=replace(REDIS, servers=[SERVER, replace(server, address="10.0.0.2:6379")]))
    finding = line(facts, "redis").finding
    assert finding.level is level
    assert ("10.0.0.2:6379" in finding.found) == (level is not Level.OK)


def test_an_account_that_may_not_ask_redis_for_its_memory() -> None:
    assert [each[:2] for each in bad(replace(WELL, redis=replace(REDIS, servers=[RedisServer("a:1")])))] == [
        ("redis", Level.WARNING)
    ]


@pytest.mark.parametrize(
    ("audit", "level", "found"),
    [
        (None, Level.OK, "none in the last 30 days"),
        (AUDIT, Level.OK, "100 % of 12,000 users right 2 h ago"),
        (
            msgspec.structs.replace(AUDIT, wrong=1, share_right=0.99999999, causes={"evicted": 1}),
            Level.FAILURE,
            "99.9999 % of 12,000 users right 2 h ago; 1 wrong: evicted 1",
        ),
        (
            msgspec.structs.replace(AUDIT, wrong=2, share_right=0.5, causes={"evicted": 1, "behind": 1}, mended=2),
            Level.OK,
            "50 % of 12,000 users right 2 h ago; 2 wrong: behind 1, evicted 1; 2 corrected",
        ),
        (
            msgspec.structs.replace(AUDIT, unusable=3, scope="a sample of 9 of each table"),
            Level.FAILURE,
            "100 % of 12,000 users (a sample of 9 of each table) right 2 h ago; 3 can't be compared",
        ),
    ],
)
def test_the_last_audit(audit: AuditReport | None, level: Level, found: str) -> None:
    finding = line(replace(WELL, redis=reports(MEMBER, OTHER, audit=audit)), "audit").finding
    assert (finding.level, finding.found) == (level, found)


def test_different_versions_in_one_group() -> None:
    older = msgspec.structs.replace(OTHER, version="0.1.0")
    assert [each[:2] for each in bad(replace(WELL, redis=reports(MEMBER, older)))] == [("versions", Level.WARNING)]


def test_what_is_not_known_because_a_server_is_away_is_no_second_failure() -> None:
    without = replace(WELL, kafka=AWAY, letters=AWAY)
    assert [each[:2] for each in bad(without)] == [
        ("heartbeat", Level.WARNING),
        ("kafka", Level.FAILURE),
        ("dead letters", Level.WARNING),
    ]
    assert line(without, "group").finding.found == "2 members with 16 partitions; lag 6 records, 0 s"
    without = replace(WELL, redis=Unknown("refused"))
    assert [each[:2] for each in bad(without)] == [
        ("group", Level.WARNING),
        ("redis", Level.FAILURE),
        ("audit", Level.WARNING),
    ]


def test_a_refused_setting_is_exit_code_2() -> None:
    refused = Unknown.of(ConfigError("CDC_REDIS__URL", "Redis refused: WRONGPASS", fix="restore the password"))
    assert (refused.why, refused.advice) == ("CDC_REDIS__URL: Redis refused: WRONGPASS", "restore the password")
    wrong = Unknown.of(ConfigError("CDC_KAFKA__SECURITY__PROTOCOL", "it speaks TLS only", allowed="SSL or SASL_SSL"))
    assert wrong.advice == "correct CDC_KAFKA__SECURITY__PROTOCOL; allowed: SSL or SASL_SSL"
    assert exit_code(each.finding for each in judged(replace(WELL, redis=refused), LIMITS)) == 2
    away = Unknown.of(ServerUnavailable("Redis", "no answer"))
    assert (away.why, exit_code(each.finding for each in judged(replace(WELL, redis=away), LIMITS))) == ("no answer", 1)


def test_json_has_the_facts_and_one_object_for_all() -> None:
    lines = [json.loads(each) for each in json_lines(judged(WELL, LIMITS), LIMITS, NOW)]
    assert [each["part"] for each in lines] == [
        "connector",
        "heartbeat",
        "group",
        "member",
        "member",
        "redis",
        "dead letters",
        "audit",
        "versions",
        "summary",
    ]
    assert {"part", "level", "found", "advice"} <= set.intersection(*(set(each) for each in lines))
    assert (lines[-1]["level"], lines[-1]["found"], lines[-1]["group"]) == ("ok", "ok", "cdc-consumer")
    member = lines[3]
    assert (member["per_minute"], member["lag_s"], member["partitions"][USERS]) == (12_345.6, 0.4, [0, 1, 2, 3])


TROUBLE = replace(
    WELL,
    connectors=[
        replace(CONNECTOR, tasks=["FAILED"], cause="com.mysql.cj.jdbc.exceptions.CommunicationsException: no link"),
        replace(CONNECTOR, name="trading-postgres"),
    ],
    redis=replace(
        reports(
            msgspec.structs.replace(MEMBER, waits_for=("kafka", "redis"), lag_records=31_000, lag_s=310.0),
            msgspec.structs.replace(OTHER, worker=3),
            gone={"cdc-consumer-7d9f8b6c5-x2x7q:1:5": NOW - 45_000},
            audit=msgspec.structs.replace(AUDIT, wrong=3, share_right=0.99975, causes={"overwritten": 2, "evicted": 1}),
        ),
        kind="a cluster",
        servers=[SERVER, SERVER, SERVER],
    ),
    letters={"undecodable": 2, "redis_wrongtype": 1},
)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("status_well", WELL),
        ("status_trouble", TROUBLE),
        ("status_away", Facts(NOW, AWAY, Unknown("Redis did not answer within 5 s"), AWAY, AWAY)),
    ],
)
def test_screens(name: str, facts: Facts) -> None:
    check(name, *parts(judged(facts, LIMITS), LIMITS, NOW))


def test_many_members_are_still_one_screen_and_the_worst_are_on_it() -> None:
    many = [msgspec.structs.replace(MEMBER, pid=number) for number in range(60)]
    many[-1] = msgspec.structs.replace(many[-1], unready="the loop hangs")
    shown = parts(judged(replace(WELL, redis=reports(*many), kafka=replace(KAFKA, members=60)), LIMITS), LIMITS, NOW)
    screen = printed(*shown, width=100)
    assert len(screen.splitlines()) <= 30
    assert "the loop hangs" in screen
    assert "and 50 more members" in screen


def test_words() -> None:
    assert [span(each) for each in (-1, 0.4, 119, 120, 7199, 7200, 86_400 * 3)] == [
        "0 s",
        "0 s",
        "119 s",
        "2 min",
        "119 min",
        "2 h",
        "3 days",
    ]
    assert [size(each) for each in (12, 2048, 5 << 20, 3 << 30)] == ["12 B", "2.0 kB", "5.0 MB", "3.0 GB"]
    assert [percent(each) for each in (1.0, 0.9999999, 0.5, 0.0)] == ["100 %", "99.9999 %", "50 %", "0 %"]


def test_a_survey_that_hangs_is_not_begun_again_and_delays_nobody() -> None:
    asked: list[int] = []
    goes_on = threading.Event()

    def ask() -> str:
        asked.append(1)
        goes_on.wait(10)
        return "answer"

    survey = Survey("Redis", ask)
    for _ in range(2):
        survey.begin()
        found = survey.answer(time.monotonic() + 0.05)
        assert isinstance(found, Unknown)
        assert found.why == "Redis did not answer within 5 s"
    goes_on.set()
    assert survey.answer(time.monotonic() + 10) == "answer"
    assert asked == [1]
    survey.begin()
    assert survey.answer(time.monotonic() + 10) == "answer"
    assert asked == [1, 1]


def test_a_survey_keeps_its_answer_for_a_while_and_says_what_failed() -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        if len(asked) > 1:
            raise ServerUnavailable("Kafka", "no broker")
        return 5

    kept = Survey("Kafka", ask, keep_s=60.0)
    for _ in range(2):
        kept.begin()
        assert kept.answer(time.monotonic() + 10) == 5
    assert asked == [1]
    failing = Survey("Kafka", ask)
    failing.begin()
    assert failing.answer(time.monotonic() + 10) == Unknown("no broker")

    def mistaken() -> int:
        raise KeyError("hunter2")

    mistake = Survey("Kafka", mistaken)
    mistake.begin()
    found = mistake.answer(time.monotonic() + 10)
    assert isinstance(found, Unknown)
    assert found.why == "Kafka could not be asked: KeyError"
