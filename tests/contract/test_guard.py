"""The script's guard and the pure rule are one: the same versions, the same verdict."""

from __future__ import annotations

from dataclasses import replace

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.config import Guard, Redis
from consumer.effect import Mode, Plan
from consumer.keys import UserId
from consumer.position import Verdict, Version, compare
from consumer.protocols import Applied
from consumer.reference import reference
from consumer.sink import RedisSink
from tests.unit.test_position import GAP_MS, versions


def _plan(version: Version) -> Plan:
    return Plan(user=UserId("live", 1), table="live_users", guard="cdc:{live:1}", version=version)


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(stored=versions, candidate=versions, is_deleted=st.booleans(), mode=st.sampled_from((Mode.CHANGE, Mode.FILL)))
def test_the_script_says_what_the_rule_says(
    client: redis.Redis, stored: Version, candidate: Version, is_deleted: bool, mode: Mode
) -> None:
    sink = _sink(client)
    text = stored.to_text() + ("|d" if is_deleted else "")
    client.delete("cdc:{live:1}")
    client.hset("cdc:{live:1}", "live_users", text)
    client.hset("cdc:{live:1}", "user_transactions", "another table's")
    ((_, answer),) = sink.apply([replace(_plan(candidate), mode=mode)])
    assert isinstance(answer, Applied)
    expected = compare(candidate, stored, GAP_MS)
    # A read that may only fill has nothing to fill here; an operator's new epoch makes it a change.
    is_fill = mode is Mode.FILL and candidate.epoch <= stored.epoch
    if is_fill:
        expected = Verdict.STALE if is_deleted or expected is Verdict.STALE else Verdict.DUPLICATE
    assert answer.verdict is expected
    assert answer.stored == text
    kept = candidate.to_text() if answer.is_accepted else text
    assert client.hgetall("cdc:{live:1}") == {"live_users": kept, "user_transactions": "another table's"}


def test_without_a_version_everything_is_newer(client: redis.Redis) -> None:
    version = Version.from_text("0|s|mysql:1|0000000009/00000000000000000004/0000000000|1000000|t|0|50")
    ((_, answer),) = _sink(client).apply([_plan(version)])
    assert isinstance(answer, Applied)
    assert answer.verdict is compare(version, None, GAP_MS)


_sinks: dict[int, RedisSink] = {}


def _sink(client: redis.Redis) -> RedisSink:
    """One sink for all examples of a server."""
    port = client.get_connection_kwargs()["port"]
    url = f"redis://127.0.0.1:{port}/0"
    if port not in _sinks:
        _sinks[port] = RedisSink(Redis.model_validate({"url": url, "tracking": False}), Guard(), reference())
    return _sinks[port]
