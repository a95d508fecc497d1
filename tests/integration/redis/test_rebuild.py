"""Rebuilding a user on real servers: the whole image again, never an older one, and nobody else's fields."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import pytest
import redis
from msgspec import structs

from consumer.commands.replay.worker import _with_ends
from consumer.events.event import ChangeEvent, RowImage
from consumer.events.position import Origin, SourcePosition
from consumer.guard.version import Verdict
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.planning.database_row import DatabaseRow
from consumer.planning.decision import decide
from consumer.planning.effect import Plan
from consumer.planning.rebuild import rebuild_linked, rebuild_read, rebuild_user, removal
from consumer.planning.shape import Mode, changed_shape
from consumer.sink.comparison import differences, would_apply
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from consumer.source.bounds import Span
from tests.integration.redis.conftest import settings_of
from tests.integration.redis.test_sink import AT, BALANCE, CONFIG, PORTFOLIO, apply, plan_of, scenario
from tests.support.redis_view import Listener, dump, eventually

RULES = reference()
TABLE = RULES.tables[0]
GUARD = "cdc:{live:123}"
DERIVED = ("user_stats:live:123", "financial_summary:live:123:day")
LATER = 1_800_000_000_000


def event_of(beginning: str, offset: int, change: int = 0) -> ChangeEvent:
    event = decide(scenario(beginning).changes[change].record(offset), RULES).event
    assert event is not None
    return event


def rebuilt(beginning: str, offset: int, times: Mapping[str, int] | None = None) -> Plan:
    return rebuild_user([event_of(beginning, offset)], times or {}, TABLE, RULES)


def test_an_empty_redis_gets_the_whole_user_and_nobody_is_told(sink: RedisSink, client: redis.Redis) -> None:
    listener = Listener(client)
    plan = rebuilt("A deposit", 5, {"last_updated": LATER})
    (answer,) = apply(sink, plan)
    assert (answer.verdict, answer.config_created, answer.differed) == (Verdict.NEWER, True, 1)
    assert plan.config is not None
    assert client.hgetall(CONFIG) == plan.config.whole
    assert client.hget(CONFIG, "last_updated") == "2027-01-15T08:00:00.000Z"
    assert not client.hexists(CONFIG, "last_balance_update"), "nobody knows when"
    assert client.get(BALANCE) == "10000.50"
    assert 3590 <= client.ttl(BALANCE) <= 3600
    assert not client.exists(PORTFOLIO)
    assert client.hget(GUARD, "live_users") == plan.version.to_text()
    assert listener.heard() == []
    listener.close()


def test_the_change_that_stands_there_heals_what_others_wrote_since(sink: RedisSink, client: redis.Redis) -> None:
    client.hset(PORTFOLIO, "positions", "3")
    apply(sink, plan_of("A deposit", 5))
    right, stood = client.hgetall(CONFIG), client.hgetall(GUARD)
    client.hset(CONFIG, mapping={"group": "by hand", "extra": "kept"})
    client.set(BALANCE, "by hand")
    client.hset(PORTFOLIO, "group", "by hand")
    client.mset(dict.fromkeys(DERIVED, "x"))
    (answer,) = apply(sink, rebuilt("A deposit", 5))
    assert (answer.verdict, answer.differed) == (Verdict.HEALED, 3)
    assert client.hgetall(CONFIG) == right | {"extra": "kept"}
    assert client.get(BALANCE) == "10000.50"
    assert client.hmget(PORTFOLIO, "positions", "group", "wallet_balance") == ["3", "Standard", "10000.50"]
    assert client.hgetall(GUARD) == stood
    eventually(lambda: not client.exists(*DERIVED))


def read(row: RowImage | None, seen: str) -> Plan:
    """The plan of a row that was read in the database while the version ``seen`` stood there."""
    place = "0000000009/00000000000000001100/0000000000"
    position = SourcePosition("mysql", "1", f"{place}/0000000000", place, LATER, Origin.SNAPSHOT)
    return rebuild_read(DatabaseRow("live_users", 123, row, position), TABLE, RULES, seen)


def kept(client: redis.Redis) -> str:
    return str(client.hget(GUARD, "live_users"))


def test_a_row_read_in_the_database_is_written_unless_a_change_came_since(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, plan_of("A deposit", 5))
    row, stood = event_of("A deposit", 5).after, client.hgetall(GUARD)
    client.hset(CONFIG, "group", "by hand")
    plan = read(row, kept(client))
    assert apply(sink, plan)[0].verdict is Verdict.HEALED
    assert client.hget(CONFIG, "group") == "Standard"
    assert client.hgetall(GUARD) == stood, "the version is the last change's still"
    apply(sink, plan_of("The group", 6))
    before = dump(client)
    assert apply(sink, plan)[0].verdict is Verdict.STALE
    assert dump(client) == before


def test_a_row_read_before_the_users_first_change_keeps_no_version(sink: RedisSink, client: redis.Redis) -> None:
    """So the change that wrote it is applied when it comes, and told."""
    plan = read(event_of("A new live user", 5).after, "")
    (answer,) = apply(sink, plan)
    assert (answer.verdict, answer.config_created) == (Verdict.NEWER, True)
    assert not client.exists(GUARD)
    assert apply(sink, plan_of("A new live user", 5))[0].verdict is Verdict.NEWER
    before = dump(client)
    assert apply(sink, plan)[0].verdict is Verdict.STALE
    assert dump(client) == before


def test_a_row_that_is_gone_removes_the_user_and_no_older_change_brings_them_back(
    sink: RedisSink, client: redis.Redis
) -> None:
    apply(sink, plan_of("A deposit", 5))
    stood = kept(client)
    assert apply(sink, read(None, stood))[0].verdict is Verdict.HEALED
    assert client.keys("*") == [GUARD]
    assert kept(client) == f"{stood}|d"
    assert client.ttl(GUARD) > 86400
    assert apply(sink, plan_of("A deposit", 4))[0].verdict is Verdict.STALE
    assert apply(sink, plan_of("A new live user", 6))[0].verdict is Verdict.NEWER
    assert client.ttl(GUARD) == -1


def test_where_all_is_right_nothing_is_written_or_cleared(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, plan_of("A deposit", 5))
    client.delete(BALANCE)  # as it does by itself after an hour
    client.mset(dict.fromkeys(DERIVED, "x"))
    before = dump(client)
    assert apply(sink, rebuilt("A deposit", 5))[0].verdict is Verdict.DUPLICATE
    assert dump(client) == before
    (answer,) = apply(sink, rebuilt("A deposit", 6))
    assert (answer.verdict, answer.differed) == (Verdict.NEWER, 0)
    assert client.exists(*DERIVED) == 2


def test_a_newer_version_is_never_overwritten(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, plan_of("The group", 6))
    before = dump(client)
    assert apply(sink, rebuilt("A deposit", 5))[0].verdict is Verdict.STALE
    assert dump(client) == before


def test_the_first_change_after_a_snapshot_may_have_its_place_in_the_log(sink: RedisSink, client: redis.Redis) -> None:
    """As on MariaDB: the change is applied, and a rebuild does not bring the snapshot back over it."""
    snapshot, change = rebuilt("A snapshot read", 5), plan_of("A deposit", 6)
    apply(sink, snapshot)
    assert apply(sink, change)[0].verdict is Verdict.NEWER
    before = dump(client)
    assert apply(sink, snapshot)[0].verdict is Verdict.STALE
    assert dump(client) == before


def test_fields_whose_column_is_gone_go_and_foreign_ones_stay(sink: RedisSink, client: redis.Redis) -> None:
    client.hset(CONFIG, mapping={"mam_id": "7", "extra": "kept"})
    event = event_of("A deposit", 5)
    assert event.after is not None
    without = structs.replace(event, after={name: value for name, value in event.after.items() if name != "mam_id"})
    plan = rebuild_user([without], {}, TABLE, RULES)
    assert plan.config is not None
    assert plan.config.gone == ("mam_id",)
    apply(sink, plan)
    assert client.hmget(CONFIG, "mam_id", "extra") == [None, "kept"]


def test_a_deleted_user_who_is_present_goes_again(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, plan_of("A deleted user", 5))
    stood = client.hgetall(GUARD)
    client.hset(CONFIG, "group", "by hand")
    client.mset(dict.fromkeys(DERIVED, "x"))
    assert apply(sink, rebuilt("A deleted user", 5))[0].verdict is Verdict.HEALED
    eventually(lambda: client.keys("*") == [GUARD])
    assert client.hgetall(GUARD) == stood
    assert apply(sink, rebuilt("A deposit", 4))[0].verdict is Verdict.STALE
    assert apply(sink, rebuilt("A deleted user", 5))[0].verdict is Verdict.DUPLICATE


def test_a_mark_is_healed_unless_it_is_of_a_later_record(sink: RedisSink, client: redis.Redis) -> None:
    def mark_at(offset: int) -> Plan:
        lost = structs.replace(scenario("A deposit").changes[0].record(offset), value=b"no JSON")
        (mark,) = decide(lost, RULES).marks
        return mark

    apply(sink, plan_of("A deposit", 5), mark_at(6))
    assert apply(sink, rebuilt("A deposit", 5))[0].verdict is Verdict.DUPLICATE
    assert client.hexists(GUARD, "!live_users")
    apply(sink, rebuilt("A deposit", 7))
    assert not client.hexists(GUARD, "!live_users")


def test_an_incremental_read_only_fills(sink: RedisSink, client: redis.Redis) -> None:
    """The change before it may be gone from the log by compaction, and have written what is newer."""
    apply(sink, plan_of("The group", 5))
    client.hdel(CONFIG, "margin")
    (answer,) = apply(sink, rebuilt("An incremental", 6))
    assert (answer.verdict, answer.differed) == (Verdict.NEWER, 2), "the margin, and the balance that no change had set"
    assert client.hmget(CONFIG, "margin", "group") == ["0.00", "VIP"]
    assert client.hget(GUARD, "live_users") == plan_of("The group", 5).version.to_text()


def test_an_incremental_read_that_stands_there_heals(sink: RedisSink, client: redis.Redis) -> None:
    assert apply(sink, rebuilt("An incremental", 6))[0].config_created
    client.hset(CONFIG, "group", "by hand")
    assert apply(sink, rebuilt("An incremental", 6))[0].verdict is Verdict.HEALED
    assert client.hget(CONFIG, "group") == "Standard"


@pytest.mark.parametrize("is_user_first", [True, False])
def test_a_linked_row_is_in_the_hash_whichever_comes_first(
    sink: RedisSink, client: redis.Redis, is_user_first: bool
) -> None:
    row = rebuild_linked(event_of("The transaction's row alone", 3), RULES)
    assert row is not None
    plans = [rebuilt("A deposit", 5), row]
    apply(sink, *(plans if is_user_first else reversed(plans)))
    assert client.hmget(CONFIG, "last_transaction_id", "last_transaction_at") == ["TXN0001", AT]
    client.hset(CONFIG, "last_transaction_id", "by hand")
    assert apply(sink, row)[0].verdict is Verdict.HEALED
    assert client.hget(CONFIG, "last_transaction_id") == "TXN0001"


def test_an_orphan_of_whom_there_is_no_hash_goes_with_what_was_derived(sink: RedisSink, client: redis.Redis) -> None:
    client.set("user_balance:live:123", "4.56")
    client.set("user_stats:live:123", "derived")
    assert apply(sink, removal(UserId("live", 123), "live_users", "", RULES))[0].is_accepted
    assert client.keys("*") == []


def test_an_orphan_goes_unless_it_has_another_version_by_now(sink: RedisSink, client: redis.Redis) -> None:
    user = UserId("live", 123)
    client.hset(CONFIG, "group", "by hand")
    orphan = removal(user, "live_users", "", RULES)
    assert apply(sink, orphan)[0].is_accepted
    assert client.keys("*") == []
    apply(sink, plan_of("A deposit", 5))
    before = dump(client)
    assert apply(sink, orphan)[0].verdict is Verdict.STALE
    assert dump(client) == before
    seen = kept(client)
    apply(sink, plan_of("The group", 6))
    assert apply(sink, removal(user, "live_users", seen, RULES))[0].verdict is Verdict.STALE
    assert client.exists(CONFIG)
    seen = kept(client)
    assert apply(sink, removal(user, "live_users", seen, RULES))[0].verdict is Verdict.HEALED
    assert client.keys("*") == [GUARD]
    assert client.ttl(GUARD) > 86400


def test_a_balance_of_another_type_is_put_right(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, plan_of("A deposit", 5))
    client.delete(BALANCE)
    client.rpush(BALANCE, "x")
    assert apply(sink, rebuilt("A deposit", 5))[0].differed == 1
    assert client.get(BALANCE) == "10000.50"


def of_read(offset: int) -> Plan:
    """A row that an incremental snapshot read, where nothing stood before."""
    plan = plan_of("A deposit", offset)
    read = structs.replace(plan, version=structs.replace(plan.version, origin=Origin.INCREMENTAL))
    return read.in_mode(Mode.FILL).publishing(())


def with_config_of(plan: Plan, other: Plan) -> Plan:
    """``plan``, but it writes what ``other`` writes to the config hash."""
    there = other.shape
    shape = changed_shape(plan.shape, changed=there.changed, whole=there.whole, gone=there.gone)
    return structs.replace(plan, shape=shape, values=other.values)


def folded(offset: int, known_below: int | None) -> Plan:
    """What a rebuild says that has read its partition up to there."""
    plan = rebuilt("A deposit", offset)
    if known_below is None:
        return plan
    (plan,) = _with_ends([plan], [Span(plan.version.topic, plan.version.partition, 0, known_below)])
    return plan


@pytest.mark.parametrize("damage", ["missing", "wrong"])
def test_a_hash_is_mended_also_where_the_guard_holds_a_read_of_the_database(
    sink: RedisSink, client: redis.Redis, damage: str
) -> None:
    """The read lies behind the user's last change, so the rebuild was taken for older and left the user alone."""
    plan = rebuilt("A deposit", 5)
    assert plan.config is not None
    apply(sink, with_config_of(of_read(9), plan))
    right, stood = client.hgetall(CONFIG), client.hgetall(GUARD)
    assert str(stood["live_users"]).startswith("0|i|")
    if damage == "missing":
        client.delete(CONFIG)
    else:
        client.hset(CONFIG, "group", "by hand")
    (answer,) = apply(sink, folded(5, None))
    assert answer.verdict is Verdict.STALE
    (answer,) = apply(sink, folded(5, 9))
    assert answer.verdict is Verdict.STALE, "it has not read so far"
    (answer,) = apply(sink, folded(5, 10))
    assert (answer.verdict, answer.differed) == (Verdict.HEALED, 1)
    assert client.hgetall(CONFIG) == right
    assert client.hgetall(GUARD) == stood


