"""The script where the server keeps functions and where it does not, and what it says after a lost connection."""

from __future__ import annotations

import pytest
import redis
from pydantic import SecretStr

from consumer.errors import Reconnected, ServerUnavailable
from consumer.events.position import Origin
from consumer.events.record import Partition
from consumer.guard.version import Version
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.planning.effect import Plan
from consumer.planning.shape import Mode, PlanShape
from consumer.settings.sections import Guard, Redis
from consumer.sink.call import Calls
from consumer.sink.redis_sink import RedisSink
from consumer.sink.script import Call, Script
from tests.integration.redis.conftest import ONE_SERVER
from tests.integration.redis.test_sink import apply, plan_of

pytestmark = [*ONE_SERVER]

SHAPE = PlanShape(table="live_users", user_type="live", guard="cdc:{<type>:<id>}", mode=Mode.MARK)
USER = Plan(UserId("live", 1), SHAPE, Version(0, Origin.STREAMED, 0, 0, "t", 0, 7))
PING: list[Call] = [Calls(Guard()).of(USER)]
PART = Partition("t.db.live_users", 3)


@pytest.fixture
def script(redis_url: str, client: redis.Redis) -> Script:
    return Script(Redis(url=SecretStr(redis_url)))


def test_a_function_where_the_server_has_them(script: Script, client: redis.Redis) -> None:
    (reply,) = script.call(PING)
    assert reply[0] == "newer"
    is_new = int(client.info("server")["redis_version"].partition(".")[0]) >= 7
    assert script.kind == ("FCALL" if is_new else "EVALSHA")


def test_a_script_where_the_account_may_not_load_functions(redis_url: str, client: redis.Redis) -> None:
    """A server before Redis 7 has none, and does not take the rule."""
    is_new = int(client.info("server")["redis_version"].partition(".")[0]) >= 7
    rules = ("on", ">x", "~*", "&*", "+@all", *(["-function"] if is_new else []))
    client.execute_command("ACL", "SETUSER", "plain", *rules)
    script = Script(Redis(url=SecretStr(redis_url.replace("redis://", "redis://plain:x@"))))
    assert script.call(PING)[0][0] == "newer"
    assert script.kind == "EVALSHA"
    script.close()
    client.execute_command("ACL", "DELUSER", "plain")


def test_lost_in_the_middle_it_is_loaded_again(script: Script, client: redis.Redis) -> None:
    script.call(PING)
    client.script_flush()
    if script.kind == "FCALL":
        client.execute_command("FUNCTION", "FLUSH")
    assert [reply[0] for reply in script.call(PING * 3)] == ["duplicate"] * 3


@pytest.mark.parametrize("tracking", [True, False])
def test_a_lost_connection_is_said_once_before_anything_is_done(
    redis_url: str, client: redis.Redis, tracking: bool
) -> None:
    sink = RedisSink(Redis(url=SecretStr(redis_url), tracking=tracking), Guard(), reference(), "g")
    sink.reach()
    apply(sink, plan_of("A new live user", 1))
    sink.store_offsets({PART: 41})
    client.client_kill_filter(_type="normal", skipme=True)
    for _ in range(2):
        with pytest.raises(Reconnected):
            list(sink.apply([plan_of("A deposit", 2)]))
    assert client.get("user_balance:live:123") == "1000.00"
    with pytest.raises(Reconnected):
        sink.store_offsets({PART: 42})
    sink.accept_new_connection()
    assert sink.stored_offsets() == {PART: 41}
    assert apply(sink, plan_of("A deposit", 2))[0].is_accepted
    sink.close()


def test_a_server_that_became_a_replica_counts_as_a_lost_connection(redis_url: str, client: redis.Redis) -> None:
    """With sentinels the next connection goes to the new master, and there the last writes may be missing."""
    sink = RedisSink(Redis(url=SecretStr(redis_url)), Guard(), reference(), "g")
    sink.reach()
    apply(sink, plan_of("A new live user", 1))
    client.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(ServerUnavailable):
            list(sink.apply([plan_of("A deposit", 2)]))
    finally:
        client.replicaof("NO", "ONE")
    with pytest.raises(Reconnected):
        list(sink.apply([plan_of("A deposit", 2)]))
    sink.accept_new_connection()
    assert apply(sink, plan_of("A deposit", 2))[0].is_accepted
    sink.close()


def test_each_group_remembers_for_itself(redis_url: str, client: redis.Redis) -> None:
    one, other = (RedisSink(Redis(url=SecretStr(redis_url)), Guard(), reference(), group) for group in ("a", "b"))
    one.store_offsets({PART: 41, Partition("u", 0): 7})
    one.store_offsets({PART: 42})
    assert one.stored_offsets() == {PART: 42, Partition("u", 0): 7}
    assert other.stored_offsets() == {}
    one.close()
    other.close()
