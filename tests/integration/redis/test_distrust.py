"""Users whose state is not to be trusted, on a real Redis: what is marked, and which whole row may heal them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pytest
import redis
from msgspec import structs

from consumer.commands.snapshot import present
from consumer.commands.snapshot.marks import mark_users
from consumer.errors import ServerError
from consumer.events.record import SourceRecord
from consumer.guard.version import Verdict
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.planning.decision import decide, healing_plan
from consumer.planning.effect import Plan
from consumer.sink.redis_sink import RedisSink
from tests.integration.pipeline.test_dead_letters import CONFIG, record
from tests.integration.redis.conftest import keys_of

RULES = reference()
USER = UserId("live", 123)
GUARD = "cdc:{live:123}"
TOPIC = "trading.trading.live_users"
LIVE = RULES.table("live_users")


def marked(
    sink: RedisSink,
    client: redis.Redis,
    ends: Sequence[Mapping[int, int]],
    users: Iterable[UserId] = (USER,),
    topic: str = TOPIC,
) -> int:
    """Mark; the topic ends where ``ends`` says, look by look."""
    assert LIVE is not None
    left = list(ends)
    return mark_users(
        users,
        LIVE,
        topic,
        sink,
        RULES,
        ends=lambda: left.pop(0) if len(left) > 1 else left[0],
        versions=lambda found: present.versions(keys_of(client), RULES.names, found, "live_users"),
    )


def planned(source: SourceRecord) -> Plan:
    plan = decide(source, RULES).plan
    assert plan is not None
    return plan


def applied(sink: RedisSink, source: SourceRecord) -> Verdict:
    ((_, answer),) = sink.apply([planned(source)])
    assert not isinstance(answer, ServerError)
    return answer.verdict


def incremental(offset: int) -> SourceRecord:
    """The user's row as an incremental snapshot reads it."""
    return structs.replace(record("An incremental snapshot", offset), offset=offset)


def test_a_read_behind_the_mark_overwrites_and_takes_the_mark_away(sink: RedisSink, client: redis.Redis) -> None:
    applied(sink, record("A deposit", 5))
    right = client.hgetall(CONFIG)
    client.hset(CONFIG, mapping={"group": "drifted", "extra": "kept"})
    assert marked(sink, client, [{0: 6}]) == 1
    assert client.hget(GUARD, "!live_users") == f"{TOPIC}|0|6"
    applied(sink, incremental(6))
    assert client.hget(CONFIG, "group") != "drifted"
    assert client.hget(CONFIG, "extra") == "kept"
    assert client.hget(GUARD, "!live_users") is None
    assert right.keys() <= client.hgetall(CONFIG).keys()


def test_a_read_from_before_the_mark_does_not_overwrite(sink: RedisSink, client: redis.Redis) -> None:
    """Such as one that was left over from an earlier snapshot, while the program is behind."""
    applied(sink, record("A deposit", 5))
    client.hset(CONFIG, "group", "drifted")
    marked(sink, client, [{0: 8}])
    applied(sink, incremental(7))
    assert client.hget(CONFIG, "group") == "drifted"
    assert client.hget(GUARD, "!live_users") == f"{TOPIC}|0|8"


def test_a_change_behind_the_mark_is_asked_for_whole_and_then_reads_only_fill(
    sink: RedisSink, client: redis.Redis
) -> None:
    applied(sink, record("A deposit", 5))
    marked(sink, client, [{0: 6}])
    change = record("The group", 6)
    assert applied(sink, change) is Verdict.UNHEALED
    ((_, answer),) = sink.apply([healing_plan(decide(change, RULES), RULES)])
    assert not isinstance(answer, ServerError)
    assert answer.is_accepted
    client.hset(CONFIG, "margin", "newer")
    applied(sink, incremental(7))
    assert client.hget(CONFIG, "margin") == "newer"


def test_a_change_that_came_meanwhile_is_looked_for_again(sink: RedisSink, client: redis.Redis) -> None:
    """The end of the topic was asked for, and then a change from behind it was applied."""
    applied(sink, record("A deposit", 5))
    assert marked(sink, client, [{0: 3}, {0: 6}]) == 1
    assert client.hget(GUARD, "!live_users") == f"{TOPIC}|0|6"


def test_users_who_never_rest_are_told(sink: RedisSink, client: redis.Redis) -> None:
    applied(sink, record("A deposit", 5))
    with pytest.raises(ServerError, match="1 users change faster than they can be marked"):
        marked(sink, client, [{0: 3}])


def test_who_was_deleted_is_not_marked(sink: RedisSink, client: redis.Redis) -> None:
    applied(sink, record("A deleted user", 5))
    assert marked(sink, client, [{0: 6}]) == 0
    assert client.hget(GUARD, "!live_users") is None


def test_who_has_nothing_is_not_marked_and_is_written_whole(sink: RedisSink, client: redis.Redis) -> None:
    """A mark of somebody who does not exist would stand for ever."""
    assert marked(sink, client, [{0: 6}]) == 0
    assert client.dbsize() == 0
    applied(sink, incremental(6))
    whole = client.hgetall(CONFIG)
    client.delete(CONFIG, GUARD)
    client.set("user_balance:live:123", "0.01")
    assert marked(sink, client, [{0: 6}]) == 1
    applied(sink, incremental(7))
    assert client.hgetall(CONFIG) == whole
    assert client.get("user_balance:live:123") != "0.01"


@pytest.mark.parametrize("topic", [TOPIC, "other.trading.live_users"])
def test_without_a_version_in_this_topic_any_later_row_heals(sink: RedisSink, client: redis.Redis, topic: str) -> None:
    if topic != TOPIC:
        applied(sink, record("A deposit", 5))
    client.hset(CONFIG, "group", "drifted")
    assert marked(sink, client, [{0: 1000}], topic=topic) == 1
    applied(sink, incremental(9))
    assert client.hget(CONFIG, "group") != "drifted"


def test_who_is_present(client: redis.Redis) -> None:
    for key in ("user:{live:1}:config", "user:{live:2}:config", "cdc:{live:2}", "cdc:{live:3}", "cdc:{demo:4}"):
        client.hset(key, "a", "b")
    client.hset("user:{live:x}:config", "a", "b")
    client.hset("user:{live:1}:portfolio", "a", "b")
    found = list(present.users(keys_of(client), RULES.names, "live"))
    assert sorted(found) == [UserId("live", 1), UserId("live", 2), UserId("live", 3)]
    assert list(present.users(keys_of(client), RULES.names, "demo")) == [UserId("demo", 4)]


def test_keys_with_special_characters(client: redis.Redis) -> None:
    names = replace(RULES.names, config="[u]?<type>*<id>\\", guard="g:<type>:<id>")
    client.hset("[u]?live*7\\", "a", "b")
    client.hset("uxlive-8\\", "a", "b")
    assert list(present.users(keys_of(client), names, "live")) == [UserId("live", 7)]
