"""Connected Redis clients, whose failures are this program's own errors; and what a server says of itself."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from consumer.errors import ConfigError, Refused, ServerError, ServerUnavailable, UnknownReply
from consumer.policy import Rule, failure, rule_for
from consumer.redis_address import Address, Kind
from consumer.redis_tls import options as tls_options
from consumer.redis_tls import refused as refused_by_tls
from consumer.sections import Redis

_URL = (
    "redis://user:password@host:port/db, redis+cluster://host1:port,host2/ or redis+sentinel://host1:port,host2/service"
    "/db; rediss… for TLS; special characters of the password percent-encoded"
)

# Before Redis 7 the error of a command in a script is wrapped: "@user_script: 12: -OOM command not allowed".
_WRAPPED = re.compile(r"-([A-Z]+) ")
# What proxies say while no server behind them answers.
_OF_A_PROXY = re.compile(r"ERR (no upstream|upstream |connection (refused|reset|timed out))", re.IGNORECASE)
# What an unknown reply quotes may be a value of a row. Names of the script's own variables are kept.
_QUOTED = re.compile(r"((?:local|field|global|upvalue|method) '[^']*')|([\'\"`]).*?(\2|$)", re.DOTALL)
_LONGEST_REPLY = 200
# Redis 7 says so of a command in a script, without the code.
_NOT_ALLOWED = "The user executing the script can't"


def address_of(server: Redis) -> Address:
    """What the URL says.

    Raises:
        ConfigError: it can't be used.

    """
    try:
        return Address.from_url(server.url.get_secret_value())
    except ValueError as error:
        raise ConfigError("CDC_REDIS__URL", f"not a Redis URL: {error}", allowed=_URL) from None


def connect(server: Redis, node: tuple[str, int] | None = None, **options: Any) -> redis.Redis:
    """A client that neither retries nor hides anything: the pipeline decides what to do about failures.

    It is of the one server, or of the master that the sentinels name, whichever that is when a connection is made. Of a
    cluster it is of ``node``, by host and port.

    Raises:
        ConfigError: the URL can't be used.

    """
    address = address_of(server)
    if address.kind is Kind.CLUSTER and node is None:
        raise ConfigError("CDC_REDIS__URL", "one server is needed here, not a cluster", allowed=_URL)
    try:
        if address.kind is Kind.SENTINEL:
            client = _of_sentinels(server, address, options)
        else:
            url = address.whole if node is None else address.of(*node)
            client = redis.Redis.from_url(url, **_options(server), **options)
        client.connection_pool.make_connection()  # options that no connection knows are refused here
        return client
    except (ValueError, TypeError):
        # The parser's own words may quote a piece of the password.
        raise ConfigError("CDC_REDIS__URL", "not a Redis URL", allowed=_URL) from None


def _of_sentinels(server: Redis, address: Address, options: dict[str, Any]) -> redis.Redis:
    secret = server.sentinel_password
    account = {"username": server.sentinel_user, "password": secret.get_secret_value() if secret else None}
    manager = Sentinel([])
    ask = replace(address, login="", db=0).of
    manager.sentinels = [redis.Redis.from_url(ask(*host), **_options(server), **account) for host in address.hosts]
    asked = parse_url(address.of(*address.hosts[0]))
    of_master = {name: value for name, value in asked.items() if name not in ("host", "port", "connection_class")}
    is_tls = address.scheme == "rediss"
    client: redis.Redis = manager.master_for(
        address.service, **{**_options(server), **of_master, **options, "ssl": is_tls}
    )
    return client


def _options(server: Redis) -> dict[str, Any]:
    """What all connections have in common."""
    timeout_s = server.timeout_ms / 1000
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
        "encoding_errors": "surrogateescape",  # a key of somebody else's may hold any bytes
        "protocol": 2,
        **tls_options(server),
    }


class Server(NamedTuple):
    """What a server says of itself; ``policy`` is its maxmemory-policy, ``run`` another after each start."""

    version: str
    policy: str
    run: str = ""


def ask(client: redis.Redis) -> Server:
    """The server behind ``client``, once it answers.

    Raises:
        ServerUnavailable: it does not answer yet.
        ConfigError: it refuses these credentials, or TLS with it fails.

    """
    try:
        server = client.info("server")
        policy = str(client.info("memory").get("maxmemory_policy", ""))
        return Server(str(server["redis_version"]), policy, str(server.get("run_id", "")))
    except redis.RedisError as error:
        pool = client.connection_pool
        is_secured = issubclass(pool.connection_class, redis.SSLConnection)
        if (wrong := refused_by_tls(pool.connection_kwargs, is_secured=is_secured)) is not None:
            raise wrong from None
        raise at_start(error) from None


def at_start(error: redis.RedisError) -> ConfigError | ServerUnavailable:
    """What a failure means to a client that was never answered: a wrong setting, or a server to be waited for."""
    found = translate(error, is_of_plan=False)
    if _rule(error).is_setting or not isinstance(found, ServerUnavailable):
        return ConfigError(
            "CDC_REDIS__URL",
            f"Redis refused: {found.problem}",
            fix=found.advice or "correct user, password or address in it",
        )
    return found


def translate(error: Exception, *, is_of_plan: bool = True) -> ServerError:
    """A client's exception, or an error reply, as this program's: what may pass, what refuses one plan, what stops.

    Not ``is_of_plan``: what was asked is no plan, so that a refusal of it is no reason to give up one plan.
    """
    found = failure("Redis", error, _said(error), _reply(error))
    if isinstance(found, UnknownReply):
        found.problem = _QUOTED.sub(lambda quoted: quoted[1] or "…", found.problem)[:_LONGEST_REPLY]
    if isinstance(found, Refused) and not is_of_plan:
        return ServerError(found.server, found.problem, found.advice, found.cause)
    return found


def _rule(error: Exception) -> Rule:
    return rule_for(error, _reply(error))


def _said(error: Exception) -> str:
    """The server's words; the client cuts off the first, if it has a class for it."""
    text, code = str(error), getattr(error, "status_code", None) or ""
    if isinstance(error, MasterNotFoundError):
        return text.partition(" : ")[0]  # behind it the client shows itself
    return text if text.startswith(code) else f"{code} {text}"


def _reply(error: Exception) -> str:
    """The code of an error reply. "" for errors with a class of their own, which tells more than ``ERR`` does."""
    if type(error) is not redis.ResponseError:
        return ""
    text = _said(error)
    if _NOT_ALLOWED in text:
        return "NOPERM"
    if _OF_A_PROXY.match(text):
        return "UPSTREAM"
    wrapped = _WRAPPED.search(text)
    return wrapped.group(1) if wrapped else text.partition(" ")[0]
