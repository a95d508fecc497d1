"""The users of whom anything stands in Redis, and the versions of theirs that stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import redis

from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Names
from consumer.pipeline.batch import batched
from consumer.sink.client import translate
from consumer.sink.keyspace import Keyspace
from consumer.sink.script import sound

_AT_ONCE = 1000
_GLOB = re.compile(r"([\\*?\[\]])")


def users(keys: Keyspace, names: Names, user_type: str) -> Iterator[UserId]:
    """Who has a config hash, then who has a version without one.

    Raises:
        ServerUnavailable, ServerError: from Redis.
    """
    try:
        yield from _named(keys, names.config, user_type)
        versioned = _named(keys, names.guard, user_type)
        for part in batched(versioned, _AT_ONCE):
            found = sound(keys.ask([("EXISTS", render(names.config, user)) for user in part]))
            yield from (user for user, exists in zip(part, found, strict=True) if not exists)
    except redis.RedisError as error:
        raise translate(error, is_of_plan=False) from error


def _named(keys: Keyspace, template: str, user_type: str) -> Iterator[UserId]:
    """The users whose key of this template is there."""
    parts = template.replace("<type>", user_type).split("<id>")
    shape = re.compile("([0-9]{1,19})".join(re.escape(part) for part in parts))
    pattern = "*".join(_GLOB.sub(r"\\\1", part) for part in parts)
    for key in keys.scan(pattern):
        if (found := shape.fullmatch(key)) is not None:
            yield UserId(user_type, int(found[1]))


def versions(keys: Keyspace, names: Names, found: Sequence[UserId], table: str) -> list[str | None]:
    """The version of each user's row of ``table`` as it is kept: "" where there is none, None where there is nothing.

    Raises:
        ServerUnavailable, ServerError: from Redis.
    """
    try:
        kept = sound(keys.ask([("HGET", render(names.guard, user), table) for user in found]))
        unknown = [user for user, text in zip(found, kept, strict=True) if not text]
        written = _written(keys, names, unknown)
    except redis.RedisError as error:
        raise translate(error, is_of_plan=False) from error
    return [text or ("" if user in written else None) for user, text in zip(found, kept, strict=True)]


def _written(keys: Keyspace, names: Names, users: Sequence[UserId]) -> set[UserId]:
    """Those who have a key."""
    asked = [(user, each) for user in users for each in (names.config, names.portfolio, names.balance)]
    answers = sound(keys.ask([("EXISTS", render(each, user)) for user, each in asked]))
    return {user for (user, _), exists in zip(asked, answers, strict=True) if exists}
