"""Replies of Redis: how they are read from a connection, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import redis
from redis._parsers.hiredis import NOT_ENOUGH_DATA

from consumer.sink.client import is_of_row, is_refusal


def read(parser: Any, count: int) -> list[Any]:
    """``count`` replies, error replies among them.

    The client's own method for one reply would take most of the time of a reply (decision 29).

    Raises:
        redis.RedisError: the connection ends or was closed before, or what arrives is not Redis' protocol.
    """
    reader = parser._reader  # noqa: SLF001
    if reader is None:  # closed since the calls were sent, because a cluster's node became a replica
        raise redis.ConnectionError("the connection was closed before its replies were read")
    replies: list[Any] = []
    while True:
        replies += islice(iter(reader.gets, NOT_ENOUGH_DATA), count - len(replies))
        if len(replies) == count:
            return replies
        parser.read_from_socket()


def are_numbers(replies: Sequence[Any]) -> bool:
    """Whether all are numbers, which is the usual reply."""
    return {*map(type, replies)} == {int}


def is_of_replica(reply: object) -> bool:
    """Whether a server refused a command because it is a replica: READONLY, or MASTERDOWN without its master."""
    return is_of_row("READONLY", reply)


def lacks_replicas(reply: object) -> bool:
    """Whether a master refused to write because it has too few replicas. It may be cut off and replaced by another."""
    return is_of_row("NOREPLICAS", reply)


def is_script_lost(reply: object) -> bool:
    """Whether the server does not have the script or the function any longer."""
    return isinstance(reply, redis.exceptions.NoScriptError) or (
        isinstance(reply, redis.ResponseError) and "Function not found" in str(reply)
    )


def is_call_refused(reply: object) -> bool:
    """Whether the server, the account or a proxy does not allow FCALL."""
    return isinstance(reply, redis.ResponseError) and "fcall" in str(reply).lower() and is_refusal(reply)


def raise_first_error(replies: Sequence[Any]) -> Sequence[Any]:
    """The replies. If one of them is an error, the error is raised."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def fields_of(reply: Sequence[str]) -> dict[str, str]:
    """A hash, from the flat list that the server sends."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


def pairs_of(fields: Mapping[str, int]) -> list[str | int]:
    """A hash, as the flat list that the server accepts."""
    return [part for field in fields.items() for part in field]
