"""Stores in Redis which databases a group consumes, so that later members of the group consume the same ones.

If the settings do not name a database, the topics that existed when the first member started decide. A backup that is
restored later must not change that.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import redis

from consumer.errors import CdcError
from consumer.settings.sources import Settings
from consumer.sink.client import at_start
from consumer.sink.keyspace import keyspace, runs
from consumer.sink.replies import raise_first_error
from consumer.sink.rights import database_key


def load(settings: Settings) -> frozenset[str]:
    """The databases that the group consumes; empty if nothing is stored.

    Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.sink.client.ask`.
    """
    (found,) = _ask(settings, [("HGET", *_place(settings))])
    return _names(found)


def load_if_reachable(settings: Settings) -> frozenset[str]:
    """The databases that the group consumed before; empty if Redis can't be asked, which is reported elsewhere."""
    try:
        return load(settings)
    except CdcError:
        return frozenset()


def store_if_absent(settings: Settings, databases: frozenset[str]) -> frozenset[str]:
    """Store ``databases``, unless another member has stored others; answers what is stored.

    Raises:
        ServerUnavailable, ConfigError: as :func:`load`.
    """
    place = _place(settings)
    _, found = _ask(settings, [("HSETNX", *place, _text(databases)), ("HGET", *place)])
    return _names(found)


def store(settings: Settings, databases: frozenset[str]) -> None:
    """Store the databases of the settings; they replace what was stored before.

    Raises:
        ServerUnavailable, ConfigError: as :func:`load`.
    """
    _ask(settings, [("HSET", *_place(settings), _text(databases))])


def _place(settings: Settings) -> tuple[str, str]:
    """The key, and a field for each topic prefix: one group may consume several prefixes, each in its own process."""
    return database_key(settings.kafka.group_id), settings.kafka.topic_prefix


def _ask(settings: Settings, questions: Sequence[tuple[str, ...]]) -> Sequence[Any]:
    try:
        with closing(keyspace(settings.redis)) as keys:
            runs(keys)  # for most commands this is the first contact: it says what in the URL is wrong
            return raise_first_error(keys.ask(questions))
    except redis.RedisError as error:
        raise at_start(error) from error


def _text(databases: frozenset[str]) -> str:
    return ",".join(sorted(databases))


def _names(found: object) -> frozenset[str]:
    return frozenset(each for each in str(found or "").split(",") if each)
