"""The connection over which a server reports every write under some prefixes: CLIENT TRACKING in broadcast mode."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Any

import redis

from consumer.sink.client import is_refusal

READ_TIMEOUT_S = 1.0
_REST_S = 1.0
"""So long at most the next part of a message may take. A look-up waits for it."""
_PING = b"*1\r\n$4\r\nPING\r\n"

Told = Callable[[Sequence[str] | None], None]
"""Called with the keys that were touched; None means all keys."""


class Tracking:
    """One connection to the server of ``client``.

    Two threads may use it if they share a lock, because a TLS connection allows one thread at a time. Only :meth:`wait`
    needs no lock. A read may call ``told``. All methods raise redis.RedisError.
    """

    def __init__(self, client: redis.Redis, heads: Sequence[str], told: Told) -> None:
        pool = client.connection_pool
        self._connection: Any = pool.connection_class(**{**pool.connection_kwargs, "protocol": 3})
        self._heads = heads
        self._told = told

    def open(self) -> None:
        """Connect, and turn tracking on.

        Raises redis.ReadOnlyError if the server is a replica: the new master may have writes that it never reports.
        """
        self._connection.connect()
        self._refuse_replica()
        # redis-py's client-side cache uses the same hook; there is no public one.
        self._connection._parser.set_invalidation_push_handler(self._pushed)  # noqa: SLF001
        prefixes = [part for head in self._heads for part in ("PREFIX", head)]
        self._connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", *prefixes)
        self._connection.read_response()

    def _refuse_replica(self) -> None:
        self._connection.send_command("INFO", "replication")
        try:
            told = str(self._connection.read_response())
        except redis.ResponseError as error:
            if not is_refusal(error):
                raise
            return  # not every account or proxy allows INFO
        if "role:slave" in told and "slave_read_only:0" not in told:  # a replica may be made writable
            raise redis.ReadOnlyError("the server is a replica")

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()

    def has_news(self) -> bool:
        """Whether there is something to read now."""
        if self._connection._sock is None:  # noqa: SLF001  # can_read would connect, and the new connection tracks nothing
            raise redis.ConnectionError("the tracking connection is closed")
        return bool(self._connection.can_read(timeout=0))

    def wait(self, stop: int) -> bool:
        """Wait until the connection has something to read, at most :data:`READ_TIMEOUT_S` seconds.

        Ends earlier if the descriptor ``stop`` becomes readable. Answers whether the connection has something to read.
        """
        waiting = select.poll()
        waiting.register(stop, select.POLLIN)
        waiting.register(self._connection._sock, select.POLLIN)  # noqa: SLF001  # the client's own wait also reads
        return any(ready != stop for ready, _ in waiting.poll(READ_TIMEOUT_S * 1000))

    def read(self) -> object:
        """The answer to the oldest request, also an error reply; None for a push.

        Raises redis.TimeoutError if a message is incomplete, and the rest does not come.
        """
        try:
            return self._connection.read_response(push_request=True, timeout=_REST_S, disconnect_on_error=False)
        except redis.ResponseError as error:
            return error

    def ask(self, *questions: tuple[str, ...]) -> None:
        """Send commands. The answers arrive in order, each after the pushes that the server sent before it."""
        packed = self._connection.pack_commands(questions)
        self._connection.send_packed_command(packed, check_health=False)

    def ping(self) -> None:
        """:meth:`ask` for a PING, which is sent for every batch."""
        self._connection.send_packed_command([_PING], check_health=False)

    def _pushed(self, push: list[Any]) -> None:
        """Handle ``["invalidate", keys]``; ``keys`` is None after a FLUSHALL."""
        keys = push[1]
        if keys is not None:
            keys = [key.decode(errors="surrogateescape") if isinstance(key, bytes) else key for key in keys]
        self._told(keys)
