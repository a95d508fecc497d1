"""A sample of a table's keys by chance: every user is as likely as every other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

_AT_ONCE = 500
_STARTS = 50
# Where a smaller share of the keys has a row, drawing keys would find nearly nobody.
_SPARSE = 0.05
_DRAWS = 20


class RandomSource(Protocol):
    """Where random numbers come from."""

    def randrange(self, below: int, /) -> int:
        """A number from 0 up to ``below``."""
        ...


class Sample:
    """Takes ``wanted`` of the keys from 1 to ``last`` that have a row, none twice.

    Keys are drawn, and those that have a row are taken: each row is as likely as every other. In a table of few rows
    among many keys that finds nobody. There the row behind a drawn place is taken, so that a row behind a large gap is
    more likely than one that has a neighbour.
    """

    def __init__(self, last: int, wanted: int, chance: RandomSource) -> None:
        self._last = last
        self._wanted = wanted
        self._chance = chance
        self._draws = 0
        self._drawn: set[int] = set()
        self._taken: set[int] = set()
        self._used: list[tuple[int, int]] = []
        """Places and the key behind each: between them is no row."""

    def draw(self) -> list[int]:
        """Keys that may have a row; none where enough were found, or drawing keys does not pay."""
        is_sparse = self._draws >= _DRAWS and len(self._taken) < _SPARSE * len(self._drawn)
        if self._left <= 0 or is_sparse or len(self._drawn) >= self._last:
            return []
        self._draws += 1
        fresh = [key + 1 for key in self._some(min(_AT_ONCE, self._last), self._last) if key + 1 not in self._drawn]
        if not fresh:  # nearly all were drawn
            fresh = [key for key in range(1, self._last + 1) if key not in self._drawn][:_AT_ONCE]
        self._drawn.update(fresh)
        return fresh

    def take(self, keys: Sequence[int], existing: Collection[int]) -> list[int]:
        """Those of the drawn ``keys`` that are taken; ``existing`` are the ones that have a row."""
        taken = [key for key in keys if key in existing][: self._left]
        self._taken.update(taken)
        return taken

    def draw_places(self) -> list[int]:
        """Places, of each of which the row behind it may be taken; none where enough were found, or all."""
        if self._left <= 0:
            return []
        free = list(_between(self._last, self._used))
        room = sum(end - start for start, end in free)
        return [_at(place, free) for place in self._some(min(_STARTS, self._left, room), room)]

    def take_behind(self, place: int, key: int | None) -> bool:
        """Whether the row behind ``place`` is taken, which has this ``key``; None: there is none."""
        self._used.append((place, self._last if key is None else key))
        if key is None or key in self._taken or self._left <= 0:
            return False
        self._taken.add(key)
        return True

    def _some(self, count: int, below: int) -> list[int]:
        """At most ``count`` numbers from 0 up to ``below``, each once."""
        return list(dict.fromkeys(self._chance.randrange(below) for _ in range(count)))

    @property
    def _left(self) -> int:
        return self._wanted - len(self._taken)


def _at(place: int, free: Sequence[tuple[int, int]]) -> int:
    """The number that is at ``place`` among those in the ranges ``free``."""
    for start, end in free:
        if place < end - start:
            return start + place
        place -= end - start
    raise IndexError(place)


def _between(last: int, used: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The ranges of numbers from 0 up to ``last`` that ``used`` leaves."""
    reached = 0
    for start, end in (*sorted(used), (last, last)):
        if start > reached:
            yield reached, start
        reached = max(reached, end)
