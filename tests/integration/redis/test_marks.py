"""The mark of a user whose change could not be applied, on real servers: the next good change writes everything."""

from __future__ import annotations

import pytest
import redis
from msgspec import structs

from consumer.guard.version import Verdict
from consumer.mapping.reference import reference
from consumer.planning.decision import decide, healing_plan
from consumer.planning.effect import Plan
from consumer.sink.redis_sink import RedisSink
from tests.integration.redis.test_sink import BALANCE, CONFIG, PORTFOLIO, apply, plan_of, scenario
from tests.support.redis_view import Listener, dump

GUARD, MARK = "cdc:{live:123}", "!live_users"
RULES = reference()


def mark_at(offset: int) -> Plan:
    lost = structs.replace(scenario("A deposit").changes[0].record(offset), value=b"no JSON")
    (mark,) = decide(lost, RULES).marks
    return mark


def healing_at(offset: int) -> Plan:
    return healing_plan(decide(scenario("A deposit").changes[0].record(offset), RULES), RULES)


def test_a_change_that_meets_a_mark_does_nothing_until_it_writes_everything(
    sink: RedisSink, client: redis.Redis
) -> None:
    client.hset(CONFIG, mapping={"group": "wrong since the record that was lost", "extra": "kept"})
    client.hset(PORTFOLIO, "positions", "3")
    assert apply(sink, mark_at(5))[0].verdict is Verdict.NEWER
    before = dump(client)
    assert apply(sink, plan_of("A deposit", 6))[0].verdict is Verdict.UNHEALED
    assert dump(client) == before
    listener = Listener(client)
    healing = healing_at(6)
    assert apply(sink, healing)[0].is_accepted
    assert healing.config is not None
    assert client.hgetall(CONFIG) == {**healing.config.changed, "extra": "kept"}
    assert client.hget(CONFIG, "group") == "Standard"
    assert client.get(BALANCE) == "10000.50"
    assert client.hget(PORTFOLIO, "group") == "Standard"
    assert [channel for channel, _ in listener.heard()] == [
        "user_updates",
        "admin_user_updates",
        "balance_updates",
        "group_updates",
    ]
    listener.close()
    assert not client.hexists(GUARD, MARK)
    assert client.ttl(GUARD) == -1
    assert apply(sink, plan_of("A deposit", 7))[0].verdict is Verdict.NEWER, "healed once, not for ever"


def test_what_was_applied_from_a_later_record_needs_no_mark(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, plan_of("A deposit", 6))
    before = dump(client)
    assert apply(sink, mark_at(5))[0].verdict is Verdict.STALE
    assert dump(client) == before


def test_a_mark_is_left_once(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, mark_at(5))
    assert client.ttl(GUARD) == -1
    before = dump(client)
    assert apply(sink, mark_at(5))[0].verdict is Verdict.DUPLICATE
    assert dump(client) == before


def test_a_mark_leaves_a_deleted_users_version_its_time_to_live(sink: RedisSink, client: redis.Redis) -> None:
    """Or the version, and the mark with it, would be kept for ever."""
    apply(sink, plan_of("A deleted user", 1))
    assert client.ttl(GUARD) > 0
    assert apply(sink, mark_at(2))[0].verdict is Verdict.NEWER
    assert client.hexists(GUARD, MARK)
    assert client.ttl(GUARD) > 0


def test_a_mark_keeps_the_version_of_a_user_of_whom_only_linked_rows_are_known(
    sink: RedisSink, client: redis.Redis
) -> None:
    apply(sink, plan_of("The transaction's row alone", 1))
    assert client.ttl(GUARD) > 0
    apply(sink, mark_at(2))
    assert client.ttl(GUARD) == -1


def test_a_stale_change_heals_nothing(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, plan_of("The group", 4), plan_of("A deposit", 5), mark_at(6))
    assert apply(sink, plan_of("The group", 4))[0].verdict is Verdict.STALE
    assert apply(sink, healing_at(5))[0].verdict is Verdict.DUPLICATE
    assert client.hexists(GUARD, MARK)


@pytest.mark.parametrize("beginning", ["A new live user", "A deleted user"])
def test_an_insert_and_a_delete_heal_by_themselves(sink: RedisSink, client: redis.Redis, beginning: str) -> None:
    apply(sink, mark_at(5))
    assert apply(sink, plan_of(beginning, 6))[0].is_accepted
    assert not client.hexists(GUARD, MARK)


def test_an_incremental_read_overwrites_where_a_user_is_marked(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, plan_of("The group", 1), mark_at(2))
    client.hset(CONFIG, "group", "wrong since the record that was lost")
    apply(sink, plan_of("An incremental", 3))
    assert client.hget(CONFIG, "group") == "Standard"
    assert not client.hexists(GUARD, MARK)


def test_a_marked_user_who_was_deleted_is_not_brought_back_by_a_read(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, plan_of("A deleted user", 1), mark_at(2), plan_of("An incremental", 3))
    assert not client.exists(CONFIG)


def test_a_row_that_was_not_sent_whole_is_applied_and_leaves_the_mark(sink: RedisSink, client: redis.Redis) -> None:
    client.hset(CONFIG, "margin", "0.00")
    apply(sink, mark_at(5))
    assert apply(sink, plan_of("An unchanged large text is neither", 6))[0].is_accepted
    assert client.hget(CONFIG, "margin") == "5.00"
    assert client.hexists(GUARD, MARK)


def test_a_mark_of_a_later_record_is_left_for_a_later_change(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, mark_at(5))
    assert apply(sink, plan_of("A new live user", 4))[0].is_accepted
    assert client.hexists(GUARD, MARK)


def test_what_comes_after_a_change_that_met_a_mark_waits_for_it(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, mark_at(5))
    answers = dict(sink.apply([plan_of("A deposit", 6), plan_of("A deleted user", 7)]))
    assert list(answers) == [0]


def test_the_mark_of_another_table_is_not_ours(sink: RedisSink, client: redis.Redis) -> None:
    client.hset(GUARD, "!demo_users", "t|0|9")
    assert apply(sink, plan_of("A deposit", 2))[0].verdict is Verdict.NEWER
    assert client.hget(GUARD, "!demo_users") == "t|0|9"


def test_a_user_whose_version_can_not_be_read_is_marked(sink: RedisSink, client: redis.Redis) -> None:
    client.hset(GUARD, "live_users", "junk")
    assert apply(sink, mark_at(0))[0].verdict is Verdict.NEWER
    assert client.hgetall(GUARD) == {"live_users": "junk", MARK: "trading.trading.live_users|0|0"}
