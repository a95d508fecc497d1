"""What every sink keeps, on real servers: guarded, atomic, in order, every reply checked."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace

import pytest
import redis
from msgspec import structs
from pydantic import SecretStr

from consumer.errors import ConfigError, Reconnected, ServerError, ServerUnavailable
from consumer.guard.version import Verdict
from consumer.mapping.reference import reference
from consumer.pipeline.protocols import Applied
from consumer.planning.decision import decide
from consumer.planning.effect import Plan, Publish
from consumer.planning.shape import Mode, changed_shape
from consumer.settings.sections import Guard, Redis
from consumer.sink.redis_sink import RedisSink
from tests.integration.redis.conftest import WITHOUT_CLUSTER, is_cluster, settings_of
from tests.support.redis_view import Listener, dump, eventually
from tests.support.scenario import Change, Scenario, load_all

SCENARIOS = {each.title: each for each in load_all()}
CONFIG, BALANCE, PORTFOLIO = "user:{live:123}:config", "user_balance:live:123", "user:{live:123}:portfolio"
AT = "2024-01-15T10:30:00.000Z"


def scenario(beginning: str) -> Scenario:
    (found,) = (each for title, each in SCENARIOS.items() if title.startswith(beginning))
    return found


def planned(change: Change, offset: int) -> Plan:
    plan = decide(change.record(offset), reference()).plan
    assert plan is not None
    return plan


def plan_of(beginning: str, offset: int, change: int = 0) -> Plan:
    return planned(scenario(beginning).changes[change], offset)


def apply(sink: RedisSink, *plans: Plan) -> list[Applied]:
    answers = [answer for _, answer in sorted(sink.apply(plans), key=lambda pair: pair[0])]
    assert all(isinstance(answer, Applied) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Applied)]


def test_a_hash_that_exists_gets_only_what_changed(sink: RedisSink, client: redis.Redis) -> None:
    client.hset(CONFIG, mapping={"group": "somebody else's", "extra": "kept", "wallet_balance": "1.00"})
    (answer,) = apply(sink, plan_of("A deposit", 1))
    assert answer.config_created is False
    assert client.hgetall(CONFIG) == {
        "group": "somebody else's",
        "extra": "kept",
        "wallet_balance": "10000.50",
        "last_balance_update": AT,
        "last_admin_update": AT,
        "last_updated": AT,
    }
    assert client.get(BALANCE) == "10000.50"
    assert 3590 <= client.ttl(BALANCE) <= 3600


def test_a_missing_hash_comes_back_whole(sink: RedisSink, client: redis.Redis) -> None:
    (answer,) = apply(sink, plan := plan_of("A deposit", 1))
    assert answer.config_created is True
    assert plan.config is not None
    assert client.hgetall(CONFIG) == plan.config.whole
    assert client.hget(CONFIG, "group") == "Standard"


def test_a_portfolio_is_updated_but_never_made(sink: RedisSink, client: redis.Redis) -> None:
    (answer,) = apply(sink, plan_of("A deposit", 1))
    assert answer.updated is False
    assert not client.exists(PORTFOLIO)
    client.hset(PORTFOLIO, "positions", "3")
    (answer,) = apply(sink, plan_of("The group", 2))
    assert answer.updated is True
    assert client.hgetall(PORTFOLIO) == {"positions": "3", "group": "VIP", "group_updated_at": AT}


def test_derived_keys_go_and_nobody_elses(sink: RedisSink, client: redis.Redis) -> None:
    plan = plan_of("A deposit", 1)
    mine = [*plan.cleared.keys, "financial_summary:live:123:day", "financial_summary:live:123:2024:01"]
    others = ["financial_summary:live:1234:day", "financial_summary:demo:123:day", "financial_summary:live:123"]
    others += ["user_stats:live:12", "user_holdings:{live:123}:1", "user_orders_index:{live:123}", "order_data:9"]
    client.mset(dict.fromkeys(mine + others, "x"))
    (answer,) = apply(sink, plan)
    # The server may tell the index of a new key a moment later. Then the key is cleared later, and not counted.
    assert len(plan.cleared.keys) <= answer.cleared <= len(mine)
    eventually(lambda: not client.exists(*mine))
    assert client.exists(*others) == len(others)


def test_a_wildcard_key_that_is_no_text_goes_too(sink: RedisSink, client: redis.Redis) -> None:
    client.set(b"financial_summary:live:123:\xff", "stale")

    def cleared() -> bool:
        apply(sink, plan_of("A deposit", 1).in_mode(Mode.REBUILD))
        client.hdel(CONFIG, "wallet_balance")  # or the next would find nothing to do
        return not client.exists(b"financial_summary:live:123:\xff")

    eventually(cleared)


def test_a_wildcard_key_written_since_the_start_goes_too(sink: RedisSink, client: redis.Redis) -> None:
    for offset in range(1, 30):
        client.set(f"financial_summary:live:123:{offset}", "stale")
        apply(sink, plan_of("A deposit", offset).publishing(()))
        eventually(lambda: not client.keys("financial_summary:live:123:*"))


def test_a_refused_plan_leaves_wildcard_keys_for_the_next_that_is_accepted(
    sink: RedisSink, client: redis.Redis
) -> None:
    apply(sink, plan_of("A deposit", 1))
    client.set("financial_summary:live:123:day", "x")
    apply(sink, plan_of("A deposit", 1))
    assert client.exists("financial_summary:live:123:day")
    apply(sink, plan_of("A deposit", 2))
    eventually(lambda: not client.exists("financial_summary:live:123:day"))


def test_plans_that_were_given_up_hide_no_wildcard_key(sink: RedisSink, client: redis.Redis) -> None:
    """A later error of Kafka makes the pipeline give up plans that were sent already."""
    eventually(lambda: sink.index_state() in ("warm", "off"))
    plan = plan_of("A deposit", 1)
    sink.apply([plan, structs.replace(plan, user=structs.replace(plan.user, id=124))])
    with suppress(Reconnected):  # a connection with answers that nobody read is not used again
        apply(sink, plan_of("A deposit", 2))
    sink.accept_new_connection()
    apply(sink, plan_of("A deposit", 3))
    time.sleep(0.2)  # the answers over the tracking connection
    client.set("financial_summary:live:123:day", "x")
    apply(sink, plan_of("A deposit", 4))
    eventually(lambda: not client.exists("financial_summary:live:123:day"))


def test_messages_come_last_and_once(sink: RedisSink, client: redis.Redis) -> None:
    with closing(Listener(client)) as listener:
        (answer,) = apply(sink, plan_of("Money and profile", 1))
        heard = listener.heard()
        assert [channel for channel, _ in heard] == [
            "user_updates",
            "admin_user_updates",
            "balance_updates",
            "group_updates",
        ]
        if not is_cluster(client):  # there each node counts its own subscribers
            assert answer.receivers == 4
        assert {json.dumps(message["event_id"]) for _, message in heard} == {json.dumps(heard[0][1]["event_id"])}
        apply(sink, plan_of("Money and profile", 1))
        assert listener.heard() == heard


def test_a_subscriber_sees_the_new_world(sink: RedisSink, client: redis.Redis) -> None:
    """State and invalidations are there before the message is."""
    client.set("user_stats:live:123", "old")
    client.set("financial_summary:live:123:day", "old")
    seen: list[object] = []
    pubsub = client.pubsub()
    pubsub.subscribe("balance_updates")
    assert pubsub.get_message(timeout=2)

    def listen() -> None:
        pubsub.get_message(timeout=5)
        seen.extend([client.hget(CONFIG, "wallet_balance"), client.get(BALANCE), client.exists("user_stats:live:123")])
        seen.append(client.exists("financial_summary:live:123:day"))

    thread = threading.Thread(target=listen)
    thread.start()
    apply(sink, plan_of("A deposit", 1))
    thread.join()
    pubsub.close()
    assert seen == ["10000.50", "10000.50", 0, 0]


@WITHOUT_CLUSTER
def test_state_then_cleared_keys_then_messages(sink: RedisSink, client: redis.Redis) -> None:
    """In the order in which the script gives them: nobody can look in between, but one of them may be refused."""
    client.set("user_stats:live:123", "old")
    with client.monitor() as monitor:
        apply(sink, plan_of("Money and profile", 1))
        client.echo("end")
        given = []
        while (line := monitor.next_command())["command"] != "ECHO end":
            if line["client_type"] == "lua":
                given.append(str(line["command"]).split()[0].upper())
    writes = [name for name in given if name in ("HSET", "SET", "UNLINK", "PUBLISH")]
    assert writes == ["HSET", "HSET", "SET", "UNLINK", "PUBLISH", "PUBLISH", "PUBLISH", "PUBLISH"]


def test_a_change_that_does_not_tell_every_field_makes_no_hash(sink: RedisSink, client: redis.Redis) -> None:
    partial = "An unchanged large text is neither"
    (answer,) = apply(sink, plan_of(partial, 1))
    assert answer.config_created is None
    assert not client.exists(CONFIG)
    client.hset(CONFIG, "margin", "0.00")
    (answer,) = apply(sink, plan_of(partial, 2))
    assert answer.config_created is False
    assert client.hget(CONFIG, "margin") == "5.00"
    assert not client.hexists(CONFIG, "sending_orders")


def test_replayed_and_older_plans_move_nothing(sink: RedisSink, client: redis.Redis) -> None:
    old, new = plan_of("The group", 1), plan_of("A deposit", 2)
    apply(sink, old, new)
    before = dump(client)
    assert [answer.verdict for answer in apply(sink, old, new)] == [Verdict.STALE, Verdict.DUPLICATE]
    assert dump(client) == before


def test_two_changes_of_one_user_in_one_batch_are_applied_in_order(sink: RedisSink, client: redis.Redis) -> None:
    answers = apply(sink, *(plan_of("A deposit", offset) for offset in range(1, 6)))
    assert {answer.verdict for answer in answers} == {Verdict.NEWER}
    assert [answer.config_created for answer in answers] == [True, False, False, False, False]


def test_a_delete_removes_and_leaves_the_version(sink: RedisSink, client: redis.Redis) -> None:
    client.hset(PORTFOLIO, "positions", "3")
    insert, delete = plan_of("A new live user", 1), plan_of("A deleted user", 2)
    apply(sink, insert, delete)
    assert client.keys("*") == ["cdc:{live:123}"]
    assert client.ttl("cdc:{live:123}") > 86400
    assert apply(sink, insert)[0].verdict is Verdict.STALE
    assert client.keys("*") == ["cdc:{live:123}"]
    apply(sink, plan_of("A new live user", 3))
    assert client.ttl("cdc:{live:123}") == -1


def test_an_incremental_read_fills_and_overwrites_nothing(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, plan_of("A deposit", 1))
    client.hdel(CONFIG, "group")
    client.delete(BALANCE)
    with closing(Listener(client)) as listener:
        apply(sink, plan_of("An incremental", 2))
        assert client.hget(CONFIG, "group") == "Standard"
        assert client.hget(CONFIG, "wallet_balance") == "10000.50"
        assert client.get(BALANCE) == "1000.00"
        assert listener.heard() == []


def test_an_incremental_read_does_not_bring_a_deleted_user_back(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, plan_of("A deleted user", 1), plan_of("An incremental", 2))
    assert client.keys("*") == ["cdc:{live:123}"]


@pytest.mark.parametrize("key", [CONFIG, PORTFOLIO, "cdc:{live:123}"])
def test_a_key_of_the_wrong_type_fails_its_plan_whole_and_no_other(
    sink: RedisSink, client: redis.Redis, key: str
) -> None:
    client.set(key, "no hash")
    with closing(Listener(client)) as listener:
        deposit = scenario("A deposit").changes[0]
        assert deposit.before is not None
        assert deposit.after is not None
        other = planned(replace(deposit, before=deposit.before | {"id": 7}, after=deposit.after | {"id": 7}), 3)
        answers = dict(sink.apply([plan_of("A deposit", 1), plan_of("The group", 2), other]))
        assert isinstance(answers[0], ServerError)
        assert not isinstance(answers[0], ServerUnavailable)
        assert 1 not in answers, "a later plan of a user whose earlier one failed must not be applied"
        assert isinstance(answers[2], Applied)
        assert client.get(key) == "no hash"
        assert {message["user_id"] for _, message in listener.heard()} == {7}


def test_fields_of_linked_rows_wait_beside_the_version_while_the_hash_is_of_another_type(
    sink: RedisSink, client: redis.Redis
) -> None:
    client.set(CONFIG, "no hash")
    assert apply(sink, plan_of("The transaction's row alone", 1))[0].verdict is Verdict.NEWER
    client.delete(CONFIG)
    apply(sink, plan_of("A deposit", 2))
    assert client.hget(CONFIG, "last_transaction_id")


def test_out_of_memory_is_temporary_and_writes_nothing(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, plan_of("A new live user", 1))
    before = dump(client)
    client.config_set("maxmemory", "100kb")
    plans = [plan_of("A deposit", 2), plan_of("A column outside", 3), plan_of("A deleted user", 4)]
    for plan in plans:
        ((_, answer),) = sink.apply([plan])
        assert isinstance(answer, ServerUnavailable), answer
        assert dump(client) == before
    client.config_set("maxmemory", 0)
    assert all(answer.is_accepted for answer in apply(sink, *plans))


@WITHOUT_CLUSTER
def test_a_refused_publish_counts_as_not_applied(sink: RedisSink, client: redis.Redis) -> None:
    """The guard is put back, so that the message is sent when the plan is tried again."""
    plan = plan_of("A deposit", 1).publishing([Publish("a\0", "x" * 10)])
    broken = structs.replace(plan, shape=changed_shape(plan.shape, cleared=("user_stats:<type>:<id>",)))
    client.execute_command("ACL", "SETUSER", "default", "resetchannels")
    try:
        answers = dict(sink.apply([broken]))
    finally:
        client.execute_command("ACL", "SETUSER", "default", "allchannels")
    assert isinstance(answers[0], ServerError)
    assert not client.exists("cdc:{live:123}")
    assert apply(sink, plan)[0].is_accepted


def test_a_message_that_went_out_does_not_go_out_again_when_a_later_one_was_refused(
    redis_url: str, client: redis.Redis
) -> None:
    def allow(*channels: str) -> None:
        client.execute_command("ACL", "SETUSER", "narrow", "on", ">x", "~*", "+@all", "resetchannels", *channels)

    allow("&user_updates")
    sink = RedisSink(settings_of(redis_url, "narrow:x", tracking=False), Guard(), reference())
    sink.reach()
    listener = Listener(client)
    plan = plan_of("A deposit", 1)
    for _ in range(3):
        assert isinstance(dict(sink.apply([plan]))[0], ServerUnavailable)
    assert [channel for channel, _ in listener.heard()] == ["user_updates"]
    allow("&user_updates", "&balance_updates")
    assert apply(sink, plan)[0].verdict is Verdict.NEWER
    assert [channel for channel, _ in listener.heard()] == ["user_updates", "balance_updates"]
    apply(sink, plan_of("A deposit", 2))
    assert len(listener.heard()) == 4, "the next change tells everybody"
    assert client.hkeys("cdc:{live:123}") == ["live_users"]
    client.execute_command("ACL", "DELUSER", "narrow")
    listener.close()
    sink.close()


def test_a_lost_script_is_loaded_again(sink: RedisSink, client: redis.Redis) -> None:
    client.script_flush()
    assert apply(sink, plan_of("A deposit", 1))[0].is_accepted


def test_a_server_that_hangs_is_unavailable_and_nothing_is_doubled(redis_url: str, client: redis.Redis) -> None:
    """What was sent before the time-out may be carried out after it; the retry is then a duplicate."""
    sink = RedisSink(Redis(url=SecretStr(redis_url), timeout_ms=100, tracking=False), Guard(), reference())
    sink.reach()
    with closing(Listener(client)) as listener:
        client.client_pause(500)
        with pytest.raises(ServerUnavailable):
            list(sink.apply([plan_of("A deposit", 1)]))
        eventually(client.ping)
        apply(sink, plan_of("A deposit", 1))
        assert [channel for channel, _ in listener.heard()] == ["user_updates", "balance_updates"]
    sink.close()


def test_a_server_that_is_not_there_is_unavailable() -> None:
    sink = RedisSink(Redis(url=SecretStr("redis://127.0.0.1:1/0")), Guard(), reference())
    with pytest.raises(ServerUnavailable, match="refused"):
        sink.reach()
    with pytest.raises(ServerUnavailable, match="refused"):
        list(sink.apply([plan_of("A deposit", 1)]))


def test_wrong_credentials_are_a_setting_at_fault(redis_url: str) -> None:
    with pytest.raises(ConfigError, match="CDC_REDIS__URL") as refusal:
        RedisSink(settings_of(redis_url, "nobody:wrong"), Guard(), reference()).reach()
    assert "wrong@" not in str(refusal.value)
