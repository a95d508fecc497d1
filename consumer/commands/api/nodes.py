"""Counts the keys on each server without blocking it: SCAN with a time limit, never KEYS."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import redis
from redis.sentinel import SentinelConnectionPool

from consumer.errors import ServerError, ServerUnavailable
from consumer.mapping.keys import glob, pattern
from consumer.mapping.rules import Rules
from consumer.sink.client import translate
from consumer.sink.keyspace import Keyspace

_COUNT = 1000
_BUDGET_S = 1.0
_WAIT_S = 1.5


class NodeCounts:
    """The data of cluster-info. Counts again if the last count is older than ``age_s`` seconds."""

    def __init__(self, keys: Keyspace, rules: Rules, age_s: float) -> None:
        types = sorted({table.user_type for table in rules.tables})
        self._keys = keys
        self._templates = (rules.names.config, rules.names.balance)
        self._patterns = tuple(pattern(template, types) for template in self._templates)
        self._age_s = age_s
        self._lock = threading.Lock()
        self._counted: dict[str, object] | None = None
        self._at = 0.0
        self._failure: ServerError | None = None
        self._failed_at = 0.0

    def info(self) -> dict[str, object]:
        """The data. Counting one kind of key on one node takes at most a second; the rest is estimated.

        Raises:
            ServerError: Redis can't answer (on a cluster: no node can), or the first count is not finished yet.
        """
        # Only one count runs at a time; other callers get the previous result.
        before = self._counted
        if not self._lock.acquire(timeout=_WAIT_S if before is None else 0):
            if before is None:
                raise ServerUnavailable("Redis", "its keys are being counted: ask again")
            return before
        try:
            return self._cached()
        finally:
            self._lock.release()

    def _cached(self) -> dict[str, object]:
        now = time.monotonic()
        if self._failure is not None and now - self._failed_at < _WAIT_S:
            raise self._failure
        if self._counted is None or now - self._at >= self._age_s:
            try:
                self._counted = self._count()
            except redis.RedisError as error:  # callers that waited for this count get its error
                self._failure, self._failed_at = translate(error, is_of_plan=False), time.monotonic()
                raise self._failure from None
            self._failure, self._at = None, time.monotonic()
        return self._counted

    def _count(self) -> dict[str, object]:
        nodes: list[dict[str, Any]] = []
        failure: redis.RedisError | None = None
        for client in self._keys.clients():
            address = _address(client)  # raises if the sentinels know no master
            try:
                nodes.append({**address, "status": "connected", **self._of(client)})
            except redis.RedisError as error:
                failure = error
                nodes.append({**address, "status": "disconnected", "keys": 0, "user_configs": 0, "balance_caches": 0})
        if failure is not None and all(node["status"] == "disconnected" for node in nodes):
            raise failure
        return {
            "nodes": nodes,
            "total_keys": sum(node["keys"] for node in nodes),
            "user_config_keys": sum(node["user_configs"] for node in nodes),
            "balance_cache_keys": sum(node["balance_caches"] for node in nodes),
        }

    def _of(self, client: Any) -> dict[str, int]:
        keys = int(client.dbsize())
        configs, balances = (
            _matching(client, glob(template), found, keys)
            for template, found in zip(self._templates, self._patterns, strict=True)
        )
        return {"keys": keys, "user_configs": configs, "balance_caches": balances}


def _address(client: Any) -> dict[str, object]:
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        host, port = pool.get_master_address()
        return {"host": str(host), "port": int(port)}
    options = pool.connection_kwargs
    return {"host": str(options.get("host", "localhost")), "port": int(options.get("port", 6379))}


def _matching(client: Any, match: str, found: re.Pattern[str], keys: int) -> int:
    """Count the keys that match. SCAN returns each key at least once in no order, so a part allows an estimate."""
    deadline = time.monotonic() + _BUDGET_S
    seen: set[str] = set()
    cursor = scanned = 0
    while True:
        cursor, names = client.scan(cursor, match=match, count=_COUNT)
        scanned += _COUNT
        seen.update(name for name in names if found.fullmatch(name))
        if cursor == 0:
            return len(seen)
        if time.monotonic() > deadline:
            return min(keys, round(len(seen) * keys / scanned)) if scanned < keys else len(seen)
