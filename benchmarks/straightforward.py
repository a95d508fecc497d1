"""The consumer that one would write first, to compare with: ``python -m benchmarks.straightforward``.

kafka-python, ``json.loads``, decisions by hand, plain commands in a pipeline, a commit after each poll. On changes of
money it leaves the same hash and balance as this program. It is spared what would cost it most: no wildcard is cleared
(a SCAN for each change), no guard is asked, nothing is atomic, a hash that is missing is not made whole, and a
portfolio is looked for once a poll and not at the moment of the write. It knows inserts and changes of money alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import redis
from kafka import KafkaConsumer

from benchmarks.envelopes import TABLE

_MONEY = {"wallet_balance", "margin", "net_profit", "copy_trading_wallet"}
_FIELDS = (
    *("id", "wallet_balance", "margin", "net_profit", "leverage", "group", "status", "is_active", "account_number"),
    *("country_id", "mam_id", "mam_status", "pam_id", "pam_status", "copytrader_id", "copytrading_status"),
    *("copy_trading_wallet", "copytrading_alloted_time", "sending_orders"),
)
_TTL_S = 3600


class Move(NamedTuple):
    """What a change comes to."""

    user: int
    changed: dict[str, str]
    time: str
    is_new: bool


def moves(values: Iterable[bytes]) -> Iterator[Move]:
    """The changes that matter."""
    for value in values:
        envelope = json.loads(value)
        before, after = envelope["before"], envelope["after"]
        changed = {name: text(name, after[name]) for name in _FIELDS if before is None or before[name] != after[name]}
        if changed:
            yield Move(after["id"], changed, time(envelope["source"]["ts_ms"]), before is None)


def text(column: str, value: Any) -> str:
    """A value as it stands in Redis."""
    if value is None:
        return "rock" if column == "sending_orders" else ""
    if column not in _MONEY:
        return str(value)
    whole, _, places = value.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


def time(ts_ms: int) -> str:
    """A time as it stands in Redis."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def apply(client: redis.Redis, found: list[Move]) -> None:
    """All changes of a poll in one pipeline."""
    looking = client.pipeline(transaction=False)
    for move in found:
        looking.exists(f"user:{{live:{move.user}}}:portfolio")
    writing = client.pipeline(transaction=False)
    for move, has_portfolio in zip(found, looking.execute(), strict=True):
        _write(writing, move, bool(has_portfolio))
    writing.execute()


def _write(pipeline: Any, move: Move, has_portfolio: bool) -> None:
    user, balance = move.user, move.changed.get("wallet_balance")
    own = {"user_type": "live"} if move.is_new else {"last_balance_update": move.time}
    stamps = {"last_admin_update": move.time, "last_updated": move.time}
    pipeline.hset(f"user:{{live:{user}}}:config", mapping={**move.changed, **own, **stamps})
    if balance is not None:
        pipeline.set(f"user_balance:live:{user}", balance, ex=_TTL_S)
        if has_portfolio:
            fields = {"wallet_balance": balance, "balance_updated_at": move.time}
            pipeline.hset(f"user:{{live:{user}}}:portfolio", mapping=fields)
    body = json.dumps(
        {
            "event_type": "user_created" if move.is_new else "balance_change",
            "user_id": user,
            "user_type": "live",
            "updated_fields": move.changed,
            "timestamp": move.time,
            "source": "admin_operation",
        }
    )
    if not move.is_new:
        pipeline.unlink(f"user_margin_calc:live:{user}", f"user_stats:live:{user}", f"user_summary:live:{user}")
    pipeline.publish("user_updates", body)
    if not move.is_new:
        pipeline.publish("balance_updates", body)


def main() -> None:
    """Until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    client = redis.Redis.from_url(os.environ["CDC_REDIS__URL"], decode_responses=True)
    consumer = KafkaConsumer(
        f"{os.environ['CDC_KAFKA__TOPIC_PREFIX']}.trading.{TABLE}",
        bootstrap_servers=os.environ["CDC_KAFKA__BOOTSTRAP_SERVERS"],
        group_id=os.environ["CDC_KAFKA__GROUP_ID"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=500,
    )
    while True:
        polled = consumer.poll(timeout_ms=200)
        values = [record.value for records in polled.values() for record in records]
        if values:
            apply(client, list(moves(values)))
            consumer.commit()


if __name__ == "__main__":
    main()
