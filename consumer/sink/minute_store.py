"""The minutes of a group in Redis: a hash for each hour, for a day. Members add to them, and nobody removes them.

The size does not depend on the number of members: an hour has two small numbers a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import redis

from consumer.pipeline.minutes import Minute
from consumer.settings.sections import Redis
from consumer.sink.client import at_start
from consumer.sink.keyspace import Keyspace, keyspace, within, write
from consumer.sink.replies import fields_of, raise_first_error
from consumer.sink.rights import MEMBERS

_LONGEST_ANSWER_MS = 2000
_KEPT_S = 25 * 3600
_DONE, _LAG = "d", "l"


class MinuteStore:
    """Adds to the minutes. Each call opens a connection and closes it, with a short timeout.

    Raises ServerUnavailable if Redis can't serve now, another ServerError if it refuses.
    """

    def __init__(self, server: Redis, group: str) -> None:
        self._server = within(server, _LONGEST_ANSWER_MS)
        self._group = group

    def add(self, minute: Minute) -> None:
        """Add what one member did."""
        key, at = hour_key(self._group, minute.number // 60), minute.number % 60
        write(
            self._server,
            ("HINCRBY", key, f"{at}{_DONE}", minute.done),
            ("HINCRBY", key, f"{at}{_LAG}", minute.lag_records),
            ("EXPIRE", key, _KEPT_S),
        )


def load(server: Redis, group: str, first: int, last: int) -> list[Minute]:
    """The known minutes from ``first`` to ``last``, both included.

    Raises:
        CdcError: Redis does not answer, or refuses.
    """
    try:
        with closing(keyspace(server)) as keys:
            return _load(keys, group, first, last)
    except redis.RedisError as error:
        raise at_start(error) from None


def _load(keys: Keyspace, group: str, first: int, last: int) -> list[Minute]:
    hours = range(first // 60, last // 60 + 1)
    replies = raise_first_error(keys.ask([("HGETALL", hour_key(group, hour)) for hour in hours]))
    found = [
        minute
        for hour, reply in zip(hours, replies, strict=True)
        for minute in _minutes(hour, reply if isinstance(reply, dict) else fields_of(reply))
    ]
    return [each for each in found if first <= each.number <= last]


def hour_key(group: str, hour: int) -> str:
    """The hash of one hour; ``hour``: since 1970."""
    return f"{MEMBERS}{group}:hour:{hour}"


def _minutes(hour: int, fields: Mapping[str, Any]) -> list[Minute]:
    """The minutes of an hour; what is no number is left out."""
    numbers = {name: int(text) for name, text in fields.items() if str(text).isdecimal()}
    return [
        Minute(hour * 60 + at, numbers[f"{at}{_DONE}"], numbers.get(f"{at}{_LAG}", 0))
        for at in range(60)
        if f"{at}{_DONE}" in numbers
    ]
