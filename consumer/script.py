"""``apply.lua`` on one server, and the connection it is called over.

Where the server keeps functions (Redis 7) the script is one: it is stored and replicated with the data. Else, or where
the account may not load functions, it lies in the script cache. Either may be lost at any time, and is then loaded
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

import hiredis
import redis
import structlog

from consumer.errors import Reconnected
from consumer.redis_client import connect
from consumer.sections import Redis

_log = structlog.get_logger(__name__)
_SCRIPT = files("consumer").joinpath("apply.lua").read_text()
_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
# Named by its content, so that two versions of this program can use one server.
_FUNCTION = f"cdc_apply_{_SHA[:12]}"
_AS_FUNCTION = ("FCALL", _FUNCTION)
_AS_SCRIPT = ("EVALSHA", _SHA)
_LIBRARY = f"#!lua name={_FUNCTION}\nredis.register_function('{_FUNCTION}', function(KEYS, ARGV)\n{_SCRIPT}\nend)\n"

_LOAD = {_AS_FUNCTION: ("FUNCTION", "LOAD", "REPLACE", _LIBRARY), _AS_SCRIPT: ("SCRIPT", "LOAD", _SCRIPT)}

Call = Sequence[str | int]
"""The number of keys, the keys, the arguments."""


class _Anew(redis.ConnectionError):
    """The connection is not the one that was there before."""


class Script:
    """The script of one server."""

    def __init__(self, server: Redis) -> None:
        self._client = connect(server, redis_connect_func=self._connected)
        self._may_connect = True
        self._is_refused = False
        self._command: tuple[str, str] | None = None

    @property
    def kind(self) -> str:
        """How it is called: ``FCALL`` or ``EVALSHA``, or nothing before the first call."""
        return self._command[0] if self._command else ""

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def go_on(self) -> None:
        """The caller has taken note that the connection was lost."""
        self._may_connect |= self._is_refused
        self._is_refused = False

    def call(self, calls: Sequence[Call]) -> list[Any]:
        """The replies, in the calls' order; an error reply is an exception among them.

        Raises:
            redis.RedisError: some of the calls may have been carried out.
            Reconnected: none was; the connection was lost since the call before.

        """
        try:
            if self._command is None:
                self._command = self._first_load()
            replies = self._pipelined(self._command, calls)
            if lost := [at for at, reply in enumerate(replies) if _is_lost(reply)]:
                # Loaded in the same go, so that hardly anything comes between.
                loaded, *again = self._pipelined(self._command, [calls[at] for at in lost], _LOAD[self._command])
                if isinstance(loaded, redis.RedisError):
                    raise loaded
                for at, reply in zip(lost, again, strict=True):
                    replies[at] = redis.exceptions.NoScriptError("NOSCRIPT") if _is_lost(reply) else reply
        except _Anew:
            raise _reconnected() from None
        return replies

    def remember(self, key: str, fields: Mapping[str, int]) -> None:
        """Write ``fields`` to the hash at ``key``, behind all that was called before; or see whether that would work.

        Raises:
            redis.RedisError, Reconnected: as :meth:`call`.

        """
        try:
            if fields:
                self._client.hset(key, items=[part for field in fields.items() for part in field])
            else:
                self._client.ping()
        except _Anew:
            raise _reconnected() from None

    def recall(self, key: str) -> Mapping[str, str]:
        """What was remembered.

        Raises:
            redis.RedisError, Reconnected: as :meth:`call`.

        """
        try:
            return {str(field): str(value) for field, value in self._client.hgetall(key).items()}
        except _Anew:
            raise _reconnected() from None

    def _connected(self, connection: Any) -> None:
        connection.on_connect()
        if not self._may_connect:
            self._is_refused = True
            raise _Anew("connected anew")
        self._may_connect = False

    def _first_load(self) -> tuple[str, str]:
        try:
            self._client.execute_command(*_LOAD[_AS_FUNCTION])
            return _AS_FUNCTION
        except redis.exceptions.NoPermissionError:
            pass
        except redis.ResponseError as error:
            if not str(error).startswith("unknown command"):
                raise
        self._client.execute_command(*_LOAD[_AS_SCRIPT])
        return _AS_SCRIPT

    def _pipelined(self, command: tuple[str, str], calls: Sequence[Call], before: Sequence[str] = ()) -> list[Any]:
        """All is sent before the first reply is read. The client's own pipeline does this too, at several times the
        cost: it looks at every argument, and every reply, in Python.
        """
        commands = [before] if before else []
        packed = b"".join([_pack((*each,)) for each in commands] + [_pack((*command, *call)) for call in calls])
        connection: Any = self._client.connection_pool.get_connection()
        try:
            connection.send_packed_command([packed])
            return [_reply(connection) for _ in range(len(commands) + len(calls))]
        finally:
            self._client.connection_pool.release(connection)


def _pack(command: tuple[Any, ...]) -> bytes:
    pack: Any = hiredis.pack_command  # its stub knows tuples of one part only
    packed: bytes
    try:
        packed = pack(command)
    except UnicodeEncodeError:
        # A key of somebody else's, whose bytes are no UTF-8.
        packed = pack(tuple(str(part).encode(errors="surrogateescape") for part in command))
    return packed


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _is_lost(reply: object) -> bool:
    return isinstance(reply, redis.exceptions.NoScriptError) or (
        isinstance(reply, redis.ResponseError) and "Function not found" in str(reply)
    )


def _reconnected() -> Reconnected:
    return Reconnected("Redis", "the connection was lost, and with it perhaps what was acknowledged last")
