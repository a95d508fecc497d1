"""A client of the old server, written from the contract's text alone, against the running API."""

from __future__ import annotations

import json
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from subprocess import run

import pytest
import redis

from consumer.mapping.reference import reference
from tests.integration.api.conftest import BASE, TOKEN, Served, clear, data, failed, keys_of, serving
from tests.support.redis_view import Listener, dump, eventually
from tests.support.stack import Stack
from tests.support.stack.trading import Trading

pytestmark = pytest.mark.stack
LIVE = reference().tables[0]
CONFIG, BALANCE, PORTFOLIO, GUARD = (
    "user:{live:123}:config",
    "user_balance:live:123",
    "user:{live:123}:portfolio",
    "cdc:{live:123}",
)
ROW = {"wallet_balance": Decimal("10000.5"), "leverage": 100, "margin": 2500, "group": "VIP", "account_number": "ACC1"}
OWNED = {"wallet_balance", "leverage", "margin", "account_number", "group", "status", "is_active"}


@pytest.fixture
def applied(served: Served, trading: Trading, redis_client: redis.Redis) -> redis.Redis:
    """User 123 in the database, and in Redis as the consumer wrote them."""
    trading.insert("live_users", id=123, **ROW)
    served.followed.pass_all(trading, redis_client)
    eventually(lambda: redis_client.exists(CONFIG))
    return redis_client


@pytest.fixture
def user(applied: redis.Redis) -> redis.Redis:
    """User 123 in the database, nothing in Redis, and nothing on its way there."""
    clear(applied)
    return applied


def test_status(served: Served, quiet: redis.Redis) -> None:
    found = data(served.get("status"))
    assert found.keys() == {"status", "redis_connected", "cache_operations", "timestamp"}
    assert (found["status"], found["redis_connected"], found["cache_operations"]) == ("healthy", True, "working")
    assert not keys_of(quiet)


def test_a_user_whom_redis_does_not_know(served: Served, user: redis.Redis) -> None:
    found = served.consistency(123)
    assert found.keys() == {
        *("user_id", "user_type", "is_consistent", "database"),
        *("redis_config", "redis_balance_cache", "consistency_check"),
    }
    assert (found["user_id"], found["user_type"], found["is_consistent"]) == (123, "live", False)
    assert found["database"] == {
        "wallet_balance": 10000.5,
        "leverage": 100,
        "margin": 2500,
        "account_number": "ACC1",
        "group": "VIP",
        "status": 1,
        "is_active": 1,
    }
    assert found["redis_config"].keys() == OWNED | {"last_updated"}
    assert set(found["redis_config"].values()) == {None}
    assert found["redis_balance_cache"] == {"wallet_balance": None, "ttl": -2}
    assert found["consistency_check"] == {"balance_matches": False, "cache_matches": True, "all_consistent": False}


def test_a_refresh_makes_redis_right(served: Served, user: redis.Redis) -> None:
    found = served.refresh(123)
    assert found.keys() == {"user_id", "user_type", "refreshed_fields"}
    fields = found["refreshed_fields"]
    assert (fields["wallet_balance"], fields["leverage"], fields["group"], fields["id"]) == (10000.5, 100, "VIP", 123)
    config = user.hgetall(CONFIG)
    assert config.keys() == {"id", "user_type", "last_updated", *(column.field for column in LIVE.columns)}
    assert (config["wallet_balance"], user.get(BALANCE)) == ("10000.50", "10000.50")
    assert not user.exists(PORTFOLIO), "it belongs to somebody else"
    right = served.consistency(123, userType="live")
    assert right["is_consistent"]
    assert right["consistency_check"] == {"balance_matches": True, "cache_matches": True, "all_consistent": True}
    assert right["redis_config"] == right["database"] | {"last_updated": config["last_updated"]}
    assert right["redis_balance_cache"]["wallet_balance"] == 10000.5
    assert 0 < right["redis_balance_cache"]["ttl"] <= 3600


