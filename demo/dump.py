"""Every key of a small Redis at one moment, and what differs between two moments."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from consumer.sink.rights import MEMBERS, OFFSETS

_LOOKS = 50
_BETWEEN_LOOKS_S = 0.1


@dataclass(frozen=True, slots=True)
class Dump:
    """``values`` by key, whatever the key's type; ``expiries`` in milliseconds from then, for keys that have one."""

    values: Mapping[str, object]
    expiries: Mapping[str, int]

    def hash(self, key: str) -> Mapping[str, str]:
        """The hash at ``key``, empty if there is none."""
        found = self.values.get(key)
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Movement:
    """Keys that came, went and changed; ``changed`` counts an expiry that was put off, too."""

    created: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.created, *self.removed, *self.changed)


def take(client: redis.Redis) -> Dump:
    """Read everything but how far the program is and what it reports of itself, which do not move with the users."""
    keys = (key for key in sorted(_any(client).scan_iter()) if not key.startswith((OFFSETS, MEMBERS)))
    values = {key: _read(client, key) for key in keys}
    expiries = {key: left for key in values if (left := int(_any(client).pttl(key))) >= 0}
    return Dump(values, expiries)


def take_at_rest(client: redis.Redis) -> Dump:
    """Read everything, once two looks in a row see the same."""
    last = take(client)
    for _ in range(_LOOKS):
        time.sleep(_BETWEEN_LOOKS_S)
        now = take(client)
        if not movement(last, now).keys:
            return now
        last = now
    raise TimeoutError("somebody else keeps writing to this Redis")


def _any(client: redis.Redis) -> Any:
    """Its annotations are incomplete, and leave open whether answers have to be awaited."""
    return client


def _read(client: redis.Redis, key: str) -> object:
    commands = _any(client)
    kind = commands.type(key)
    readers: dict[str, Callable[[], object]] = {
        "string": lambda: commands.get(key),
        "hash": lambda: commands.hgetall(key),
        "list": lambda: commands.lrange(key, 0, -1),
        "set": lambda: sorted(commands.smembers(key)),
        "zset": lambda: commands.zrange(key, 0, -1, withscores=True),
    }
    return readers[kind]() if kind in readers else None


def movement(before: Dump, after: Dump) -> Movement:
    """What moved from ``before`` to ``after``."""
    both = [key for key in before.values if key in after.values]
    return Movement(
        created=tuple(key for key in after.values if key not in before.values),
        removed=tuple(key for key in before.values if key not in after.values),
        changed=tuple(key for key in both if _is_moved(key, before, after)),
    )


def _is_moved(key: str, before: Dump, after: Dump) -> bool:
    if before.values[key] != after.values[key]:
        return True
    if (key in before.expiries) != (key in after.expiries):
        return True
    return key in before.expiries and after.expiries[key] > before.expiries[key]
