"""Why something in Redis is not as the database says, as far as that can be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from consumer.commands.audit.differing_user import Shape, UserDifference
from consumer.pipeline.recovery import EMPTIED, REBUILD
from consumer.planning.effect import Fields


class Cause(StrEnum):
    """Of several that fit, the one that comes first here counts for the user."""

    REDIS_EMPTIED = "redis_emptied"
    DEAD_LETTER = "dead_letter"
    GIVEN_UP = "given_up"
    BEHIND = "behind"
    CONNECTOR_BEHIND = "connector_behind"
    NOT_SENT = "not_sent"
    COLUMN_NOT_SENT = "column_not_sent"
    NEVER_SEEN = "never_seen"
    EVICTED = "evicted"
    OVERWRITTEN = "overwritten"
    NO_VERSION = "no_version"
    CAME_BACK = "came_back"
    FOREIGN = "foreign"
    WRONG_TYPE = "wrong_type"
    UNKNOWN = "unknown"


WHY: Mapping[Cause, str] = {
    Cause.REDIS_EMPTIED: f"{EMPTIED}, and is not rebuilt yet: {REBUILD}",
    Cause.DEAD_LETTER: "a change of this user could not be applied",
    Cause.GIVEN_UP: "a change of this user could not be applied, and its dead letter was discarded",
    Cause.BEHIND: "the consumer has not come so far",
    Cause.CONNECTOR_BEHIND: "the topics do not tell of it, nor of anything later: the connector is behind or stopped",
    Cause.NOT_SENT: "the connector is beyond it and sent no record of it",
    Cause.COLUMN_NOT_SENT: "the records do not have this column: a grant or the connector's column list lacks it",
    Cause.NEVER_SEEN: "no record of this user was ever applied",
    Cause.EVICTED: "Redis had it, and it is gone: evicted, expired or removed",
    Cause.OVERWRITTEN: "written by somebody else after the version that stands",
    Cause.NO_VERSION: "written by somebody else, or the version that stood beside it is gone",
    Cause.CAME_BACK: "the user was deleted, and somebody else wrote it again",
    Cause.FOREIGN: "neither the database nor the version guard knows this user",
    Cause.WRONG_TYPE: "somebody else made a key of another type",
    Cause.UNKNOWN: "what was applied last is not in the topics any more",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one user's changes beside what differs.

    ``has_version``: a version of the user's table stands, and ``is_deleted`` if it is that of the user's end.
    ``image``: what the row was at that version, by field; None where its record can't be had. ``is_lost``: a change
    could not be applied. ``is_behind``: the user's partition has records that the group has not come to.
    ``is_emptied``: Redis has lost everything of the user's partition, and nobody has rebuilt it.
    ``connector_passed``: the topics tell of places in the log behind the one at which the row was read.
    ``is_given_up``: the dead letter of a change that could not be applied was discarded.
    """

    has_version: bool
    is_deleted: bool
    image: Fields | None
    is_lost: bool
    is_behind: bool
    connector_passed: bool
    is_emptied: bool = False
    is_given_up: bool = False


def cause_of(difference: UserDifference, name: str, known: Evidence) -> Cause:
    """The cause of ``odd``, which is still there although what was under way had its time.

    ``name`` is the field of the row that it is about, "" for a key as a whole.
    """
    if difference.shape is Shape.TYPE:
        return Cause.WRONG_TYPE
    if known.is_emptied or known.is_lost:
        return Cause.REDIS_EMPTIED if known.is_emptied else Cause.DEAD_LETTER
    if difference.shape is Shape.LEFT:
        return _of_left(known)
    if not known.has_version or known.is_deleted:
        return _without_version(difference, known)
    if difference.shape is Shape.ABSENT and not difference.field:
        return Cause.EVICTED
    if known.image is None:
        return Cause.BEHIND if known.is_behind else Cause.UNKNOWN
    told = known.image.get(name)
    if told is None and difference.should_be is not None:
        return Cause.COLUMN_NOT_SENT
    return Cause.OVERWRITTEN if told == difference.should_be else _of_the_log(known)


def _without_version(difference: UserDifference, known: Evidence) -> Cause:
    if known.is_behind:
        return Cause.BEHIND
    if known.is_deleted:
        return _of_the_log(known)
    if difference.shape is not Shape.ABSENT or difference.field:
        return Cause.NO_VERSION
    return Cause.GIVEN_UP if known.is_given_up else Cause.NEVER_SEEN


def _of_left(known: Evidence) -> Cause:
    if known.is_deleted:
        return Cause.CAME_BACK
    if not known.has_version:
        return Cause.FOREIGN
    return _of_the_log(known)


def _of_the_log(known: Evidence) -> Cause:
    """Of a change that the database has and Redis was not told of yet."""
    if known.is_behind:
        return Cause.BEHIND
    if known.is_given_up:
        return Cause.GIVEN_UP
    return Cause.NOT_SENT if known.connector_passed else Cause.CONNECTOR_BEHIND