@pytest.mark.parametrize("field", ["id", "user_type", *(column.field for column in LIVE.columns)])
def test_every_field_is_compared_and_refreshed(served: Served, user: redis.Redis, field: str) -> None:
    """The old server looked at the balance alone."""
    served.refresh(123)
    user.hset(CONFIG, field, "77")
    wrong = served.consistency(123, details="true")
    assert not wrong["is_consistent"]
    assert not wrong["consistency_check"]["all_consistent"]
    assert wrong["consistency_check"]["balance_matches"] is (field != "wallet_balance")
    assert [(each["field"], each["redis"]) for each in wrong["differences"]] == [(field, "77")]
    served.refresh(123)
    assert served.consistency(123)["is_consistent"]


def test_a_balance_string_and_a_portfolio_are_compared_too(served: Served, user: redis.Redis) -> None:
    served.refresh(123)
    user.set(BALANCE, "1.00")
    cache = served.consistency(123)
    assert cache["consistency_check"] == {"balance_matches": True, "cache_matches": False, "all_consistent": False}
    assert cache["redis_balance_cache"] == {"wallet_balance": 1, "ttl": -1}
    user.hset(PORTFOLIO, mapping={"wallet_balance": "1.00", "equity": "9"})
    served.refresh(123)
    assert user.get(BALANCE) == "10000.50"
    portfolio = user.hgetall(PORTFOLIO)
    assert (portfolio["wallet_balance"], portfolio["group"], portfolio["equity"]) == ("10000.50", "VIP", "9")
    assert served.consistency(123)["is_consistent"]


def test_what_the_owner_of_a_portfolio_does_not_keep_is_no_difference(served: Served, user: redis.Redis) -> None:
    served.refresh(123)
    user.hset(PORTFOLIO, mapping={"equity": "9"})
    assert served.consistency(123)["is_consistent"]


def test_the_same_number_spelled_otherwise_is_the_same(served: Served, user: redis.Redis) -> None:
    served.refresh(123)
    user.hset(CONFIG, mapping={"wallet_balance": "10000.5", "is_active": "true"})
    told = served.consistency(123, details="true")
    assert told["is_consistent"]
    assert [(each["field"], each["kind"], each["redis"], each["database"]) for each in told["differences"]] == [
        ("wallet_balance", "same value, written another way", "10000.5", "10000.50"),
        ("is_active", "same value, written another way", "true", "1"),
    ]


def test_demo_users(served: Served, trading: Trading, quiet: redis.Redis) -> None:
    trading.insert("demo_users", id=123, wallet_balance=0)
    failed(served.get("user/123/consistency"), 404)
    assert served.refresh(123, userType="demo")["user_type"] == "demo"
    assert quiet.hget("user:{demo:123}:config", "sending_orders") == "rock"
    assert served.consistency(123, userType="demo")["database"]["wallet_balance"] == 0


def test_a_refresh_tells_nobody_unless_it_is_asked_to(served: Served, user: redis.Redis) -> None:
    listener = Listener(user)
    served.refresh(123)
    user.hset(CONFIG, "leverage", "7")
    served.refresh(123, publish="true")
    ((channel, message),) = listener.heard(123)
    assert (channel, message["event_type"]) == ("user_updates", "admin_user_update")
    assert message["updated_fields"]["leverage"] == "100"
    listener.close()


def test_a_refresh_writes_over_what_others_wrote_and_leaves_the_version(served: Served, applied: redis.Redis) -> None:
    stood = applied.hget(GUARD, "live_users")
    applied.hset(CONFIG, "leverage", "55")
    assert served.refresh(123)["refreshed_fields"]["leverage"] == 100
    assert (applied.hget(CONFIG, "leverage"), applied.hget(GUARD, "live_users")) == ("100", stood)


