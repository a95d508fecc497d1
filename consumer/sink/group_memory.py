"""Which database a group follows, remembered in Redis: whoever joins the group later, or again, follows the same one.

Where the settings do not name it, it follows from what was in Kafka when the first member started. A restored backup
that comes later must not change that.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import redis

from consumer.errors import CdcError
from consumer.settings.sources import Settings
from consumer.sink.client import at_start
from consumer.sink.keyspace import keyspace
from consumer.sink.rights import database_key
from consumer.sink.script import sound


def recall(settings: Settings) -> frozenset[str]:
    """The databases that the group follows; none where nothing is remembered.

    Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.sink.client.ask`.
    """
    (found,) = _ask(settings, [("HGET", *_place(settings))])
    return _names(found)


def recall_if_there(settings: Settings) -> frozenset[str]:
    """What the group followed before; that Redis can't be asked is told elsewhere."""
    try:
        return recall(settings)
    except CdcError:
        return frozenset()


def agree(settings: Settings, databases: frozenset[str]) -> frozenset[str]:
    """Remember ``databases``, unless another member has remembered others; answers what stands.

    Raises:
        ServerUnavailable, ConfigError: as :func:`recall`.
    """
    place = _place(settings)
    _, found = _ask(settings, [("HSETNX", *place, _text(databases)), ("HGET", *place)])
    return _names(found)


def remember(settings: Settings, databases: frozenset[str]) -> None:
    """Remember what the settings say, whatever was followed before.

    Raises:
        ServerUnavailable, ConfigError: as :func:`recall`.
    """
    _ask(settings, [("HSET", *_place(settings), _text(databases))])


def _place(settings: Settings) -> tuple[str, str]:
    """Of each prefix by itself: one group may follow several, with a process of its own for each."""
    return database_key(settings.kafka.group_id), settings.kafka.topic_prefix


def _ask(settings: Settings, questions: Sequence[tuple[str, ...]]) -> Sequence[Any]:
    try:
        with closing(keyspace(settings.redis)) as keys:
            return sound(keys.ask(questions))
    except redis.RedisError as error:
        raise at_start(error) from error


def _text(databases: frozenset[str]) -> str:
    return ",".join(sorted(databases))


def _names(found: object) -> frozenset[str]:
    return frozenset(each for each in str(found or "").split(",") if each)
