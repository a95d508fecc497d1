"""What clearing ``financial_summary:<type>:<id>:*`` costs as the keys under the wildcard become more.

A thousand users change in turn; so many keys are theirs and are cleared at each size, and all others are strangers'.
With the index the cost of a change should not grow with the strangers; by SCAN, one pass for each batch, it does.
"""

from __future__ import annotations

from dataclasses import dataclass

import redis

from benchmarks.envelopes import changes
from benchmarks.meter import NotDone, emptied
from benchmarks.system import PARTITIONS, System, ours

_USERS = 1000
_STRANGER = 10_000_000
_AT_ONCE = 5000
INDEX, SCAN = "index", "scan"


@dataclass(frozen=True)
class Cost:
    """Microseconds a change, in all, by how the keys are found."""

    keys: int
    index_us: float
    scan_us: float


def measure(system: System, keys: int, by_index: int, by_scan: int) -> Cost:
    """At ``keys`` keys, over so many changes with the index and by SCAN.

    Raises:
        NotDone: it came to no end, or keys were left.

    """
    return Cost(keys, _one(system, keys, by_index, INDEX), _one(system, keys, by_scan, SCAN))


def _one(system: System, keys: int, count: int, how: str) -> float:
    # Until the index knows all keys there is a scan for each batch: that is the start, and does not count.
    prefix = system.backlog(changes(2 * count + _USERS, _USERS, PARTITIONS))
    emptied(system.redis)
    fill(system.redis, keys)
    program = ours(CDC_REDIS__TRACKING=str(how == INDEX).lower())
    with system.running(program, prefix) as running:
        rate = system.meter(running).rate(count + _USERS, 2 * count + _USERS)
    if left := sum(1 for user in range(1, _USERS + 1) if system.redis.exists(_key(user))):
        raise NotDone(f"{left} keys were not cleared")
    return 1e6 / rate.per_s


def fill(client: redis.Redis, keys: int) -> None:
    """A key of each user who will change, and strangers' for the rest."""
    users = [*range(1, _USERS + 1), *range(_STRANGER, _STRANGER + keys - _USERS)]
    for at in range(0, len(users), _AT_ONCE):
        client.mset({_key(user): "1" for user in users[at : at + _AT_ONCE]})


def _key(user: int) -> str:
    return f"financial_summary:live:{user}:day"
