"""The script's guard and the pure rule are one: the same versions, the same verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from consumer.events.position import Origin
from consumer.guard.version import Verdict, Version, compare, compare_letter
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.pipeline.protocols import Applied
from consumer.planning.decision import decide
from consumer.planning.effect import Plan
from consumer.planning.shape import Mode, PlanShape
from consumer.settings.sections import Guard
from consumer.sink.redis_sink import RedisSink
from tests.integration.redis.conftest import settings_of
from tests.integration.redis.test_sink import BALANCE, CONFIG, apply, plan_of, scenario
from tests.unit.guard.test_version import OLD, versions

GUARD = "cdc:{live:123}"
SHAPE = PlanShape(table="live_users", user_type="live", guard="cdc:{<type>:<id>}")


def _plan(version: Version) -> Plan:
    return Plan(UserId("live", 1), SHAPE, version)


def _texts(version: Version) -> list[str]:
    """As this program writes it, and as version 0.1 did, which did not keep Kafka's timestamp."""
    old = f"{version.epoch}|{version.origin}|mysql:1|0000000009/4/0|{version.ts_ms}"
    return [version.to_text(), f"{old}|{version.topic}|{version.partition}|{version.offset}"]


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    stored=versions.flatmap(lambda version: st.sampled_from(_texts(version))),
    candidate=versions,
    is_deleted=st.booleans(),
    mode=st.sampled_from((Mode.CHANGE, Mode.FILL, Mode.REBUILD)),
    is_of_letter=st.booleans(),
)
def test_the_script_says_what_the_rule_says(
    redis_url: str,
    client: redis.Redis,
    stored: str,
    candidate: Version,
    is_deleted: bool,
    mode: Mode,
    is_of_letter: bool,
) -> None:
    sink = _sink(redis_url)
    text = stored + ("|d" if is_deleted else "")
    client.delete("cdc:{live:1}")
    client.hset("cdc:{live:1}", "live_users", text)
    client.hset("cdc:{live:1}", "user_transactions", "another table's")
    ((_, answer),) = sink.apply([structs.replace(_plan(candidate).in_mode(mode), is_of_letter=is_of_letter)])
    assert isinstance(answer, Applied)
    before = Version.from_text(stored)
    expected = (compare_letter if is_of_letter else compare)(candidate, before)
    # A read that may only fill has nothing to fill here; an operator's new epoch makes it a change. Nor is there
    # anything to heal for a rebuild of what stands there.
    is_same = expected is Verdict.DUPLICATE
    is_read = mode is Mode.REBUILD and candidate.origin is Origin.INCREMENTAL and not is_same
    is_fill = (mode is Mode.FILL or is_read) and candidate.epoch <= before.epoch
    if is_fill:
        expected = Verdict.STALE if is_deleted or expected is Verdict.STALE else Verdict.DUPLICATE
    assert answer.verdict is expected
    assert answer.stored == text
    kept = candidate.to_text() if answer.is_accepted else text
    assert client.hgetall("cdc:{live:1}") == {"live_users": kept, "user_transactions": "another table's"}


@pytest.mark.parametrize(
    ("epoch", "place", "verdict"),
    [
        (0, "trading.users|0|9", Verdict.NEWER),
        (0, "trading.users|1|9", Verdict.STALE),
        (0, "trading.accts|0|9", Verdict.STALE),
        (0, "trading.users|0|4", Verdict.STALE),
        (1, "trading.users|0|4", Verdict.NEWER),
        (1, "trading.accts|1|4", Verdict.NEWER),
    ],
)
def test_a_higher_offset_counts_only_in_the_same_partition(
    redis_url: str, client: redis.Redis, epoch: int, place: str, verdict: Verdict
) -> None:
    """The texts are of one length: the script compares parts of the texts before it reads them.

    The change is older by both times, so only its offset speaks for it.
    """
    client.hset("cdc:{live:1}", "live_users", "0|s|t:2000||2000|trading.users|0|5")
    candidate = Version.from_text(f"{epoch}|s|t:1000||1000|{place}")
    ((_, answer),) = _sink(redis_url).apply([_plan(candidate)])
    assert isinstance(answer, Applied)
    assert answer.verdict is compare(candidate, Version.from_text("0|s|t:2000||2000|trading.users|0|5")) is verdict


def test_without_a_version_everything_is_newer(redis_url: str, client: redis.Redis) -> None:
    version = Version.from_text("0|s|t:1000500||1000000|t|0|50")
    ((_, answer),) = _sink(redis_url).apply([_plan(version)])
    assert isinstance(answer, Applied)
    assert answer.verdict is compare(version, None)


