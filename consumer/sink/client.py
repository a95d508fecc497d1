"""Redis clients, the translation of their errors to this program's errors, and the information of a server."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from consumer.errors import ConfigError, Refused, ServerError, ServerUnavailable, UnknownReply
from consumer.pipeline.policy import Rule, failure, rule_for
from consumer.settings.sections import Redis
from consumer.sink.address import Address, Kind
from consumer.sink.tls import options as tls_options
from consumer.sink.tls import refused as refused_by_tls

_URL = (
    "redis://user:password@host:port/db, redis+cluster://host1:port,host2/ or redis+sentinel://host1:port,host2/service"
    "/db; rediss… for TLS; special characters of the password percent-encoded"
)

# Before Redis 7 the error of a command in a script is wrapped: "@user_script: 12: -OOM command not allowed".
_WRAPPED = re.compile(r"-([A-Z]+) ")
# Error replies of proxies while no server behind them answers. Envoy says "no upstream host", "upstream failure" and
# "upstream protocol error", without a code.
_OF_A_PROXY = re.compile(r"(ERR )?(no upstream|upstream |connection (refused|reset|timed out))", re.IGNORECASE)
# Quoted text in an unknown reply may be a row value, so it is removed. Names of the script's variables are kept.
_QUOTED = re.compile(r"((?:local|field|global|upvalue|method) '[^']*')|([\'\"`]).*?(\2|$)", re.DOTALL)
_LONGEST_REPLY = 200
_RUN_ID = re.compile(r"^run_id:(\w+)", re.MULTILINE)
# Redis 7's text for a command in a script that the account may not use; it has no error code.
_NOT_ALLOWED = "The user executing the script can't"


class WrongKind(redis.ResponseError):
    """The server is of another kind than the URL says; at the start this is a wrong setting."""

    problem = ""
    allowed = ""


class NoClusterNode(WrongKind):
    """The server does not know CLUSTER SLOTS."""

    problem = "the server is no node of a cluster"
    allowed = "redis://… for a single server"


class NoSentinel(WrongKind):
    """The server does not know the SENTINEL command."""

    problem = "the server is no sentinel"
    allowed = "hosts and ports of sentinels, which is mostly 26379; redis://… for a single server"


def address_of(server: Redis) -> Address:
    """The address in the URL of the settings.

    Raises:
        ConfigError: the URL can't be used.

    """
    try:
        return Address.from_url(server.url.get_secret_value())
    except ValueError as error:
        raise ConfigError("CDC_REDIS__URL", f"not a Redis URL: {error}", allowed=_URL) from None


def connect(server: Redis, node: tuple[str, int] | None = None, **options: Any) -> redis.Redis:
    """A client without retries that reports every failure: the pipeline decides what to do.

    The client connects to the one server, or to the master that the sentinels name at the time of the connection. On a
    cluster, the client connects to ``node`` (host and port).

    Raises:
        ConfigError: the URL can't be used.

    """
    address = address_of(server)
    if address.kind is Kind.CLUSTER and node is None:
        raise ConfigError("CDC_REDIS__URL", "one server is needed here, not a cluster", allowed=_URL)
    try:
        if address.kind is Kind.SENTINEL:
            client = _of_sentinels(server, address, options)
        elif node is not None:
            client = _of_node(server, address, node, options)
        else:
            client = redis.Redis.from_url(address.whole, **_options(server), **options)
        client.connection_pool.make_connection()  # refuses unknown options here
        str(client.connection_pool.connection_kwargs.get("host", "")).encode("idna")  # UnicodeError: not a host name
        return client
    except (ValueError, TypeError):
        # The parser's text may contain part of the password.
        raise ConfigError("CDC_REDIS__URL", "not a Redis URL", allowed=_URL) from None


def connect_anew(client: redis.Redis) -> None:
    """Let every later command of ``client`` use a new connection: its address may lead to another server now.

    A command that another thread has sent goes on, over its connection, which is closed after it.
    """
    pool = client.connection_pool
    pool.disconnect(inuse_connections=False)
    pool.reset()  # a connection that is in use does not come back to the pool


def _of_node(server: Redis, address: Address, node: tuple[str, int], options: dict[str, Any]) -> redis.Redis:
    # Other nodes report this host. It is never put into a URL: a text that is no host would be parsed as another part.
    host, port = node
    of_all = parse_url(address.of(*address.hosts[0]))
    pool = redis.ConnectionPool(**{**_options(server), **of_all, **options, "host": host, "port": port})
    return redis.Redis.from_pool(pool)


class _Sentinels(Sentinel):
    def discover_master(self, service_name: str) -> Any:
        try:
            return super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            raise NoSentinel(str(error)) if lacks_command(error) else error from None


def _of_sentinels(server: Redis, address: Address, options: dict[str, Any]) -> redis.Redis:
    secret = server.sentinel_password
    account = {"username": server.sentinel_user, "password": secret.get_secret_value() if secret else None}
    manager: Any = _Sentinels([])  # type: ignore[no-untyped-call]
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
    """The options of all connections."""
    timeout_s = server.timeout_ms / 1000
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
        "encoding_errors": "surrogateescape",  # keys of other programs may contain any bytes
        "protocol": 2,
        **tls_options(server),
    }


class Server(NamedTuple):
    """The information of a server from INFO; empty texts if this account may not ask.

    ``policy``: the maxmemory-policy. ``run``: the run id, which changes at each start. ``mode``: standalone, cluster or
    sentinel.
    """

    version: str = ""
    policy: str = ""
    run: str = ""
    mode: str = ""


def ask(client: redis.Redis) -> Server:
    """The information of the server of ``client``.

    Raises:
        ServerUnavailable: it does not answer yet.
        ConfigError: it refuses these credentials or this database, is of another kind than the URL says, or TLS fails.

    """
    try:
        server, memory = info(client, "server"), info(client, "memory")
    except redis.RedisError as error:
        pool = client.connection_pool
        is_secured = issubclass(pool.connection_class, redis.SSLConnection)
        if (wrong := refused_by_tls(pool.connection_kwargs, is_secured=is_secured)) is not None:
            raise wrong from None
        if isinstance(error, redis.ResponseError) and (wrong := _wrong_database(client, error)) is not None:
            raise wrong from None
        raise at_start(error) from None
    told = [str(server.get(name, "")) for name in ("redis_version", "run_id", "redis_mode")]
    return Server(told[0], str(memory.get("maxmemory_policy", "")), told[1], told[2])


def ask_one(client: redis.Redis) -> Server:
    """As :func:`ask`, for a server that must hold all keys: no cluster node, no sentinel.

    Raises:
        ServerUnavailable, ConfigError: as :func:`ask`.

    """
    server = ask(client)
    if server.mode == "cluster":
        raise ConfigError(
            "CDC_REDIS__URL", "the server is a node of a cluster", allowed="redis+cluster://host1:port,host2/"
        )
    if server.mode == "sentinel":
        raise ConfigError(
            "CDC_REDIS__URL", "the server is a sentinel", allowed="redis+sentinel://host1:port,host2/service"
        )
    return server


def info(client: redis.Redis, section: str) -> Mapping[str, Any]:
    """A section of INFO; empty if INFO is refused, but PING is answered: some accounts and proxies do not allow INFO.

    Raises:
        redis.RedisError: the server does not answer, or refuses PING too.

    """
    try:
        told: Any = client.info(section)
    except redis.ResponseError as error:
        if not is_refusal(error):
            raise
        client.ping()
        return {}
    return told if isinstance(told, dict) else {}


def is_refusal(error: redis.ResponseError) -> bool:
    """Whether a command was refused, with any text, and not only because of the present state of the server."""
    return _rule(error).is_setting or lacks_command(error)


def lacks_command(error: redis.ResponseError) -> bool:
    """Whether a refusal does not concern the account's rights, and its code is not in the table of failures."""
    return is_of_row("ERR", error)


