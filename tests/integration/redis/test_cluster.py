"""What only a cluster does: a plan in steps, each of which may be the last; shards that lose writes for themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import pytest
import redis
from msgspec.structs import replace

from consumer.errors import ConfigError, Reconnected, ServerUnavailable
from consumer.events.record import Partition
from consumer.mapping.keys import version_key_of
from consumer.mapping.reference import reference
from consumer.mapping.rules import Names
from consumer.planning.effect import Plan
from consumer.settings.sections import Guard, Kafka
from consumer.settings.sources import Settings
from consumer.sink import group_databases
from consumer.sink.cluster.plan_slots import SLOTS, slot, tags
from consumer.sink.cluster.routes import Routes
from consumer.sink.redis_sink import RedisSink
from consumer.sink.rights import database_key, wanted
from tests.integration.redis.conftest import settings_of
from tests.integration.redis.test_sink import BALANCE, CONFIG, PORTFOLIO, apply, plan_of
from tests.support.redis_cluster import TestCluster
from tests.support.redis_view import Listener, dump, eventually
from tests.support.stack.redis_cluster import ClusterClient

pytestmark = pytest.mark.parametrize("redis_kind", ["cluster"], indirect=True, scope="session")

PART, OTHER = Partition("t.db.live_users", 3), Partition("u", 0)
STEPS = 4
"""State; balance; derived keys; messages."""


class Crash(Exception):
    """The process is gone."""


@pytest.fixture
def make(redis_url: str, client: redis.Redis) -> Iterator[Callable[[], RedisSink]]:
    """Sinks of processes that begin anew."""
    made: list[RedisSink] = []

    def make() -> RedisSink:
        made.append(RedisSink(settings_of(redis_url, tracking=False), Guard(), reference(), "g"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, *, is_done: bool, act: Callable[[], None]) -> None:
    """Do ``act`` at a step of the next plan, before it or, if it ``is_done``, before its replies are read."""
    send_to_masters = Routes.send_to_masters
    left = [number]

    def watched(self: Routes, calls: Sequence[tuple[int, Any]]) -> list[Any]:
        left[0] -= 1
        if left[0] == 0 and not is_done:
            act()
        replies = send_to_masters(self, calls)
        if left[0] == 0 and is_done:
            act()
        return replies

    monkeypatch.setattr(Routes, "send_to_masters", watched)


def crash() -> None:
    raise Crash


def succeed(sink: RedisSink, *plans: Plan) -> None:
    for plan in plans:
        apply(sink, plan)


@pytest.mark.parametrize("beginning", ["Money and profile", "A deleted user", "A new live user"])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
@pytest.mark.parametrize("is_done", [False, True])
def test_resumed_where_it_stopped_and_told_once(
    make: Callable[[], RedisSink],
    client: ClusterClient,
    monkeypatch: pytest.MonkeyPatch,
    beginning: str,
    step: int,
    is_done: bool,
) -> None:
    plan = plan_of(beginning, 2)

    def fill() -> None:
        client.flushall()
        client.hset(PORTFOLIO, "positions", "3")
        client.mset({"user_stats:live:123": "x", BALANCE: "1.00", "financial_summary:live:123:day": "x"})

    fill()
    apply(make(), plan)
    expected = dump(client)
    fill()
    with closing(Listener(client)) as listener:
        sink = make()
        with monkeypatch.context() as patch:
            at_step(patch, step, is_done=is_done, act=crash)
            with pytest.raises(Crash):
                list(sink.apply([plan]))
        apply(make(), plan)
        assert dump(client) == expected
        apply(make(), plan)
        assert [channel for channel, _ in listener.heard()] == [message.channel for message in plan.messages]


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_process_that_was_frozen_between_two_steps_changes_nothing(
    make: Callable[[], RedisSink], client: ClusterClient, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Its successor does that plan again and the next ones, and then the first wakes up."""
    first, later = plan_of("A deposit", 1), plan_of("A deposit", 2)
    later = replace(later, values={**later.values, "wallet_balance": "7.00"}).publishing(())
    sink, successor = make(), make()
    with closing(Listener(client)) as listener:
        with monkeypatch.context() as patch:
            at_step(patch, step, is_done=False, act=lambda: succeed(successor, first, later))
            list(sink.apply([first]))
        assert client.get(BALANCE) == "7.00"
        assert str(client.hget("cdc:{live:123}", "live_users")) == later.version.to_text()
        assert len(listener.heard()) == len(first.messages)