def test_a_version_that_nobody_can_read_is_told_and_nothing_is_written(redis_url: str, client: redis.Redis) -> None:
    client.hset("cdc:{live:1}", "live_users", "nonsense")
    ((_, answer),) = _sink(redis_url).apply([_plan(Version.from_text(next(iter(OLD.values()))))])
    assert "is not readable" in str(answer)
    assert client.hgetall("cdc:{live:1}") == {"live_users": "nonsense"}


def test_each_table_has_a_version_of_its_own(sink: RedisSink, client: redis.Redis) -> None:
    """Also when they come again, and after the user is gone."""
    plans = [plan_of("A new live user", 1), plan_of("The transaction's row alone", 2)]
    apply(sink, *plans)
    known = client.hgetall(GUARD)
    tables = {plan.table: plan.version.to_text() for plan in plans}
    assert tables.keys() == {"live_users", "user_transactions"}
    assert {name: known[name] for name in tables} == tables
    assert {answer.verdict for answer in apply(sink, *plans)} == {Verdict.DUPLICATE}
    assert client.hgetall(GUARD) == known
    deleted = plan_of("A deleted user", 3)
    apply(sink, deleted)
    assert {name: client.hget(GUARD, name) for name in tables} == tables | {
        "live_users": f"{deleted.version.to_text()}|d"
    }
    assert [answer.verdict for answer in apply(sink, *plans)] == [Verdict.STALE, Verdict.DUPLICATE]
    assert client.keys("*") == [GUARD]


def test_the_next_record_is_newer_whatever_place_and_server_it_names(sink: RedisSink, client: redis.Redis) -> None:
    """After a failover, RESET MASTER or a restore the places begin again lower; the partition goes on."""
    before, after = plan_of("The group", 50), plan_of("A deposit", 51)
    answers = apply(sink, before, after)
    assert [answer.verdict for answer in answers] == [Verdict.NEWER, Verdict.NEWER]
    assert apply(sink, before)[0].verdict is Verdict.STALE


def test_a_row_read_in_the_database_is_written_only_where_no_change_came_since(
    sink: RedisSink, client: redis.Redis
) -> None:
    """The version stays as it is: what the row held already is older than it, what comes behind it is newer."""
    apply(sink, plan_of("A deposit", 50))
    seen = client.hget(GUARD, "live_users")
    assert isinstance(seen, str)
    client.hset(CONFIG, "wallet_balance", "1.00")
    rebuilt = plan_of("A deposit", 50).in_mode(Mode.REBUILD).publishing(())
    read = structs.replace(rebuilt, expected=seen, version=Version.from_text(seen))
    assert apply(sink, read)[0].verdict is Verdict.HEALED
    assert (client.hget(CONFIG, "wallet_balance"), client.hget(GUARD, "live_users")) == ("10000.50", seen)
    client.hset(CONFIG, "wallet_balance", "1.00")
    apply(sink, plan_of("The group", 51))
    assert apply(sink, read)[0].verdict is Verdict.STALE
    assert client.hget(CONFIG, "wallet_balance") == "1.00"


def test_an_operators_epoch_makes_a_snapshot_authoritative(sink: RedisSink, client: redis.Redis) -> None:
    """Without it an incremental read fills what is missing. With it the read counts, and nothing of before does."""
    apply(sink, plan_of("A deposit", 50))
    read = scenario("An incremental").changes[0].record(51)
    by_itself, raised = (decide(read, replace(reference(), epoch=epoch)).plan for epoch in (0, 1))
    assert by_itself is not None
    assert raised is not None
    apply(sink, by_itself)
    assert (client.hget(CONFIG, "wallet_balance"), client.get(BALANCE)) == ("10000.50", "10000.50")
    assert apply(sink, raised)[0].verdict is Verdict.NEWER
    assert (client.hget(CONFIG, "wallet_balance"), client.get(BALANCE)) == ("1000.00", "1000.00")
    assert apply(sink, plan_of("A deposit", 60))[0].verdict is Verdict.STALE
    assert client.hget(CONFIG, "wallet_balance") == "1000.00"


_sinks: dict[str, RedisSink] = {}


def _sink(url: str) -> RedisSink:
    """One sink for all examples of a server."""
    if url not in _sinks:
        _sinks[url] = RedisSink(settings_of(url, tracking=False), Guard(), reference())
    return _sinks[url]
