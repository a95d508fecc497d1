"""Calls ``apply.lua`` on one server over one connection.

If the server has functions (Redis 7), the script is a function, which is stored and replicated with the data. If the
server, the account or a proxy refuses FUNCTION or FCALL, with any text, the script is in the script cache. Both may be
lost at any time; then the script is loaded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, TypeAlias

import redis
import structlog

from consumer.errors import Reconnected
from consumer.settings.sections import Redis
from consumer.sink.call import ENCODE_ERRORS, ScriptCall, encoded
from consumer.sink.client import connect, identity, is_of_proxy, is_refusal
from consumer.sink.replies import are_numbers, is_call_refused, is_of_replica, is_script_lost, lacks_replicas, read

_log = structlog.get_logger(__name__)
_LUA = files("consumer.sink").joinpath("apply.lua").read_text(encoding="utf-8")
_SCRIPT = f"{_LUA}\nreturn apply(KEYS, ARGV)\n"
_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
# Named by its content, so that two versions of this program can use one server.
_FUNCTION = f"cdc_apply_{_SHA[:12]}"
_AS_FUNCTION = ("FCALL", _FUNCTION)
_AS_SCRIPT = ("EVALSHA", _SHA)
_LIBRARY = f"#!lua name={_FUNCTION}\n{_LUA}\nredis.register_function('{_FUNCTION}', apply)\n"

_LOAD = {_AS_FUNCTION: ("FUNCTION", "LOAD", "REPLACE", _LIBRARY), _AS_SCRIPT: ("SCRIPT", "LOAD", _SCRIPT)}

Command: TypeAlias = Sequence[str | int]
"""A Redis command with its arguments."""
Call: TypeAlias = ScriptCall | Command


class _NewConnection(redis.ConnectionError):
    """The previous connection was lost, and this one is new."""


class Script:
    """The script on one server, or on a cluster's ``node``, over one connection.

    ``is_guarded``: a reconnect raises Reconnected before anything is sent. If unguarded, a reconnect is silent.
    ``is_first``: nothing was written there before that may be lost, so the first connection does not raise it.
    """

    def __init__(
        self, server: Redis, node: tuple[str, int] | None = None, *, is_first: bool = True, is_guarded: bool = True
    ) -> None:
        self._client = connect(server, node, redis_connect_func=self._connected)
        self._is_node = node is not None
        self._may_connect = is_first
        self._is_guarded = is_guarded
        self._is_refused = False
        self._command: tuple[str, str] | None = None
        self._connection: Any = None
        self._sent: Sequence[Call] = ()

    @property
    def kind(self) -> str:
        """How the script is called: ``FCALL`` or ``EVALSHA``; "" before the first call."""
        return self._command[0] if self._command else ""

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def accept_new_connection(self) -> bool:
        """After Reconnected: accept a new connection. False: none was refused."""
        was_refused, self._is_refused = self._is_refused, False
        self._may_connect |= was_refused
        return was_refused

    def call(self, calls: Sequence[Call]) -> list[Any]:
        """Send the calls and answer the replies in the same order. An error reply is an exception in the list.

        Raises:
            redis.RedisError: some of the calls may have been carried out.
            Reconnected: no call was carried out; the connection was lost since the previous call.

        """
        self.send(calls)
        return self.receive()

    def send(self, calls: Sequence[Call]) -> None:
        """The first half of :meth:`call`: the server begins to work on the calls.

        Raises:
            redis.RedisError, Reconnected: as :meth:`call`.

        """
        self._abandon()
        try:
            if self._command is None and any(isinstance(call, ScriptCall) for call in calls):
                self._command = self._first_load()
            self._send(calls)
        except _NewConnection:
            raise _reconnected() from None
        self._sent = calls

    def receive(self) -> list[Any]:
        """The second half of :meth:`call`: read the replies.

        Raises:
            redis.RedisError: as :meth:`call`.

        """
        replies = self._receive(len(self._sent))
        if are_numbers(replies) or not any(isinstance(reply, redis.ResponseError) for reply in replies):
            return replies
        if self._command == _AS_FUNCTION and any(map(is_call_refused, replies)):
            self._command = self._as_script(next(filter(is_call_refused, replies)))
        if lost := [at for at, reply in enumerate(replies) if is_script_lost(reply) or is_call_refused(reply)]:
            # Load the script and call it in one request, so that it is hardly ever lost in between.
            try:
                load = _LOAD[self._command or self._first_load()]
                self._send([load, *(self._sent[at] for at in lost)])
            except _NewConnection:
                raise _reconnected() from None
            loaded, *again = self._receive(1 + len(lost))
            if isinstance(loaded, redis.RedisError):
                raise loaded
            for at, reply in zip(lost, again, strict=True):
                replies[at] = redis.exceptions.NoScriptError("NOSCRIPT") if is_script_lost(reply) else reply
        return replies

    def _send(self, calls: Sequence[Call]) -> None:
        """Send all calls before the first reply is read.

        The client's own pipeline does this too, but costs several times as much: it checks every argument and every
        reply in Python.
        """
        connection = self._client.connection_pool.get_connection()
        try:
            connection.send_packed_command([_packed(calls, self._command or ())])
        except BaseException:
            connection.disconnect()
            self._client.connection_pool.release(connection)
            raise
        self._connection = connection

    def _abandon(self) -> None:
        """Close a connection with unread replies: a later call must not read them as its own."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._client.connection_pool.release(connection)

    def _receive(self, count: int) -> list[Any]:
        connection, self._connection = self._connection, None
        try:
            replies = read(connection._parser, count)  # noqa: SLF001
            if are_numbers(replies):
                return replies
            for reply in replies:
                if isinstance(reply, redis.ConnectionError):  # LOADING, NOAUTH: the server carries out nothing here
                    raise reply
            for reply in filter(is_of_proxy, replies):
                # The connection to the proxy lives on, and soon another server may be behind it.
                raise redis.ConnectionError(str(reply))
            for reply in filter(is_of_replica, replies):
                raise reply  # the connection is closed with it: a new one may lead to the new master
            refusal = next(filter(lacks_replicas, replies), None)
            if refusal is not None and self._leads_elsewhere(connection):
                raise refusal
            return replies
        except OSError as error:
            connection.disconnect()
            raise redis.ConnectionError(f"while reading replies: {error}") from error
        except BaseException:
            connection.disconnect()  # a later call must not read the remaining replies
            raise
        finally:
            self._client.connection_pool.release(connection)

    def _connected(self, connection: Any) -> None:
        connection.on_connect()
        if self._is_guarded and not self._may_connect:
            self._is_refused = True
            raise _NewConnection("connected anew")
        self._may_connect = False

    def _leads_elsewhere(self, connection: Any) -> bool:
        """Whether a new connection to the address leads to another server than ``connection``.

        The nodes of a cluster say themselves which one is the master, so there nothing is asked.
        """
        if self._is_node:
            return False
        pool = self._client.connection_pool
        other: Any = pool.connection_class(**{**pool.connection_kwargs, "redis_connect_func": None})
        try:
            other.connect()
            return identity(other) != identity(connection)
        except (redis.RedisError, OSError):
            return False  # asked again with the next refusal
        finally:
            other.disconnect()

    def _first_load(self) -> tuple[str, str]:
        if (refused := self._load(_AS_FUNCTION)) is None:
            return _AS_FUNCTION
        if not is_refusal(refused):
            raise refused
        if (error := self._load(_AS_SCRIPT)) is not None:
            raise error
        return self._as_script(refused)

    def _load(self, command: tuple[str, str]) -> redis.ResponseError | None:
        self._send([_LOAD[command]])
        (reply,) = self._receive(1)
        return reply if isinstance(reply, redis.ResponseError) else None

    def _as_script(self, refused: object) -> tuple[str, str]:
        _log.info("functions are refused, the script is called by EVALSHA", action="script.evalsha", said=str(refused))
        return _AS_SCRIPT


