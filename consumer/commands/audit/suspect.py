"""What differs between a user's row and Redis, and which of it was still the same when it was looked at again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from consumer.mapping.keys import UserId
from consumer.mapping.rules import UserTable
from consumer.planning.effect import Plan
from consumer.sink.drift import Standing, differences


class Shape(StrEnum):
    """What is wrong with a key or a field.

    LEFT is a key of a user whom the database does not have, TYPE a key that is of another type.
    """

    DIFFERS = "differs"
    ABSENT = "absent"
    LEFT = "left"
    TYPE = "type"


@dataclass(frozen=True, slots=True)
class Odd:
    """One thing that is not as the database says. ``field`` is "" where it is the key as a whole.

    ``is_there`` and ``should_be`` are the values in Redis and of the database, None for none.
    """

    shape: Shape
    key: str
    field: str = ""
    is_there: str | None = None
    should_be: str | None = None


@dataclass(frozen=True, slots=True)
class Suspect:
    """A user of whom something was odd each time they were looked at, first at ``since_ms``, UTC milliseconds."""

    user: UserId
    table: UserTable
    odds: frozenset[Odd]
    since_ms: int

    def seen_again(self, odds: frozenset[Odd]) -> Suspect:
        """The same after another look: only what is exactly as it was before is still odd."""
        return replace(self, odds=self.odds & odds)


def odds_of(plan: Plan, standing: Standing) -> frozenset[Odd]:
    """What is odd where ``plan`` is what the database says.

    A portfolio hash is its owner's: fields that it does not have were never promised. A balance string that is not
    there has expired, or will be asked for elsewhere.
    """
    return frozenset(_odds(plan, standing))


def _odds(plan: Plan, standing: Standing) -> Iterator[Odd]:
    portfolio = plan.update.key if plan.update is not None else ""
    for each in differences(plan, standing):
        if each.key in standing.others:
            yield Odd(Shape.TYPE, each.key)
        elif each.key in standing.present:
            yield Odd(Shape.LEFT, each.key)
        elif plan.config is not None and each.key == plan.config.key and standing.config is None:
            yield Odd(Shape.ABSENT, each.key)
        else:
            for field, is_there, should_be in each.fields:
                if is_there is None and each.key == portfolio:
                    continue
                shape = Shape.ABSENT if is_there is None else Shape.DIFFERS
                yield Odd(shape, each.key, field, is_there, should_be)
