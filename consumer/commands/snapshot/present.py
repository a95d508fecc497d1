"""The users with values in Redis, and their stored versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import redis

from consumer.mapping.keys import UserId, glob, pattern, render
from consumer.mapping.rules import Names
from consumer.pipeline.batch import batched
from consumer.sink.client import translate
from consumer.sink.keyspace import Keyspace
from consumer.sink.replies import raise_first_error

_BATCH_SIZE = 1000


def users(keys: Keyspace, names: Names, user_type: str) -> Iterator[UserId]:
    """The users with a config hash, then those with only a version.

    Raises:
        ServerUnavailable, ServerError: from Redis.
    """
    try:
        yield from _named(keys, names.config, user_type)
        versioned = _named(keys, names.guard, user_type)
        for part in batched(versioned, _BATCH_SIZE):
            found = raise_first_error(keys.ask([("EXISTS", render(names.config, user)) for user in part]))
            yield from (user for user, exists in zip(part, found, strict=True) if not exists)
    except redis.RedisError as error:
        raise translate(error, is_of_plan=False) from error


def _named(keys: Keyspace, template: str, user_type: str) -> Iterator[UserId]:
    """The users with a key of this template."""
    shape = pattern(template, (user_type,))
    for key in keys.scan(glob(template, user_type)):
        if (found := shape.fullmatch(key)) is not None:
            yield UserId(user_type, int(found["id"]))


def versions(keys: Keyspace, names: Names, found: Sequence[UserId], table: str) -> list[str | None]:
    """Each user's stored version for ``table``: "" if there is none, None if Redis has nothing of the user.

    Raises:
        ServerUnavailable, ServerError: from Redis.
    """
    try:
        kept = raise_first_error(keys.ask([("HGET", render(names.guard, user), table) for user in found]))
        unknown = [user for user, text in zip(found, kept, strict=True) if not text]
        written = _with_keys(keys, names, unknown)
    except redis.RedisError as error:
        raise translate(error, is_of_plan=False) from error
    return [text or ("" if user in written else None) for user, text in zip(found, kept, strict=True)]


def _with_keys(keys: Keyspace, names: Names, users: Sequence[UserId]) -> set[UserId]:
    """The users with at least one key."""
    checked = [(user, each) for user in users for each in (names.config, names.portfolio, names.balance)]
    answers = raise_first_error(keys.ask([("EXISTS", render(each, user)) for user, each in checked]))
    return {user for (user, _), exists in zip(checked, answers, strict=True) if exists}
