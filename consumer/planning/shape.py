"""What all plans of one kind have in common: keys, fields, channels and reasons.

A system has only a few different sets of columns that change together. So a shape is computed once for each, and is
shared by its plans. A plan adds only the user, the version and the values.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import msgspec

from consumer.mapping.keys import parts_around_id

Assigned: TypeAlias = tuple[tuple[str, str], ...]
"""Fields of a hash, each with the name of its value in the plan, or ``TIME``."""
Templates: TypeAlias = tuple[str, ...]
TIME = ""
"""Instead of the name of a value: the field gets the source's time of the change."""
_MOST_SHAPES = 4096


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


class Channel(NamedTuple):
    """Where a message of a plan goes.

    ``at``: the place of the message in the plan. ``stream``: the key of the stream that gets the message too, "" if
    none does; it keeps about ``maxlen`` entries. ``is_published``: false if subscribers got the message before, and
    only the stream may lack it.
    """

    name: str
    at: int
    stream: str = ""
    maxlen: int = 0
    is_published: bool = True


class PlanShape(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What all plans of one kind have in common. Keys are templates; "" is a key that is not written.

    ``changed``: what the config hash gets if it exists, ``whole``: if it does not exist; without ``whole`` it is not
    created. ``gone``: fields that the config hash must not have. ``balance_value``: the name of the balance's value.
    ``update``: a hash that something else creates; it gets the fields ``updated`` only if it exists. ``is_kept``: store
    these fields in the guard too. ``removed``: the keys of a deleted user. ``cleared``: derived keys; a ``*`` at the
    end means all keys with that prefix. ``channels``: where the messages go.
    ``is_financial``: an update of an amount of money; its messages get details from linked rows. ``reasons``: the rules
    that caused the effects, for people.

    Shapes are compared by identity. :func:`shared` usually gives one object for equal shapes.
    """

    table: str
    user_type: str
    guard: str
    mode: Mode = Mode.CHANGE
    extent: Extent = Extent.PART
    config: str = ""
    changed: Assigned = ()
    whole: Assigned = ()
    gone: tuple[str, ...] = ()
    balance: str = ""
    balance_value: str = ""
    balance_ttl_s: int = 0
    update: str = ""
    updated: Assigned = ()
    is_kept: bool = False
    removed: Templates = ()
    cleared: Templates = ()
    channels: tuple[Channel, ...] = ()
    is_financial: bool = False
    reasons: tuple[str, ...] = ()

    reason: str = ""
    """The reasons as one text."""
    prefixes: tuple[tuple[str, ...], ...] = ()
    """The prefixes among ``cleared``: the texts before and after the id."""
    has_streams: bool = False
    """Whether a message goes to a stream."""

    def __post_init__(self) -> None:
        wildcards = (each[:-1] for each in self.cleared if each.endswith("*"))
        prefixes = tuple(parts_around_id(each, self.user_type) for each in wildcards)
        msgspec.structs.force_setattr(self, "prefixes", prefixes)
        msgspec.structs.force_setattr(self, "has_streams", any(each.stream for each in self.channels))
        msgspec.structs.force_setattr(self, "reason", "; ".join(self.reasons))


_shapes: dict[tuple[object, ...], PlanShape] = {}


def shared(shape: PlanShape) -> PlanShape:
    """The one object for all shapes that are equal to ``shape``.

    The table is emptied when it is full. Then equal shapes may be two objects, and are only prepared again.
    """
    if len(_shapes) >= _MOST_SHAPES:
        _shapes.clear()
    return _shapes.setdefault(msgspec.structs.astuple(shape), shape)


def changed_shape(shape: PlanShape, **parts: object) -> PlanShape:
    """``shape`` with other parts."""
    return _changed_shape(shape, tuple(parts.items()))


@lru_cache(maxsize=_MOST_SHAPES)
def _changed_shape(shape: PlanShape, parts: tuple[tuple[str, object], ...]) -> PlanShape:
    return shared(msgspec.structs.replace(shape, **dict(parts)))
