"""Every row of the decision table, on a real database."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import WITNESS, System
from tests.support.redis_view import dump, eventually
from tests.support.stack.roster import DATABASES

pytestmark = [pytest.mark.stack, pytest.mark.parametrize("database", DATABASES, indirect=True)]

WHOLE = {
    *("id", "user_type", "wallet_balance", "margin", "net_profit", "leverage", "group", "status", "is_active"),
    *("account_number", "country_id", "sending_orders", "last_updated"),
}
WHOLE_LIVE = WHOLE | {
    *("mam_id", "mam_status", "pam_id", "pam_status", "copytrader_id", "copytrading_status"),
    *("copy_trading_wallet", "copytrading_alloted_time"),
}
DERIVED = [
    "user_margin_calc:live:7",
    "user_stats:live:7",
    "user_summary:live:7",
    "financial_summary:live:7:day",
    "financial_summary:live:7:2024:01",
    "user_group_config:live:7",
    "margin_requirements:live:7",
    "spread_config:live:7",
]


def user(system: System, **columns: object) -> None:
    """A live user 7 whose insert has been through, all derived keys there."""
    system.trading.insert("live_users", id=7, **{"country_id": 1, "wallet_balance": "100"} | columns)
    eventually(lambda: system.config(7))
    eventually(lambda: any(body["user_id"] == 7 for _, body in list(system.listener._heard)))
    system.redis.mset(dict.fromkeys(DERIVED, "old"))
    system.listener._heard.clear()


def left(system: System) -> set[str]:
    return {key for key in DERIVED if system.redis.exists(key)}


def test_the_snapshot_writes_whole_images_and_tells_nobody(live: System) -> None:
    assert live.config(WITNESS).keys() == WHOLE_LIVE
    assert live.config(WITNESS, "demo").keys() == WHOLE
    assert live.config(WITNESS)["sending_orders"] == "rock"
    assert live.redis.get(f"user_balance:live:{WITNESS}") == "0.00"
    assert not live.redis.exists(f"user:{{live:{WITNESS}}}:portfolio")
    assert live.listener.heard() == []


def test_a_new_user(live: System) -> None:
    live.trading.insert("live_users", id=7, wallet_balance="10000.5", group="VIP", account_number="A7")
    eventually(lambda: live.config(7))
    config = live.config(7)
    assert config.keys() == WHOLE_LIVE | {"last_admin_update"}
    assert config["wallet_balance"] == "10000.50"
    assert live.redis.get("user_balance:live:7") == "10000.50"
    ((channel, message),) = live.heard(7)
    assert (channel, message["event_type"]) == ("user_updates", "user_created")


def test_a_deposit(live: System) -> None:
    user(live)
    with live.trading.transaction():
        live.trading.update("live_users", 7, wallet_balance="250.750000")
        live.trading.insert(
            "user_transactions", transaction_id="TXN1", user_id=7, type="deposit", amount="150.75", status="completed"
        )
    eventually(lambda: live.field(7, "wallet_balance") == "250.75")
    config = live.config(7)
    assert config["last_balance_update"] == config["last_admin_update"] == config["last_updated"]
    assert live.redis.get("user_balance:live:7") == "250.75"
    assert 3500 < live.redis.ttl("user_balance:live:7") <= 3600
    assert live.channels(7) == ["user_updates", "balance_updates"]
    for _, message in live.heard(7):
        assert message["event_type"] == "balance_change"
        assert message["updated_fields"] == {"wallet_balance": "250.75"}
        assert message["group_changed"] is False
    assert left(live) == {"user_group_config:live:7", "margin_requirements:live:7", "spread_config:live:7"}


def test_a_group_change_tells_the_old_and_the_new_group(live: System) -> None:
    user(live, group="Standard")
    live.redis.hset("user:{live:7}:portfolio", mapping={"equity": "5", "group": "Standard"})
    live.trading.update("live_users", 7, group="VIP")
    eventually(lambda: live.field(7, "group") == "VIP")
    assert live.channels(7) == ["user_updates", "admin_user_updates", "group_updates"]
    for _, message in live.heard(7):
        assert (message["group_changed"], message["old_group"], message["new_group"]) == (True, "Standard", "VIP")
        assert message["updated_fields"] == {"group": "VIP"}
    assert live.heard(7)[-1][1]["event_type"] == "user_group_change"
    portfolio = live.redis.hgetall("user:{live:7}:portfolio")
    assert portfolio == {"equity": "5", "group": "VIP", "group_updated_at": live.field(7, "last_group_update")}
    assert left(live) == {"financial_summary:live:7:day", "financial_summary:live:7:2024:01"}


def test_a_profile_change(live: System) -> None:
    user(live)
    live.trading.update("live_users", 7, account_number="ACC999")
    eventually(lambda: live.field(7, "account_number") == "ACC999")
    assert live.channels(7) == ["user_updates", "admin_user_updates"]
    assert left(live) == set(DERIVED) - {"user_stats:live:7", "user_summary:live:7"}
    assert "last_group_update" not in live.config(7)


def test_a_column_outside_the_hash(live: System) -> None:
    user(live)
    before = dump(live.redis, "user:*")
    live.trading.update("live_users", 7, name="Somebody Else")
    eventually(lambda: live.channels(7) == ["user_updates", "admin_user_updates"])
    assert [message["updated_fields"] for _, message in live.heard(7)] == [{}, {}]
    assert dump(live.redis, "user:*") == before
    assert left(live) == set(DERIVED) - {"user_stats:live:7", "user_summary:live:7"}


def test_only_a_password(live: System) -> None:
    user(live)
    live.trading.update("live_users", 7, password="another", view_password="secret")
    live.trading.execute("UPDATE live_users SET updated_at = '2030-01-01' WHERE id = 7")
    live.passed(7)
    assert live.channels(7) == ["user_updates", "admin_user_updates"], "only those of the change behind it"
    assert live.heard(7)[0][1]["updated_fields"] == {"country_id": "2"}


def test_zero_and_null(live: System) -> None:
    user(live, leverage=100, account_number="A7")
    live.redis.hset("user:{live:7}:portfolio", "wallet_balance", "100.00")
    live.trading.update("live_users", 7, wallet_balance=0, leverage=0, account_number=None)
    eventually(lambda: live.field(7, "leverage") == "0")
    config = live.config(7)
    assert (config["wallet_balance"], config["account_number"]) == ("0.00", "")
    assert live.redis.get("user_balance:live:7") == "0.00"
    assert live.redis.hget("user:{live:7}:portfolio", "wallet_balance") == "0.00"
    assert "user_margin_calc:live:7" not in left(live)


def test_an_evicted_hash_comes_back_whole(live: System) -> None:
    user(live, group="VIP")
    live.redis.delete("user:{live:7}:config")
    live.trading.update("live_users", 7, margin="12.5")
    eventually(lambda: live.config(7))
    config = live.config(7)
    assert config.keys() >= WHOLE_LIVE
    assert (config["group"], config["margin"], config["wallet_balance"]) == ("VIP", "12.50", "100.00")


def test_a_portfolio_is_never_made(live: System) -> None:
    user(live)
    live.trading.update("live_users", 7, wallet_balance="5", group="VIP")
    eventually(lambda: live.field(7, "group") == "VIP")
    assert not live.redis.exists("user:{live:7}:portfolio")


def test_a_key_change_moves_the_user(live: System) -> None:
    user(live, group="VIP")
    live.trading.update("live_users", 7, id=8)
    eventually(lambda: live.config(8))
    eventually(lambda: not live.config(7))
    assert live.field(8, "group") == "VIP"
    assert [message["event_type"] for _, message in live.heard(7)] == ["user_deleted"]
    assert [message["event_type"] for _, message in live.heard(8)] == ["user_created"]
    assert not live.redis.exists("user_balance:live:7")


def test_a_delete_leaves_only_the_version(live: System) -> None:
    user(live)
    live.redis.hset("user:{live:7}:portfolio", "equity", "5")
    live.trading.delete("live_users", 7)
    eventually(lambda: not live.config(7))
    eventually(lambda: live.heard(7))  # it comes last; on a cluster what is derived goes a step after the hash
    assert live.redis.keys("*live:7*") == ["cdc:{live:7}"]
    ((channel, message),) = live.heard(7)
    assert (channel, message["event_type"], message["updated_fields"]) == ("user_updates", "user_deleted", {})


def test_a_rollback_is_nothing(live: System) -> None:
    user(live)
    live.trading.execute("BEGIN")
    live.trading.update("live_users", 7, wallet_balance="1000000", group="VIP")
    live.trading.execute("ROLLBACK")
    live.passed(7)
    assert live.field(7, "wallet_balance") == "100.00"
    assert [message["updated_fields"] for _, message in live.heard(7)] == [{"country_id": "2"}] * 2


def test_two_quick_updates_end_with_the_later(live: System) -> None:
    user(live)
    for amount in range(1, 41):
        live.trading.update("live_users", 7, wallet_balance=amount)
    eventually(lambda: live.field(7, "wallet_balance") == "40.00")
    assert live.redis.get("user_balance:live:7") == "40.00"
    live.listener.caught_up()
    told = [
        message["updated_fields"]["wallet_balance"]
        for channel, message in live.heard(7)
        if channel == "balance_updates"
    ]
    assert told == [f"{amount}.00" for amount in range(1, 41)]


def test_a_demo_user_beside_a_live_user_of_the_same_id(live: System) -> None:
    user(live, group="VIP")
    live.trading.insert("demo_users", id=7, wallet_balance="5000", group="Demo")
    eventually(lambda: live.config(7, "demo"))
    before = dump(live.redis, "*live:7*")
    live.trading.update("demo_users", 7, wallet_balance="1", group="Other", leverage=0)
    eventually(lambda: live.field(7, "group", "demo") == "Other")
    assert dump(live.redis, "*live:7*") == before
    assert live.redis.get("user_balance:demo:7") == "1.00"
    assert live.heard(7) == []


def test_keys_of_others_and_history_are_never_touched(live: System) -> None:
    others = {
        *("user_holdings:{live:7}:1", "user_orders_index:{live:7}", "order_data:7", "user:{live:71}:config"),
        *("user_stats:live:71", "financial_summary:live:71:day", "financial_summary:demo:7:day", "user_balance:demo:7"),
    }
    live.redis.mset(dict.fromkeys(others, "history"))
    user(live)
    before = {key: live.redis.dump(key) for key in others}
    live.trading.update("live_users", 7, wallet_balance="5", group="VIP", status=0)
    eventually(lambda: live.field(7, "group") == "VIP")
    live.trading.delete("live_users", 7)
    eventually(lambda: not live.config(7))
    assert {key: live.redis.dump(key) for key in others} == before


def test_no_secret_is_in_redis_or_in_the_log(live: System) -> None:
    secrets = {
        "name": "Ann Secret",
        "email": "ann@secret.example",
        "password": "hunter2",
        "bank_account_number": "99887766",
    }
    live.trading.insert("live_users", id=7, **secrets)
    eventually(lambda: live.config(7))
    live.trading.update("live_users", 7, name="Ann Secret-Other", bank_account_number="99887755")
    live.passed(7)
    keys = {key: live.redis.type(key) for key in live.redis.scan_iter()}
    stored = [live.redis.hgetall(key) if kind == "hash" else live.redis.get(key) for key, kind in keys.items()]
    everything = f"{live.listener.heard()} {stored} {(live.folder / 'consumer.log').read_text()}"
    for secret in secrets.values():
        assert secret not in everything