def test_a_change_that_comes_while_a_refresh_waits_is_not_overwritten(
    served: Served, trading: Trading, applied: redis.Redis
) -> None:
    """The row is read again, beside the version of that change."""
    stood = applied.hget(GUARD, "live_users")
    applied.hset(CONFIG, "account_number", "by hand")
    with ThreadPoolExecutor(1) as another, served.followed.frozen():
        change(served, trading, leverage=200)
        asked = another.submit(served.refresh, 123)
        with pytest.raises(TimeoutError):
            asked.result(2)
        assert applied.hget(CONFIG, "leverage") == "100", "the consumer has yet to come to what was read"
        change(served, trading, leverage=300)
        served.followed.consumer.send(signal.SIGCONT)
        assert asked.result(60)["refreshed_fields"]["leverage"] in (200, 300)
    eventually(lambda: applied.hget(CONFIG, "leverage") == "300")
    assert applied.hget(CONFIG, "account_number") == "ACC1"
    assert applied.hget(GUARD, "live_users") != stood
    assert served.consistency(123)["is_consistent"]


def test_while_the_consumer_is_behind_nothing_is_written(
    served: Served, trading: Trading, applied: redis.Redis, tmp_path: Path
) -> None:
    environment = {**served.environment, "CDC_API__REFRESH_WAIT_S": "1"}
    with serving(tmp_path / "log", environment) as (client, _), served.followed.frozen():
        change(served, trading, leverage=200)
        before = dump(applied)
        said = failed(client.post(f"{BASE}/user/123/force-refresh"), 503)
        # In others too, if it was frozen before it had committed what came before.
        assert said.startswith("the consumer: it is behind in ")
        assert dump(applied) == before
        served.followed.consumer.send(signal.SIGCONT)
        eventually(lambda: applied.hget(CONFIG, "leverage") == "200")
        eventually(lambda: client.post(f"{BASE}/user/123/force-refresh").status_code == 200, 30)


def change(served: Served, trading: Trading, **columns: object) -> None:
    """Change the user, and wait until the change is in the topic."""
    end = served.followed.end()
    trading.update("live_users", 123, **columns)
    eventually(lambda: served.followed.end() > end, 60)


@pytest.mark.parametrize("key", [CONFIG, "cdc:{live:123}"])
def test_a_key_of_another_type_is_a_conflict(served: Served, user: redis.Redis, key: str) -> None:
    user.delete(key)
    user.set(key, "text")
    assert not served.consistency(123)["is_consistent"]
    assert key in failed(served.post("user/123/force-refresh"), 409)
    assert user.get(key) == "text"


@pytest.mark.parametrize("path", ["status/", "cluster-info/", "user/123/consistency/"])
def test_a_path_that_is_none_is_no_redirection(served: Served, path: str) -> None:
    failed(served.get(path), 404)


def test_who_is_gone_is_removed_and_who_never_was_leaves_nothing(
    served: Served, stack: Stack, applied: redis.Redis
) -> None:
    """The log does not tell of the delete, so the consumer does not know."""
    stood = str(applied.hget(GUARD, "live_users"))
    with stack.mysql.connect() as connection:
        unlogged = Trading(connection)
        unlogged.execute("SET SESSION sql_log_bin = 0")
        unlogged.delete("live_users", 123)
    failed(served.get("user/123/consistency"), 404)
    assert "were removed" in failed(served.post("user/123/force-refresh"), 404)
    assert [key for key in keys_of(applied) if "123" in key] == [GUARD]
    assert applied.hget(GUARD, "live_users") == f"{stood}|d"
    failed(served.post("user/4711/force-refresh"), 404)
    assert not [key for key in keys_of(applied) if "4711" in key]


WRONG_IDS = ["0", "-1", "1e9", "abc", "1;DROP", "1%20", "+1", "01", "1.0", "1_0", "%D9%A1", "9" * 19, "1" * 10_240]