def test_a_missing_hash_is_mended_whatever_version_stands(sink: RedisSink, client: redis.Redis) -> None:
    """Of a change that told a part of the row only, and found no hash."""
    apply(sink, plan_of("A deposit", 9))
    client.delete(CONFIG)
    (answer,) = apply(sink, folded(5, 9))
    assert answer.verdict is Verdict.STALE
    (answer,) = apply(sink, folded(5, 10))
    assert answer.verdict is Verdict.HEALED
    assert client.hget(CONFIG, "wallet_balance") == "10000.50"


def test_a_change_that_the_fold_left_out_stays(sink: RedisSink, client: redis.Redis) -> None:
    """Such as one that was a dead letter, and was released."""
    apply(sink, plan_of("A deposit", 9))
    client.hset(CONFIG, "group", "as released")
    (answer,) = apply(sink, folded(5, 10))
    assert answer.verdict is Verdict.STALE
    assert client.hget(CONFIG, "group") == "as released"


@pytest.mark.parametrize("known_below", [None, 9, 10])
@pytest.mark.parametrize("has_hash", [True, False])
@pytest.mark.parametrize("is_read", [True, False])
def test_a_dry_run_says_the_same(
    sink: RedisSink, client: redis.Redis, redis_url: str, known_below: int | None, has_hash: bool, is_read: bool
) -> None:
    plan = folded(5, known_below)
    assert plan.config is not None
    first = of_read(9) if is_read else plan_of("A deposit", 9)
    apply(sink, with_config_of(first, plan))
    if has_hash:
        client.hset(CONFIG, "group", "by hand")
    else:
        client.delete(CONFIG)
    with closing(RedisView(settings_of(redis_url))) as view:
        (stored,) = view.stored_keys([plan])
    told, has_differences = would_apply(plan, stored), bool(list(differences(plan, stored)))
    (answer,) = apply(sink, plan)
    assert told is answer.is_accepted
    assert has_differences or not told
