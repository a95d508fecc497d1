"""All keys of Redis, for what is no plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import redis

from consumer.redis_client import connect
from consumer.script import Call
from consumer.sections import Redis


class Keyspace(Protocol):
    """The keys of one server. All but :meth:`close` raise redis.RedisError."""

    def ask(self, questions: Sequence[Call]) -> list[Any]:
        """The replies to commands of one key each, its name behind the command's; an error is an exception there."""
        ...

    def clients(self) -> Sequence[redis.Redis]:
        """A client of each master."""
        ...

    def close(self) -> None:
        """Let the connections go."""
        ...


class OneKeyspace:
    """The keys of one server."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def ask(self, questions: Sequence[Call]) -> list[Any]:
        pipeline: Any = self._client.pipeline(transaction=False)
        for question in questions:
            pipeline.execute_command(*question)
        replies: list[Any] = pipeline.execute(raise_on_error=False)
        return replies

    def clients(self) -> Sequence[redis.Redis]:
        return [self._client]

    def close(self) -> None:
        self._client.close()


def keyspace(server: Redis) -> Keyspace:
    """Where the settings say.

    Raises:
        ConfigError: the URL can't be used.

    """
    return OneKeyspace(connect(server))