@pytest.mark.parametrize("wrong", WRONG_IDS, ids=lambda wrong: str(wrong)[:12])
def test_what_is_no_user_id(served: Served, wrong: str) -> None:
    failed(served.client.get(f"{BASE}/user/{wrong}/consistency"), 400)
    failed(served.client.post(f"{BASE}/user/{wrong}/force-refresh"), 400)


@pytest.mark.parametrize("wrong", ["", "LIVE", "admin", "live'--", "*"])
def test_what_is_no_user_type(served: Served, wrong: str) -> None:
    failed(served.get("user/123/consistency", userType=wrong), 400)
    failed(served.post("user/123/force-refresh", userType=wrong), 400)


@pytest.mark.parametrize("given", [None, "", f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}", TOKEN])
def test_without_the_token_nothing_is_said(served: Served, given: str | None) -> None:
    headers = {b"Authorization": (given or "").encode()} if given is not None else {}
    with_other = [("GET", "status"), ("GET", "user/abc/consistency"), ("POST", "user/1/force-refresh")]
    for method, path in [*with_other, ("GET", "cluster-info")]:
        request = served.client.build_request(method, f"{BASE}/{path}")
        del request.headers["Authorization"]
        request.headers.update(headers)
        answer = served.client.send(request)
        failed(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_cluster_info_counts_what_there_is(served: Served, user: redis.Redis) -> None:
    served.refresh(123)
    user.mset({"user_balance:live:9": "1.00", "user_balance:live:x": "1", "user_balance:other:9": "1"})
    found = data(served.get("cluster-info"))
    nodes = found.pop("nodes")
    assert len(nodes) == (3 if hasattr(user, "get_primaries") else 1)
    assert {name for node in nodes for name in node} == {
        "host",
        "port",
        "status",
        "keys",
        "user_configs",
        "balance_caches",
    }
    assert {node["status"] for node in nodes} == {"connected"}
    assert (found["user_config_keys"], found["balance_cache_keys"]) == (1, 2)
    assert len(keys_of(user)) <= found["total_keys"] <= user.dbsize()
    for total, of_one in (("total_keys", "keys"), ("user_config_keys", "user_configs")):
        assert found[total] == sum(node[of_one] for node in nodes)


def test_every_answer_has_its_headers_and_an_id_that_the_log_has(served: Served) -> None:
    answer = served.client.get(f"{BASE}/nowhere", headers={"X-Request-ID": "ticket-7"})
    failed(answer, 404)
    assert answer.headers["X-Request-ID"] == "ticket-7"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "server" not in answer.headers
    (line,) = (line for line in served.process.said().splitlines() if "ticket-7" in line)
    assert json.loads(line)["action"] == "api.answered"
    forged = served.client.get(f"{BASE}/nowhere", headers={"X-Request-ID": "a b"})
    assert forged.headers["X-Request-ID"] != "a b"


def test_no_answer_that_is_not_described(served: Served, user: redis.Redis, tmp_path: Path) -> None:
    """Schemathesis makes up requests, good and bad, and holds each answer against the description."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        str(served.client.base_url.join("/openapi.json")),
    ]
    options = ["--checks", "all", "--max-examples", "15", "--seed", "7", "--generation-database", "none", "--no-color"]
    ran = run(
        [*command, "-H", f"Authorization: Bearer {TOKEN}", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "Tested: 4" in ran.stdout, ran.stdout[-2000:]


def test_what_somebody_else_wrote_and_nobody_can_read(served: Served, user: redis.Redis) -> None:
    """Bytes that are no text, and a version that is none."""
    served.refresh(123)
    user.execute_command("HSET", CONFIG, "group", b"\xff\xfe", "last_updated", b"\xfd")
    found = served.consistency(123, details="true")
    assert found["is_consistent"] is False
    assert any("group" in str(each) for each in found["differences"])
    user.hset(GUARD, "live_users", "junk")
    assert served.consistency(123)["is_consistent"] is False
    failed(served.post("user/123/force-refresh"), 409)
    assert user.hget(GUARD, "live_users") == "junk", "what it was is not known here"
