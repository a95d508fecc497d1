"""The consumers that this one is compared with do the same on changes of money, else they would be no measure."""

from __future__ import annotations

import socket
from collections.abc import Callable
from itertools import count

import pytest
import redis

from benchmarks import ceiling
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


@pytest.mark.parametrize("redis_binary", ["machine"], indirect=True, scope="session")  # the other has no functions
def test_so_does_the_ceiling_loop_where_a_hash_exists(client: redis.Redis) -> None:
    client.function_load(ceiling.LIBRARY, replace=True)
    settings = client.connection_pool.connection_kwargs
    offset = count()

    def by_the_loop(values: list[bytes]) -> None:
        records = [ceiling.Record(value, 0, next(offset)) for value in values]
        with socket.create_connection((settings["host"], settings["port"])) as connection:
            connection.sendall(b"".join(map(ceiling.call, records)))
            assert list(ceiling.answers(connection, len(values))) == [1] * len(values)
            connection.sendall(ceiling.call(records[-1]))
            assert list(ceiling.answers(connection, 1)) == [0]  # sent again

    plain = _found(client, lambda values: apply(client, list(moves(values))))
    found = _found(client, by_the_loop)
    names = ("wallet_balance", "last_balance_update", "last_admin_update", "last_updated")
    config, wanted = (each["user:{live:7}:config"] for each in (found, plain))
    assert isinstance(config, tuple)
    assert isinstance(wanted, tuple)
    assert {name: config[1][name] for name in names} == {name: wanted[1][name] for name in names}
    for key in ("user_balance:live:7", "user:{live:7}:portfolio"):
        assert found[key] == plain[key]
    assert found.keys() == plain.keys()
