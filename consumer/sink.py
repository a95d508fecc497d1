"""Plans to Redis: each is one call of one script, guarded and atomic on a single server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import redis
import structlog

from consumer.effect import Extent, Mode, Plan
from consumer.errors import ServerError
from consumer.key_index import TrackedIndex
from consumer.position import Verdict
from consumer.protocols import Applied
from consumer.redis_client import ask, connect, translate
from consumer.redis_rights import OFFSETS
from consumer.rules import Rules
from consumer.scan_index import KeyIndex, ScanIndex
from consumer.script import Script
from consumer.sections import Guard, Redis
from consumer.watermark import Partition

_log = structlog.get_logger(__name__)
_ABSENT = "absent"
"""The script's answer to a plan in brief whose hash is not there."""


class RedisSink:
    """A single Redis server, as a :class:`consumer.protocols.Sink`."""

    def __init__(self, server: Redis, guard: Guard, rules: Rules, group: str = "") -> None:
        self._client = connect(server)
        self._script = Script(server)
        self._offsets = f"{OFFSETS}{group}"
        heads = tuple(template.partition("<")[0] for template in rules.derived() if template.endswith("*"))
        self._index: KeyIndex = (
            TrackedIndex(self._client, heads)
            # Two threads write to and read from the index' connection, which a TLS connection does not allow.
            if server.tracking and heads and not server.url.get_secret_value().startswith("rediss")
            else ScanIndex(self._client, heads)
        )
        self._gap = str(guard.lineage_gap_ms)
        self._tombstone_ttl = str(guard.tombstone_ttl_s)

    def reach(self) -> str:
        """The server's version, once it answers.

        Raises:
            ServerUnavailable: it does not answer yet.
            ConfigError: it refuses these credentials.

        """
        server = ask(self._client)
        self._index.start()
        if server.policy.startswith("allkeys"):
            _log.warning(
                "Redis may evict any key: with a version gone, a duplicate of its user is taken for new",
                action="redis.evicts",
            )
        return server.version

    def is_reachable(self) -> bool:
        """Whether the server answers now."""
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False

    def index_state(self) -> str:
        """Of wildcard keys: ``warm``, ``cold`` (look-ups scan until it is known again), ``off`` (they always scan)."""
        is_warm = getattr(self._index, "is_warm", None)  # one that always scans has no such thing
        return "off" if is_warm is None else "warm" if is_warm else "cold"

    def close(self) -> None:
        """Let the connections go."""
        self._index.close()
        self._script.close()
        self._client.close()

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        waiting = list(enumerate(plans))
        while waiting:
            wave, waiting = _first_of_each_user(waiting)
            blocked = set()
            for (number, plan), answer in zip(wave, self._apply_wave([plan for _, plan in wave]), strict=True):
                if isinstance(answer, ServerError) or answer.verdict is Verdict.UNHEALED:
                    blocked.add((plan.guard, plan.table))
                yield number, answer
            waiting = [(number, plan) for number, plan in waiting if (plan.guard, plan.table) not in blocked]

    def remember(self, offsets: Mapping[Partition, int]) -> None:
        try:
            self._script.remember(self._offsets, {f"{topic}:{number}": at for (topic, number), at in offsets.items()})
        except redis.RedisError as error:
            raise translate(error, is_of_plan=False) from error

    def recall(self) -> Mapping[Partition, int]:
        try:
            found = self._script.recall(self._offsets)
        except redis.RedisError as error:
            raise translate(error, is_of_plan=False) from error
        parts = ((field.rpartition(":"), offset) for field, offset in found.items())
        return {Partition(topic, int(number)): int(offset) for (topic, _, number), offset in parts}

    def go_on(self) -> None:
        self._script.go_on()

    def _apply_wave(self, plans: Sequence[Plan]) -> list[Applied | ServerError]:
        prefixes = [prefix for plan in plans for prefix in plan.cleared.prefixes]
        try:
            if not prefixes:
                return self._send(plans, {})
            found = self._index.matching(prefixes)
            accepted = set(prefixes)  # unless the answers say otherwise: they may be lost, and the plans applied
            try:
                answers = self._send(plans, found)
                accepted = {
                    prefix
                    for plan, answer in zip(plans, answers, strict=True)
                    if not isinstance(answer, ServerError)
                    and answer.is_accepted
                    and (answer.differed or plan.mode is not Mode.REBUILD)
                    for prefix in plan.cleared.prefixes
                }
            finally:
                self._index.settle(prefixes, accepted)
        except redis.RedisError as error:
            raise translate(error, is_of_plan=False) from error
        return answers

    def _send(self, plans: Sequence[Plan], found: Mapping[str, Sequence[str]]) -> list[Applied | ServerError]:
        derived = [[key for prefix in plan.cleared.prefixes for key in found.get(prefix, ())] for plan in plans]
        calls = [
            self._arguments(plan, keys, is_brief=plan.extent is Extent.CHANGED)
            for plan, keys in zip(plans, derived, strict=True)
        ]
        replies = self._script.call(calls)
        absent = [at for at, reply in enumerate(replies) if isinstance(reply, list) and reply[0] == _ABSENT]
        if absent:
            again = self._script.call([self._arguments(plans[at], derived[at], is_brief=False) for at in absent])
            for at, reply in zip(absent, again, strict=True):
                replies[at] = reply
        return [translate(reply) if isinstance(reply, Exception) else _applied(reply) for reply in replies]

    def _arguments(self, plan: Plan, derived: list[str], *, is_brief: bool) -> list[str | int]:
        """What the script is called with; in brief without the whole image, which it asks for where it needs it."""
        keys = [plan.guard]
        changed = whole = updated = []
        if plan.config is not None:
            keys.append(plan.config.key)
            changed, whole = _flat(plan.config.changed), [] if is_brief else _flat(plan.config.whole)
        balance, ttl = "", ""
        if plan.balance is not None:
            keys.append(plan.balance.key)
            balance, ttl = plan.balance.value, str(plan.balance.ttl_s)
        if plan.update is not None:
            keys.append(plan.update.key)
            updated = _flat(plan.update.fields)
        removed = plan.removed.keys if plan.removed is not None else ()
        keys += [*removed, *plan.cleared.keys, *derived]
        messages = [part for message in plan.messages for part in (message.channel, message.body)]
        version = plan.version
        return [
            len(keys),
            *keys,
            *(plan.table, plan.mode.value),
            *(version.epoch, version.origin.value, version.lineage, version.order, version.ts_ms),
            *(version.topic, version.partition, version.offset),
            *(self._gap, self._tombstone_ttl, ttl, balance),
            *(len(changed), len(whole), len(updated), len(removed), len(messages)),
            "1" if plan.update is not None and plan.update.is_kept else "",
            plan.extent.value,
            *changed,
            *whole,
            *updated,
            *messages,
            *(plan.config.gone if plan.config is not None else ()),
        ]


def _first_of_each_user(
    waiting: list[tuple[int, Plan]],
) -> tuple[list[tuple[int, Plan]], list[tuple[int, Plan]]]:
    """A later plan of a user and table goes only after the earlier was acknowledged: if that one failed, the guard
    would take the later one, refuse the retry as old, and what only the earlier one wrote would be lost.
    """
    first: dict[tuple[str, str], tuple[int, Plan]] = {}
    rest = []
    for numbered in waiting:
        version = numbered[1].guard, numbered[1].table
        if version in first:
            rest.append(numbered)
        else:
            first[version] = numbered
    # Those that tell nobody go first: who hears of a deposit finds its transaction's fields there.
    return sorted(first.values(), key=lambda numbered: bool(numbered[1].messages)), rest


def _flat(fields: Any) -> list[str]:
    return [part for pair in fields.items() for part in pair]


def _applied(reply: list[Any]) -> Applied:
    verdict, config, updated, cleared, receivers, stored, differed = reply
    return Applied(
        Verdict(verdict),
        None if config < 0 else bool(config),
        None if updated < 0 else bool(updated),
        cleared,
        receivers,
        stored,
        differed,
    )
