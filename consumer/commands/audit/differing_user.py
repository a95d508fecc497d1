"""What differs between a user's row and Redis, and which of it was still the same when it was looked at again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.effect import Plan
from consumer.sink.drift import SPELLING, StoredKeys, compared


class Shape(StrEnum):
    """What is wrong with a key or a field.

    LEFT is a key of a user whom the database does not have, TYPE a key that is of another type. SPELLING is the same
    value, written another way: it is told, and counts as right.
    """

    DIFFERS = "differs"
    SPELLING = "spelling"
    ABSENT = "absent"
    LEFT = "left"
    TYPE = "type"


@dataclass(frozen=True, slots=True)
class UserDifference:
    """One thing that is not as the database says. ``field`` is "" where it is the key as a whole.

    ``is_there`` and ``should_be`` are the values in Redis and of the database, None for none.
    """

    shape: Shape
    key: str
    field: str = ""
    is_there: str | None = None
    should_be: str | None = None


@dataclass(frozen=True, slots=True)
class DifferingUser:
    """A user of whom something was odd each time they were looked at, first at ``since_ms``, UTC milliseconds."""

    user: UserId
    table: UserTable
    differences: frozenset[UserDifference]
    since_ms: int

    def seen_again(self, differences: frozenset[UserDifference]) -> DifferingUser:
        """The same after another look: only what is exactly as it was before is still odd."""
        return replace(self, differences=self.differences & differences)


def user_differences(plan: Plan, stored: StoredKeys, table: UserTable, rules: Rules) -> frozenset[UserDifference]:
    """What is odd where ``plan`` is what the database says.

    A balance string that is not there has expired, or will be asked for elsewhere.
    """
    return frozenset(_differences(plan, stored, table, rules))


def _differences(plan: Plan, stored: StoredKeys, table: UserTable, rules: Rules) -> Iterator[UserDifference]:
    for each in compared(plan, stored, table, rules):
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
