"""Effects: one Redis action each, as data; and the plan, the effects of one change of one user in their order.

The order is fixed by the type: state, then invalidations, then messages, so that a subscriber who recomputes at once
sees the new world.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

import msgspec

from consumer.guard.version import Version
from consumer.mapping.keys import UserId, around

Fields: TypeAlias = Mapping[str, str]


class Upsert(msgspec.Struct, frozen=True):
    """Write ``changed`` to the hash at ``key`` if it exists, ``whole`` if it does not.

    ``whole`` is empty where the change did not tell every field: then a hash that does not exist is not made. ``gone``
    are fields that the hash must not have.
    """

    key: str
    changed: Fields
    whole: Fields
    gone: tuple[str, ...] = ()


class Update(msgspec.Struct, frozen=True):
    """Write ``fields`` to the hash at ``key`` only if it exists; it belongs to somebody else.

    ``is_kept``: they are kept beside the version too, and are part of the user's config hash whenever it is made.
    """

    key: str
    fields: Fields
    is_kept: bool = False


class Put(msgspec.Struct, frozen=True):
    """Set the string at ``key``, to expire after ``ttl_s`` seconds."""

    key: str
    value: str
    ttl_s: int


class Remove(msgspec.Struct, frozen=True):
    """The user is gone: remove these keys of theirs."""

    keys: tuple[str, ...]


class Invalidate(msgspec.Struct, frozen=True):
    """Clear derived keys, and every key that begins with one of ``prefixes``."""

    keys: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, user: UserId, templates: tuple[str, ...]) -> Invalidate:
        """The derived keys of ``user``; a template that ends in ``*`` means all keys that begin so."""
        keys, prefixes = _around_all(templates, user.user_type)
        number = str(user.id)
        return cls(tuple([number.join(each) for each in keys]), tuple([number.join(each) for each in prefixes]))


_Around: TypeAlias = tuple[tuple[str, ...], ...]


@lru_cache(maxsize=1024)
def _around_all(templates: tuple[str, ...], user_type: str) -> tuple[_Around, _Around]:
    """What stands around the id in the keys, and in the prefixes, that templates mean."""
    return (
        tuple(around(each, user_type) for each in templates if not each.endswith("*")),
        tuple(around(each[:-1], user_type) for each in templates if each.endswith("*")),
    )


class Publish(msgspec.Struct, frozen=True):
    """Send ``body`` to the subscribers of ``channel``."""

    channel: str
    body: str


class Mode(StrEnum):
    """How a plan meets what stands in Redis.

    CHANGE overwrites what is older. FILL writes only what is missing: for reads whose position is not to be trusted.
    MARK writes nothing of the user's, but notes beside the version that a change of theirs could not be applied.
    REBUILD writes the whole user, also if the version that stands there is this very one, and clears what is derived
    only if that changed something. What an incremental read says only fills there, as in FILL.
    """

    CHANGE = "change"
    FILL = "fill"
    MARK = "mark"
    REBUILD = "rebuild"


class Extent(StrEnum):
    """How much of the user a plan writes; what meets the mark of an unreadable change must write all.

    WHOLE leaves nothing of the row out. CHANGED writes what differs, of a row that was sent whole. PART writes what it
    can, of a row that was not.
    """

    WHOLE = "whole"
    CHANGED = "changed"
    PART = "part"


class Nothing(msgspec.Struct, frozen=True):
    """A change from which nothing follows, and why. ``unreadable`` as in :class:`Plan`."""

    reason: str
    unreadable: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """What one change does to one user. ``reasons`` name the rules that said so, for people.

    ``is_repeated``: it was applied before, and some of that may be lost. ``expected``: what the plan writes was read in
    the database, and is written only if this version, as text, still stands there ("": none); it stays there.
    ``unreadable`` are optional columns whose value can't be read: their fields stay as they are.
    """

    user: UserId
    table: str
    guard: str
    version: Version
    mode: Mode = Mode.CHANGE
    extent: Extent = Extent.PART
    config: Upsert | None = None
    balance: Put | None = None
    update: Update | None = None
    removed: Remove | None = None
    cleared: Invalidate = msgspec.field(default_factory=Invalidate)
    messages: tuple[Publish, ...] = ()
    reasons: tuple[str, ...] = ()
    is_repeated: bool = False
    expected: str | None = None
    unreadable: tuple[str, ...] = ()
