"""A random sample of a table's keys: every user has the same probability."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

_KEYS_PER_DRAW = 500
_PLACES_PER_DRAW = 50
# If fewer than this share of the drawn keys have a row, random keys would hit almost no rows.
_SPARSE = 0.05
_DRAWS = 20


class RandomSource(Protocol):
    """A generator of random numbers."""

    def randrange(self, below: int, /) -> int:
        """A number from 0 up to ``below``."""
        ...


class Sample:
    """Chooses ``wanted`` of the keys from 1 to ``last`` that have a row, each once.

    Keys are drawn at random, and those with a row are taken: each row has the same probability. In a table with few
    rows and many keys that finds almost nothing. There, the next row after a random place is taken, so a row after a
    large gap is more likely than others.
    """

    def __init__(self, last: int, wanted: int, chance: RandomSource) -> None:
        self._last = last
        self._wanted = wanted
        self._chance = chance
        self._draws = 0
        self._drawn: set[int] = set()
        self._taken: set[int] = set()
        self._used: list[tuple[int, int]] = []
        """The places that were used, each with the key of the next row: between the two there is no row."""

    def draw(self) -> list[int]:
        """Keys that may have a row; empty if enough were found, or if the table is too sparse."""
        is_sparse = self._draws >= _DRAWS and len(self._taken) < _SPARSE * len(self._drawn)
        if self._left <= 0 or is_sparse or len(self._drawn) >= self._last:
            return []
        self._draws += 1
        numbers = self._random_numbers(min(_KEYS_PER_DRAW, self._last), self._last)
        fresh = [number + 1 for number in numbers if number + 1 not in self._drawn]
        if not fresh:  # nearly all keys were drawn
            fresh = [key for key in range(1, self._last + 1) if key not in self._drawn][:_KEYS_PER_DRAW]
        self._drawn.update(fresh)
        return fresh

    def take(self, keys: Sequence[int], existing: Collection[int]) -> list[int]:
        """Take those of ``keys`` that have a row, which are ``existing``, up to the wanted number."""
        taken = [key for key in keys if key in existing][: self._left]
        self._taken.update(taken)
        return taken

    def draw_places(self) -> list[int]:
        """Places whose next row may be taken; empty if enough were found, or if no place is left."""
        if self._left <= 0:
            return []
        free = list(_between(self._last, self._used))
        count = sum(end - start for start, end in free)
        return [_at(place, free) for place in self._random_numbers(min(_PLACES_PER_DRAW, self._left, count), count)]

    def take_behind(self, place: int, key: int | None) -> bool:
        """Take the next row after ``place``, which has this ``key`` (None: there is none); whether it was taken."""
        self._used.append((place, self._last if key is None else key))
        if key is None or key in self._taken or self._left <= 0:
            return False
        self._taken.add(key)
        return True

    def _random_numbers(self, count: int, below: int) -> list[int]:
        """At most ``count`` different random numbers from 0 up to, but without, ``below``."""
        return list(dict.fromkeys(self._chance.randrange(below) for _ in range(count)))

    @property
    def _left(self) -> int:
        return self._wanted - len(self._taken)


def _at(place: int, free: Sequence[tuple[int, int]]) -> int:
    """The number at index ``place`` in the ranges ``free``."""
    for start, end in free:
        if place < end - start:
            return start + place
        place -= end - start
    raise IndexError(place)


def _between(last: int, used: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The ranges of numbers from 0 up to ``last`` that are not in ``used``."""
    reached = 0
    for start, end in (*sorted(used), (last, last)):
        if start > reached:
            yield reached, start
        reached = max(reached, end)
