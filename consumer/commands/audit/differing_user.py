"""The differences between a user's row and Redis, and which of them remain at the next check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.effect import Plan
from consumer.sink.comparison import SPELLING, StoredKeys, differences_from_database


class Shape(StrEnum):
    """The kind of a difference.

    LEFT: a key of a user who is not in the database. TYPE: a key of another type. SPELLING: the same value in another
    form; it is reported, but counts as right.
    """

    DIFFERS = "differs"
    SPELLING = "spelling"
    ABSENT = "absent"
    LEFT = "left"
    TYPE = "type"


@dataclass(frozen=True, slots=True)
class UserDifference:
    """One difference from the database. ``field``: "" for a whole key.

    ``is_there`` and ``should_be``: the values in Redis and in the database; None if there is none.
    """

    shape: Shape
    key: str
    field: str = ""
    is_there: str | None = None
    should_be: str | None = None


@dataclass(frozen=True, slots=True)
class DifferingUser:
    """A user with differences at every check so far. ``since_ms``: the first check, UTC milliseconds."""

    user: UserId
    table: UserTable
    differences: frozenset[UserDifference]
    since_ms: int

    def seen_again(self, differences: frozenset[UserDifference]) -> DifferingUser:
        """The user after another check: only differences that are exactly as before remain."""
        return replace(self, differences=self.differences & differences)


def user_differences(plan: Plan, stored: StoredKeys, table: UserTable, rules: Rules) -> frozenset[UserDifference]:
    """The differences between Redis and ``plan``, which has the database's values.

    A missing balance string is no difference: it has expired, or is read from the database when needed.
    """
    return frozenset(_differences(plan, stored, table, rules))


def _differences(plan: Plan, stored: StoredKeys, table: UserTable, rules: Rules) -> Iterator[UserDifference]:
    for each in differences_from_database(plan, stored, table, rules):
        if each.key in stored.others:
            yield UserDifference(Shape.TYPE, each.key)
        elif each.key in stored.present:
            yield UserDifference(Shape.LEFT, each.key)
        elif plan.config is not None and each.key == plan.config.key and stored.config is None:
            yield UserDifference(Shape.ABSENT, each.key)
        else:
            for field, is_there, should_be in each.fields:
                shape = Shape.ABSENT if is_there is None else Shape.DIFFERS
                yield UserDifference(
                    Shape.SPELLING if each.kind == SPELLING else shape, each.key, field, is_there, should_be
                )
