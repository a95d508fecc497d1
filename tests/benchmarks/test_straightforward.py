"""The consumer that the others are compared with does the same on changes of money, else it would be no measure."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import redis

from benchmarks.envelopes import TABLE, insert, update
from benchmarks.straightforward import apply, moves
from consumer.events.avro import NO_SCHEMAS
from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.planning.decision import decide_all
from consumer.sink.redis_sink import RedisSink

_Apply = Callable[[list[bytes]], None]


def _found(client: redis.Redis, apply_all: _Apply) -> dict[str, object]:
    """What two inserts and a change of money leave: each key, its content, whether it expires; but not the guards."""
    client.flushall()
    client.set("user_stats:live:7", "to be cleared")
    apply_all([insert(0, 7), insert(1, 8)])
    client.hset("user:{live:7}:portfolio", "wallet_balance", "before")
    apply_all([update(2, 7)])
    keys = [key for key in client.scan_iter() if not key.startswith("cdc:")]
    return {
        key: (client.ttl(key) > 0, client.get(key) if client.type(key) == "string" else client.hgetall(key))
        for key in keys
    }


def test_it_leaves_the_same_keys_as_this_program(client: redis.Redis, sink: RedisSink) -> None:
    offset = count()

    def by_this_program(values: list[bytes]) -> None:
        records = [SourceRecord(f"bench.trading.{TABLE}", 0, next(offset), 1, b"{}", value) for value in values]
        plans = [each.plan for each in decide_all(records, reference(), NO_SCHEMAS) if each.plan is not None]
        assert len(list(sink.apply(plans))) == len(values)

    plain = _found(client, lambda values: apply(client, list(moves(values))))
    assert plain == _found(client, by_this_program)
    assert len(plain) == 5