def test_a_version_that_outlived_the_balance(make: Callable[[], RedisSink], client: ClusterClient) -> None:
    """A shard may lose what another has: what is read again is done again there, and nowhere else; nobody is told."""
    deposit, group = plan_of("A deposit", 1), plan_of("The group", 2)
    sink = make()
    apply(sink, deposit, group)
    expected = dump(client)
    client.delete(BALANCE, version_key_of(BALANCE))
    client.set("user_stats:live:123", "as it was before the deposit")
    with closing(Listener(client)) as listener:
        apply(sink, *(plan.repeated() for plan in (deposit, group)))
        assert dump(client) == expected
        assert listener.heard() == []


def test_without_a_loss_nothing_is_done_again(make: Callable[[], RedisSink], client: ClusterClient) -> None:
    sink = make()
    apply(sink, plan_of("A deposit", 1))
    client.set("user_stats:live:123", "fresh")
    apply(sink, plan_of("A deposit", 1))
    assert client.get("user_stats:live:123") == "fresh"


def remembered(client: ClusterClient) -> dict[str, Mapping[str, str]]:
    keys = [f"cdc:offsets:{{{tag}}}:g" for tag in tags(64)]
    return {key: {str(name): str(value) for name, value in client.hgetall(key).items()} for key in keys}


def test_every_part_of_the_slots_remembers(make: Callable[[], RedisSink], client: ClusterClient) -> None:
    sink = make()
    sink.store_offsets({PART: 41, OTHER: 7})
    sink.store_offsets({PART: 42})
    assert list(remembered(client).values()) == [{"t.db.live_users:3": "42", "u:0": "7"}] * 64
    assert sink.stored_offsets() == {PART: 42, OTHER: 7}


def test_what_one_shard_lost_counts(make: Callable[[], RedisSink], client: ClusterClient) -> None:
    sink = make()
    sink.store_offsets({PART: 42, OTHER: 7})
    client.hset(next(reversed(remembered(client))), "t.db.live_users:3", "40")
    assert sink.stored_offsets() == {PART: 40, OTHER: 7}


def test_a_shard_that_was_emptied_is_told_from_one_that_is_behind(
    make: Callable[[], RedisSink], client: ClusterClient
) -> None:
    sink = make()
    sink.store_offsets({PART: 42})
    client.delete(next(iter(remembered(client))))
    assert sink.stored_offsets() == {}


def test_a_connection_lost_to_one_node_is_told_and_the_others_work(
    make: Callable[[], RedisSink], client: ClusterClient, redis_kind: TestCluster
) -> None:
    sink = make()
    apply(sink, plan_of("A new live user", 1))
    sink.store_offsets({PART: 41})
    with redis_kind.master_of(CONFIG).connect() as node:
        node.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(Reconnected):
        list(sink.apply([plan_of("A deposit", 2)]))
    with pytest.raises(Reconnected):
        sink.store_offsets({PART: 42})
    assert client.get(BALANCE) == "1000.00"
    sink.accept_new_connection()
    assert sink.stored_offsets() in ({PART: 41}, {PART: 42})
    assert apply(sink, plan_of("A deposit", 2))[0].is_accepted


def test_a_slot_that_moves_is_followed(
    make: Callable[[], RedisSink], client: ClusterClient, redis_kind: TestCluster
) -> None:
    sink = make()
    apply(sink, plan_of("A new live user", 1))
    source = redis_kind.master_of(CONFIG)
    to = next(node for node in redis_kind.nodes[:3] if node is not source)
    redis_kind.move(slot(CONFIG), to)
    assert apply(sink, plan_of("A deposit", 2))[0].is_accepted
    redis_kind.move(slot(CONFIG), source)
    assert apply(sink, plan_of("The group", 3))[0].is_accepted


