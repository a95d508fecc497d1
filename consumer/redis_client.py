"""Connected Redis clients, whose failures are this program's own errors; and what a server says of itself."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from consumer.config import Redis
from consumer.errors import ConfigError, Refused, ServerError, ServerUnavailable

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


def connect(server: Redis, **options: Any) -> redis.Redis:
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
            **options,
        )
        client.connection_pool.make_connection()  # options that no connection knows are refused here
        return client
    except (ValueError, TypeError):
        # The parser's own words may quote a piece of the password.
        raise ConfigError("CDC_REDIS__URL", "not a Redis URL", _URL) from None


class Server(NamedTuple):
    """What a server says of itself; ``policy`` is its maxmemory-policy."""

    version: str
    policy: str


def ask(client: redis.Redis) -> Server:
    """The server behind ``client``, once it answers.

    Raises:
        ServerUnavailable: it does not answer yet.
        ConfigError: it refuses these credentials.

    """
    try:
        version = str(client.info("server")["redis_version"])
        return Server(version, str(client.info("memory").get("maxmemory_policy", "")))
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise ConfigError("CDC_REDIS__URL", f"Redis refused the credentials: {error}", _URL) from None
    except redis.RedisError as error:
        found = translate(error)
        if isinstance(found, ServerUnavailable):
            raise found from error
        raise ConfigError("CDC_REDIS__URL", f"Redis refused: {found.problem}", _URL) from None


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
    return ServerUnavailable("Redis", problem) if code in _TEMPORARY else Refused("Redis", problem)
