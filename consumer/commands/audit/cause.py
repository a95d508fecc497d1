"""Why a value in Redis differs from the database, if that can be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from consumer.commands.audit.differing_user import Shape, UserDifference
from consumer.pipeline.recovery import EMPTIED, REBUILD
from consumer.planning.effect import Fields


class Cause(StrEnum):
    """The cause of a difference. If several fit, the first one in this order counts for the user."""

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
    Cause.BEHIND: "the consumer has not reached the change yet",
    Cause.CONNECTOR_BEHIND: "the topics have neither this change nor a later one: the connector is behind or stopped",
    Cause.NOT_SENT: "the connector is past this change and sent no record of it",
    Cause.COLUMN_NOT_SENT: "the records do not have this column: a grant or the connector's column list lacks it",
    Cause.NEVER_SEEN: "no record of this user was ever applied",
    Cause.EVICTED: "Redis had it, and it is gone: evicted, expired or deleted",
    Cause.OVERWRITTEN: "another program wrote it after the stored version",
    Cause.NO_VERSION: "another program wrote it, or its stored version is gone",
    Cause.CAME_BACK: "the user was deleted, and another program wrote the keys again",
    Cause.FOREIGN: "the user is neither in the database nor in the version guard",
    Cause.WRONG_TYPE: "another program created a key of another type",
    Cause.UNKNOWN: "the record that was applied last is not in the topics any more",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one user's changes, besides the differences.

    ``has_version``: Redis has a version of the user's table. ``is_deleted``: that version is of the user's delete.
    ``image``: the row at that version, by field; None if its record can't be read. ``is_lost``: a change could not be
    applied. ``is_behind``: the user's partition has records that the group has not reached. ``is_emptied``: Redis has
    lost everything of the user's partition, and it is not rebuilt. ``connector_passed``: the topics contain log
    positions after the one at which the row was read. ``is_given_up``: the dead letter of a change that could not be
    applied was discarded.
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
    """The cause of ``difference``, which still exists after a wait for changes in progress.

    ``name``: the field of the row that differs; "" for a whole key.
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
    applied = known.image.get(name)
    if applied is None and difference.should_be is not None:
        return Cause.COLUMN_NOT_SENT
    return Cause.OVERWRITTEN if applied == difference.should_be else _change_not_applied(known)


def _without_version(difference: UserDifference, known: Evidence) -> Cause:
    if known.is_behind:
        return Cause.BEHIND
    if known.is_deleted:
        return _change_not_applied(known)
    if difference.shape is not Shape.ABSENT or difference.field:
        return Cause.NO_VERSION
    return Cause.GIVEN_UP if known.is_given_up else Cause.NEVER_SEEN


def _of_left(known: Evidence) -> Cause:
    if known.is_deleted:
        return Cause.CAME_BACK
    if not known.has_version:
        return Cause.FOREIGN
    return _change_not_applied(known)


def _change_not_applied(known: Evidence) -> Cause:
    """Why a change that the database has was not applied to Redis yet."""
    if known.is_behind:
        return Cause.BEHIND
    if known.is_given_up:
        return Cause.GIVEN_UP
    return Cause.NOT_SENT if known.connector_passed else Cause.CONNECTOR_BEHIND
