"""How long it takes from a commit to Redis, one change at a time on servers that do nothing else."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Final

from demo.admin import Connection
from demo.subscriber import Subscriber

CHANGES: Final = 100
_PAUSE_S = 0.02
_TIMEOUT_S = 10.0
_CHANNEL = "user_updates"


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds of each change that arrived, and how many did not."""

    arrived: tuple[float, ...]
    lost: int

    def __str__(self) -> str:
        if not self.arrived:
            return "no change arrived"
        return f"median {median(self.arrived):.1f} ms, worst {max(self.arrived):.1f} ms, of {len(self.arrived)} changes"


def measure(connection: Connection, subscriber: Subscriber) -> Latencies:
    """Change the balance of live:7 again and again, each time waiting for its message.

    State and message are one atomic step in Redis, so the message tells when the state was there. The last change
    puts the balance back.
    """
    arrived, lost = [], 0
    for number in range(1, CHANGES + 1):
        amount = "9000.50" if number == CHANGES else f"{9000 + number}.25"
        committed = _commit(connection, amount)
        at = _arrival(subscriber, amount)
        if at is None:
            lost += 1
        else:
            arrived.append((at - committed) * 1000)
        time.sleep(_PAUSE_S)
    subscriber.until_now()
    return Latencies(tuple(arrived), lost)


def _commit(connection: Connection, amount: str) -> float:
    cursor = connection.cursor()
    try:
        cursor.execute("UPDATE live_users SET wallet_balance = %s WHERE id = 7", (amount,))
        return time.perf_counter()
    finally:
        cursor.close()


def _arrival(subscriber: Subscriber, amount: str) -> float | None:
    deadline = time.perf_counter() + _TIMEOUT_S
    while (left := deadline - time.perf_counter()) > 0:
        heard = subscriber.next(left)
        if heard and heard.channel == _CHANNEL and heard.body["updated_fields"].get("wallet_balance") == amount:
            return heard.at
    return None