def is_of_row(code: str, reply: object) -> bool:
    """Whether a reply is an error whose row in the table of failures has ``code``."""
    return isinstance(reply, redis.ResponseError) and f"redis:{code}" in _rule(reply).names


def identity(connection: Any) -> str:
    """Which server is at the other end of ``connection``: its run id, or its address if this account may not use INFO.

    Raises:
        redis.RedisError, OSError: the server does not answer.

    """
    connection.send_command("INFO", "server")
    try:
        found = _RUN_ID.search(str(connection.read_response()))
    except redis.ResponseError as error:
        if not is_refusal(error):
            raise
        found = None
    return found[1] if found else str(connection._sock.getpeername())  # noqa: SLF001


def _wrong_database(client: redis.Redis, error: redis.ResponseError) -> ConfigError | None:
    """The error if the server accepts this account, but not the database that the URL names; else None."""
    pool = client.connection_pool
    number = pool.connection_kwargs.get("db") or 0
    if not number or not lacks_command(error):
        return None
    other: Any = pool.connection_class(**{**pool.connection_kwargs, "db": 0})
    try:
        other.connect()
    except redis.RedisError:
        return None
    finally:
        other.disconnect()
    problem = f"Redis refused database {number}: {_said(error)}"
    return ConfigError("CDC_REDIS__URL", problem, allowed="0, or another one that the server has")