def test_keys_of_a_master_that_turned_up_are_cleared(
    redis_url: str, client: ClusterClient, redis_kind: TestCluster
) -> None:
    """The index follows a slot to another master; a key that is written there is known there."""

    def is_gone(key: str) -> bool:
        return not client.exists(key)

    sink = RedisSink(settings_of(redis_url), Guard(), reference(), "g")
    sink.reach()
    try:
        for number in range(3):
            key = f"financial_summary:live:123:{number}"
            source = redis_kind.master_of(key)
            to = next(node for node in redis_kind.nodes[:3] if node is not source)
            client.set(key, "before")
            redis_kind.move(slot(key), to)
            client.set(key, "after")
            apply(sink, plan_of("A deposit", number + 1))
            eventually(partial(is_gone, key), what=key)
            redis_kind.move(slot(key), source)
    finally:
        sink.close()


def test_keys_that_can_not_be_written_together_are_refused_at_the_start(
    redis_url: str, redis_kind: TestCluster
) -> None:
    rules = dataclasses.replace(reference(), names=Names(config="user:<type>:<id>:config"))
    sink = RedisSink(settings_of(redis_url), Guard(), rules)
    with pytest.raises(ConfigError, match="CDC_MAPPING"):
        sink.reach()
    sink.close()


def test_the_tags_lie_on_every_master(redis_kind: TestCluster) -> None:
    share = -(-SLOTS // 3)
    assert {slot(f"{{{tag}}}") // share for tag in tags(64)} == {0, 1, 2}


def test_plans_of_many_users_are_each_answered(make: Callable[[], RedisSink], client: ClusterClient) -> None:
    from tests.integration.redis.test_states import plan_for

    plans: list[Plan] = [plan_for(number, "A new live user", number) for number in range(1, 200)]
    assert all(each.is_accepted for each in apply(make(), *plans))
    assert len(client.keys("user_balance:*")) == len(plans)
    assert not client.hexists("cdc:{live:7}", ">live_users")


def test_enough_rights_are_enough(redis_url: str, client: ClusterClient) -> None:
    """The account that `check` recommends for a cluster, with which everything of a plan is done."""
    rights = wanted(reference(), "g", has_functions=True, is_cluster=True)
    client.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">x", *rights.split())
    sink = RedisSink(settings_of(redis_url, "narrow:x"), Guard(), reference(), "g")
    try:
        sink.reach()
        client.set("financial_summary:live:123:day", "x")
        assert all(each.is_accepted for each in apply(sink, plan_of("A deposit", 1), plan_of("A deleted user", 2)))
        sink.store_offsets({PART: 5})
        assert sink.stored_offsets() == {PART: 5}
        assert not client.exists("financial_summary:live:123:day")
    finally:
        sink.close()
        client.execute_command("ACL", "DELUSER", "narrow")


def test_a_slot_that_no_master_has_is_waited_for(
    redis_url: str, redis_kind: TestCluster, client: ClusterClient
) -> None:
    """It ended a member that started while a master was away."""
    settings = Settings(redis=settings_of(redis_url), kafka=Kafka(bootstrap_servers="nowhere:1", topic_prefix="p"))
    number = slot(database_key(settings.kafka.group_id))
    owner = redis_kind.master_of(database_key(settings.kafka.group_id))
    with ExitStack() as exits:
        nodes = [exits.enter_context(node.connect()) for node in redis_kind.nodes]
        for node in nodes:
            node.execute_command("CLUSTER", "DELSLOTS", number)
        try:
            with pytest.raises(ServerUnavailable):
                group_databases.load(settings)
        finally:
            for node, connected in zip(redis_kind.nodes, nodes, strict=True):
                if node is owner:
                    connected.execute_command("CLUSTER", "ADDSLOTS", number)
            eventually(redis_kind.is_whole, 60)
    assert group_databases.load(settings) == frozenset()
