"""Effects: each is one Redis action as data. A plan is the effects of one change of one user, in order.

The type of an effect decides its order: first state, then invalidations, then messages. So a subscriber that computes
its data again at once reads the new state.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

import msgspec

from consumer.guard.version import Version
from consumer.mapping.keys import UserId, parts_around_id

Fields: TypeAlias = Mapping[str, str]


class Upsert(msgspec.Struct, frozen=True):
    """Write ``changed`` to the hash at ``key`` if it exists, ``whole`` if it does not.

    ``whole``: empty if the change did not contain every field; then a missing hash is not created. ``gone``: fields
    that the hash must not have.
    """

    key: str
    changed: Fields
    whole: Fields
    gone: tuple[str, ...] = ()


class Update(msgspec.Struct, frozen=True):
    """Write ``fields`` to the hash at ``key`` only if it exists. Something else creates this hash.

    ``is_kept``: store the fields in the guard too, beside the version. They are added to the user's config hash when it
    is created.
    """

    key: str
    fields: Fields
    is_kept: bool = False


class Put(msgspec.Struct, frozen=True):
    """Set the string at ``key`` with a TTL of ``ttl_s`` seconds."""

    key: str
    value: str
    ttl_s: int


class Remove(msgspec.Struct, frozen=True):
    """The user was deleted: delete these keys of the user."""

    keys: tuple[str, ...]


class Invalidate(msgspec.Struct, frozen=True):
    """Delete derived keys, and every key that begins with one of ``prefixes``."""

    keys: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, user: UserId, templates: tuple[str, ...]) -> Invalidate:
        """The derived keys of ``user``. A template that ends with ``*`` means all keys with that prefix."""
        keys, prefixes = _around_all(templates, user.user_type)
        number = str(user.id)
        return cls(tuple([number.join(each) for each in keys]), tuple([number.join(each) for each in prefixes]))


_Around: TypeAlias = tuple[tuple[str, ...], ...]


@lru_cache(maxsize=1024)
def _around_all(templates: tuple[str, ...], user_type: str) -> tuple[_Around, _Around]:
    """The parts before and after the id, for the keys and for the prefixes of the templates."""
    return (
        tuple(parts_around_id(each, user_type) for each in templates if not each.endswith("*")),
        tuple(parts_around_id(each[:-1], user_type) for each in templates if each.endswith("*")),
    )


class Publish(msgspec.Struct, frozen=True):
    """Send ``body`` to the subscribers of ``channel``."""

    channel: str
    body: str


class Mode(StrEnum):
    """How a plan treats the data in Redis.

    CHANGE overwrites older data. FILL writes only what is missing: for reads whose position is not reliable. MARK
    writes no data of the user. It notes in the guard that a change of the user could not be applied. REBUILD writes the
    whole user, also if the stored version is equal to the plan's. It deletes derived keys only if the write changed
    something. In REBUILD, an incremental read only fills, as in FILL.
    """

    CHANGE = "change"
    FILL = "fill"
    MARK = "mark"
    REBUILD = "rebuild"


class Extent(StrEnum):
    """How much of the user a plan writes. For a marked user, a plan must write everything.

    WHOLE writes the whole row. CHANGED writes what differs, of a row that was sent whole. PART writes what it can, of a
    row that was not sent whole.
    """

    WHOLE = "whole"
    CHANGED = "changed"
    PART = "part"


class Nothing(msgspec.Struct, frozen=True):
    """A change without effects, and the reason. ``unreadable``: as in :class:`Plan`."""

    reason: str
    unreadable: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """The effects of one change on one user.

    ``reasons``: the rules that caused the effects, for people. ``is_repeated``: the plan was applied before, and part
    of the result may be lost. ``expected``: set if the data was read from the database. The plan is applied only if the
    guard still holds this version, as text ("": no version); the version stays there. ``unreadable``: optional columns
    whose value can't be read; their fields do not change. ``known_below``: a rebuild has read its partition up to this
    offset, so it has seen every version below.
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
    known_below: int | None = None
    unreadable: tuple[str, ...] = ()
