"""What Redis holds of one user now, read and never written."""

from __future__ import annotations

from typing import Any

import redis

from consumer.explain.held import Held
from consumer.guard_state import GuardState
from consumer.keys import UserId, render
from consumer.redis_client import connect, translate
from consumer.rules import Names
from consumer.sections import Redis


def held_of(server: Redis, user: UserId, names: Names) -> Held:
    """What Redis holds of ``user``.

    Raises:
        ServerUnavailable, ServerError: from Redis.
    """
    config, portfolio, balance, guard = (
        render(each, user) for each in (names.config, names.portfolio, names.balance, names.guard)
    )
    client = connect(server)
    try:
        pipeline: Any = client.pipeline(transaction=False)
        for key in (config, portfolio, guard):
            pipeline.hgetall(key)
        pipeline.get(balance)
        pipeline.ttl(balance)
        *found, ttl = pipeline.execute(raise_on_error=False)
        for reply in found:
            if isinstance(reply, redis.RedisError) and "WRONGTYPE" not in str(reply):
                raise reply
    except redis.RedisError as error:
        raise translate(error, is_of_plan=False) from error
    finally:
        client.close()
    others = tuple(
        key
        for key, reply in zip((config, portfolio, guard, balance), found, strict=True)
        if isinstance(reply, Exception)
    )
    in_config, in_portfolio, in_guard, text = (None if isinstance(reply, Exception) else reply for reply in found)
    return Held(
        in_config or None,
        in_portfolio or None,
        text,
        ttl if isinstance(ttl, int) and ttl >= 0 else None,
        GuardState.read(in_guard or {}),
        others,
    )