def at_start(error: redis.RedisError) -> ConfigError | ServerUnavailable:
    """A failure before the first answer as an error: a wrong setting, or a server to wait for."""
    if isinstance(error, WrongKind):
        return ConfigError("CDC_REDIS__URL", f"{error.problem} (it says: {error})", allowed=error.allowed)
    found = translate(error, is_of_plan=False)
    if _rule(error).is_setting or not isinstance(found, ServerUnavailable):
        return ConfigError(
            "CDC_REDIS__URL",
            f"Redis refused: {found.problem}",
            fix=found.advice or "correct user, password or address in it",
        )
    return found


def translate(error: Exception, *, is_of_plan: bool = True) -> ServerError:
    """A client's exception or an error reply as one of this program's errors; its class gives the action.

    ``is_of_plan``: if false, the failed command was no plan. Then a refusal halts, and does not refuse one plan.
    """
    cause = error.__context__
    unresolved = cause if isinstance(cause, socket.gaierror) and isinstance(error, redis.ConnectionError) else None
    found = failure("Redis", unresolved or error, _said(error), _reply(error))
    if isinstance(found, UnknownReply):
        found.problem = _QUOTED.sub(lambda quoted: quoted[1] or "…", found.problem)[:_LONGEST_REPLY]
    if isinstance(found, Refused) and not is_of_plan:
        return ServerError(found.server, found.problem, found.advice, found.cause)
    return found


def is_of_proxy(reply: object) -> bool:
    """Whether a proxy answered, because no server behind it did."""
    return isinstance(reply, redis.ResponseError) and _reply(reply) == "UPSTREAM"


def _rule(error: Exception) -> Rule:
    return rule_for(error, _reply(error))


def _said(error: Exception) -> str:
    """The server's text with its error code. The client removes the code if it has a class for the error."""
    text, code = str(error), getattr(error, "status_code", None) or ""
    if isinstance(error, MasterNotFoundError):
        return text.partition(" : ")[0]  # the rest is the client's repr
    return text if text.startswith(code) else f"{code} {text}"


def _reply(error: Exception) -> str:
    """The code of an error reply; "" for errors with their own class, because the class says more than ``ERR``."""
    if type(error) is not redis.ResponseError:
        return ""
    text = _said(error)
    if _NOT_ALLOWED in text:
        return "NOPERM"
    if _OF_A_PROXY.match(text):
        return "UPSTREAM"
    wrapped = _WRAPPED.search(text)
    return wrapped.group(1) if wrapped else text.partition(" ")[0]
