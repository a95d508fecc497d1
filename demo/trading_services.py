"""The demo in the part of the trading services: the keys that they own in Redis beside the consumer's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import redis

from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Rules

TRADER: Final = UserId("live", 7)
"""The one user who has a portfolio and open positions."""

HISTORY: Final[Mapping[str, Mapping[str, str]]] = {
    "user_holdings:{live:7}:ord-1": {"symbol": "EURUSD", "order_quantity": "0.50", "order_price": "1.08412"},
    "user_holdings:{live:7}:ord-2": {"symbol": "XAUUSD", "order_quantity": "0.10", "order_price": "2314.70"},
    "order_data:ord-1": {"user": "live:7", "status": "OPEN", "symbol": "EURUSD"},
    "order_data:ord-2": {"user": "live:7", "status": "OPEN", "symbol": "XAUUSD"},
    "order_data:ord-0": {"user": "live:8", "status": "CLOSED", "symbol": "EURUSD"},
}
ORDERS: Final = "user_orders_index:{live:7}"
_LATER_S = 0.02
_ATTEMPTS = 40
_SUFFIXES = ("2024-01-15:day", "2024-01:month")


class TradingServices:
    """They compute caches from what they read, and keep positions and orders.

    A consumer that runs beside them clears a cache that is written while a change is being applied. ``settle_s`` is
    how long a cache must stand before it counts as computed.
    """

    def __init__(self, client: redis.Redis, rules: Rules, settle_s: float = 0.0) -> None:
        self._client = client
        self._rules = rules
        self._settle_s = settle_s

    def open_positions(self) -> None:
        """Positions and orders, and the trader's portfolio as it was computed some time ago."""
        for key, fields in HISTORY.items():
            self._client.hset(key, items=[part for pair in fields.items() for part in pair])
        self._client.sadd(ORDERS, "ord-1", "ord-2")
        self._client.hset(
            render(self._rules.names.portfolio, TRADER),
            mapping={
                "equity": "1612.40",
                "used_margin": "250.00",
                "free_margin": "1362.40",
                "wallet_balance": "1400.00",
                "group": "Standard",
            },
        )

    def compute(self, user: UserId) -> None:
        """Every derived cache of a user, computed anew, as the services do when they are asked for one."""
        names = [name for template in self._rules.derived() for name in _caches(render(template, user))]
        time.sleep(_LATER_S)
        for _ in range(_ATTEMPTS):
            for name in names:
                self._client.set(name, "computed")
            time.sleep(self._settle_s)
            if self._client.exists(*names) == len(names):
                return


def _caches(key: str) -> list[str]:
    """Two of the keys that a name with a wildcard stands for, or the key itself."""
    return [f"{key[:-1]}{suffix}" for suffix in _SUFFIXES] if key.endswith("*") else [key]


def untouchable() -> tuple[str, ...]:
    """Keys that no change of a user may touch."""
    return (*HISTORY, ORDERS)
