"""Plans to Redis: each is one call of one script, guarded and atomic on a single server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from consumer.config import Guard, Redis
from consumer.effect import Plan
from consumer.errors import ConfigError, ServerError, ServerUnavailable
from consumer.key_index import KeyIndex, ScanIndex, TrackedIndex
from consumer.position import Verdict
from consumer.protocols import Applied
from consumer.rules import Rules

_log = structlog.get_logger(__name__)
_SCRIPT = files("consumer").joinpath("apply.lua").read_text()
_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

_URL = "redis://user:password@host:port/db or rediss://…, special characters of the password percent-encoded"

# Error replies of a server that may accept the same plan later; all others are answers about the plan itself. The
# client turns some into exceptions of their own and cuts off their code.
_TEMPORARY = frozenset(
    {"LOADING", "READONLY", "BUSY", "OOM", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "MISCONF", "NOSCRIPT"}
    | {"NOAUTH", "WRONGPASS", "NOPERM"}
)
_CODES: tuple[tuple[type[redis.RedisError], str], ...] = (
    (redis.OutOfMemoryError, "OOM"),
    (redis.ReadOnlyError, "READONLY"),
    (redis.exceptions.NoScriptError, "NOSCRIPT"),
    (redis.exceptions.NoPermissionError, "NOPERM"),
    (redis.exceptions.MasterDownError, "MASTERDOWN"),
    (redis.exceptions.ClusterDownError, "CLUSTERDOWN"),
    (redis.exceptions.TryAgainError, "TRYAGAIN"),
)
# Before Redis 7 the error of a command in a script is wrapped: "@user_script: 12: -OOM command not allowed".
_WRAPPED = re.compile(r"-([A-Z]+) ")


class RedisSink:
    """A single Redis server, as a :class:`consumer.protocols.Sink`."""

    def __init__(self, server: Redis, guard: Guard, rules: Rules) -> None:
        self._client = connect(server)
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
        try:
            version = str(self._client.info("server")["redis_version"])
            policy = str(self._client.info("memory").get("maxmemory_policy", ""))
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
            raise ConfigError("CDC_REDIS__URL", f"Redis refused the credentials: {error}", _URL) from None
        except redis.RedisError as error:
            found = translate(error)
            if isinstance(found, ServerUnavailable):
                raise found from error
            raise ConfigError("CDC_REDIS__URL", f"Redis refused: {found.problem}", _URL) from None
        self._index.start()
        if policy.startswith("allkeys"):
            _log.warning(
                "Redis may evict any key: with a version gone, a duplicate of its user is taken for new",
                action="redis.evicts",
            )
        return version

    def is_reachable(self) -> bool:
        """Whether the server answers now."""
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False

    def close(self) -> None:
        """Let the connections go."""
        self._index.close()
        self._client.close()

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        waiting = list(enumerate(plans))
        while waiting:
            wave, waiting = _first_of_each_user(waiting)
            failed = set()
            for (number, plan), answer in zip(wave, self._apply_wave([plan for _, plan in wave]), strict=True):
                if isinstance(answer, ServerError):
                    failed.add((plan.guard, plan.table))
                yield number, answer
            waiting = [(number, plan) for number, plan in waiting if (plan.guard, plan.table) not in failed]

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
                    if not isinstance(answer, ServerError) and answer.is_accepted
                    for prefix in plan.cleared.prefixes
                }
            finally:
                self._index.settle(prefixes, accepted)
        except redis.RedisError as error:
            raise translate(error) from error
        return answers

    def _send(self, plans: Sequence[Plan], found: Mapping[str, Sequence[str]]) -> list[Applied | ServerError]:
        pipeline: Any = self._client.pipeline(transaction=False)
        # Loading it each time costs a hash of the text, and a server that was restarted or flushed needs no case.
        pipeline.execute_command("SCRIPT LOAD", _SCRIPT)
        for plan in plans:
            derived = [key for prefix in plan.cleared.prefixes for key in found.get(prefix, ())]
            pipeline.execute_command("EVALSHA", _SHA, *self._arguments(plan, derived))
        loaded, *replies = pipeline.execute(raise_on_error=False)
        if isinstance(loaded, redis.RedisError):
            raise loaded
        return [translate(reply) if isinstance(reply, Exception) else _applied(reply) for reply in replies]

    def _arguments(self, plan: Plan, derived: list[str]) -> list[str | int]:
        keys = [plan.guard]
        changed = whole = mirrored = []
        if plan.config is not None:
            keys.append(plan.config.key)
            changed, whole = _flat(plan.config.changed), _flat(plan.config.whole)
        balance, ttl = "", ""
        if plan.balance is not None:
            keys.append(plan.balance.key)
            balance, ttl = plan.balance.value, str(plan.balance.ttl_s)
        if plan.update is not None:
            keys.append(plan.update.key)
            mirrored = _flat(plan.update.fields)
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
            *(len(changed), len(whole), len(mirrored), len(removed), len(messages)),
            "1" if plan.update is not None and plan.update.is_kept else "",
            *changed,
            *whole,
            *mirrored,
            *messages,
        ]


def connect(server: Redis) -> redis.Redis:
    """A client that neither retries nor hides anything: the pipeline decides what to do about failures.

    Raises:
        ConfigError: the URL can't be used.

    """
    timeout_s = server.timeout_ms / 1000
    try:
        client = redis.Redis.from_url(
            server.url.get_secret_value(),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            encoding_errors="surrogateescape",  # a key of somebody else's may hold any bytes
            protocol=2,
        )
        client.connection_pool.make_connection()  # options that no connection knows are refused here
        return client
    except (ValueError, TypeError):
        # The parser's own words may quote a piece of the password.
        raise ConfigError("CDC_REDIS__URL", "not a Redis URL", _URL) from None


def translate(error: Exception) -> ServerError:
    """A client's exception, or an error reply, as this program's: one that may pass, or one that will not."""
    text = str(error)
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError)):
        return ServerUnavailable("Redis", text)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "")
    if not code:
        wrapped = _WRAPPED.search(text)
        code = wrapped.group(1) if wrapped else text.partition(" ")[0]
    problem = text if text.startswith(code) else f"{code} {text}"
    return ServerUnavailable("Redis", problem) if code in _TEMPORARY else ServerError("Redis", problem)


def _first_of_each_user(
    waiting: list[tuple[int, Plan]],
) -> tuple[list[tuple[int, Plan]], list[tuple[int, Plan]]]:
    """A later plan of a user goes only after the earlier was acknowledged: if that one failed, the guard would take
    the later one, refuse the retry as old, and what only the earlier one wrote would be lost.
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
    verdict, config, portfolio, cleared, receivers, stored = reply
    return Applied(
        Verdict(verdict),
        None if config < 0 else bool(config),
        None if portfolio < 0 else bool(portfolio),
        cleared,
        receivers,
        stored,
    )