def refusal_of_functions(client: redis.Redis) -> str | None:
    """The server's text if it refuses FUNCTION or FCALL; then the script is called by EVALSHA. Else None.

    Nothing is loaded: the text that is sent is not a library, and the function that is called does not exist.

    Raises:
        redis.RedisError: the server can't be asked now.

    """
    for command, sign in ((("FUNCTION", "LOAD", "none"), "library"), (("FCALL", "none", 0), "not found")):
        try:
            client.execute_command(*command)
        except redis.ResponseError as error:
            if not is_refusal(error):
                raise
            if sign not in str(error).lower():
                return str(error)
    return None


def _packed(calls: Sequence[Call], command: Sequence[str]) -> bytes:
    """The calls in Redis' protocol. ``command``: the words before a call of the script."""
    before = "".join(f"\r\n${len(word)}\r\n{word}" for word in command) + "\r\n"
    more = len(command)
    parts: list[str] = []
    for call in calls:
        if isinstance(call, ScriptCall):
            parts.append(f"*{call.count + more}{before}")
            parts += call.parts
        else:
            parts.append(_pack(call))
    return "".join(parts).encode(errors=ENCODE_ERRORS)


def _pack(command: Command) -> str:
    words = [str(part) for part in command]
    return f"*{len(words)}\r\n{encoded(words)}"


def _reconnected() -> Reconnected:
    return Reconnected("Redis", "the connection was lost, and with it perhaps what was acknowledged last")
