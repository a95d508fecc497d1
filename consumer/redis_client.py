"""Connected Redis clients, whose failures are this program's own errors; and what a server says of itself."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from consumer.errors import ConfigError, Refused, ServerError, ServerUnavailable
from consumer.policy import Rule, failure, rule_for
from consumer.sections import Redis

_URL = "redis://user:password@host:port/db or rediss://…, special characters of the password percent-encoded"

# Before Redis 7 the error of a command in a script is wrapped: "@user_script: 12: -OOM command not allowed".
_WRAPPED = re.compile(r"-([A-Z]+) ")
# Redis 7 says so of a command in a script, without the code.
_NOT_ALLOWED = "The user executing the script can't"


def connect(server: Redis, **options: Any) -> redis.Redis:
    """A client that neither retries nor hides anything: the pipeline decides what to do about failures.

    Raises:
        ConfigError: the URL can't be used.

    """
    scheme = server.url.get_secret_value().partition("://")[0]
    if scheme in ("redis+cluster", "redis+sentinel"):
        raise ConfigError("CDC_REDIS__URL", f"{scheme}:// is not supported yet: one server is needed", _URL)
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
    """What a server says of itself; ``policy`` is its maxmemory-policy, ``run`` another after each start."""

    version: str
    policy: str
    run: str = ""


def ask(client: redis.Redis) -> Server:
    """The server behind ``client``, once it answers.

    Raises:
        ServerUnavailable: it does not answer yet.
        ConfigError: it refuses these credentials.

    """
    try:
        server = client.info("server")
        policy = str(client.info("memory").get("maxmemory_policy", ""))
        return Server(str(server["redis_version"]), policy, str(server.get("run_id", "")))
    except redis.RedisError as error:
        found = translate(error, is_of_plan=False)
        if _rule(error).is_setting or not isinstance(found, ServerUnavailable):
            raise ConfigError("CDC_REDIS__URL", f"Redis refused: {found.problem}", _URL) from None
        raise found from error


def translate(error: Exception, *, is_of_plan: bool = True) -> ServerError:
    """A client's exception, or an error reply, as this program's: what may pass, what refuses one plan, what stops.

    Not ``is_of_plan``: what was asked is no plan, so that a refusal of it is no reason to give up one plan.
    """
    found = failure("Redis", error, _said(error), _reply(error))
    if isinstance(found, Refused) and not is_of_plan:
        return ServerError(found.server, found.problem, found.advice, found.cause)
    return found


def _rule(error: Exception) -> Rule:
    return rule_for(error, _reply(error))


def _said(error: Exception) -> str:
    """The server's words; the client cuts off the first, if it has a class for it."""
    text, code = str(error), getattr(error, "status_code", None) or ""
    return text if text.startswith(code) else f"{code} {text}"


def _reply(error: Exception) -> str:
    """The code of an error reply. "" for errors with a class of their own, which tells more than ``ERR`` does."""
    if type(error) is not redis.ResponseError:
        return ""
    text = _said(error)
    if _NOT_ALLOWED in text:
        return "NOPERM"
    wrapped = _WRAPPED.search(text)
    return wrapped.group(1) if wrapped else text.partition(" ")[0]
