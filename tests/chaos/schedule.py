"""Which fault, when and for how long: drawn from a seed, and counted in steps of the workload, not in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Protocol

_PAUSE_S = (0.3, 3.0)
_CALM_S = 1.0


class Kind(Protocol):
    """What the schedule has to know of a fault."""

    subject: ClassVar[str]
    hold_s: ClassVar[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault of ``name`` from step ``at`` to step ``until``; ``seed`` is of its own choices."""

    name: str
    at: int
    until: int
    seed: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """The faults of one round in order, and its number of steps."""

    faults: tuple[Planned, ...]
    steps: int

    def moments(self) -> list[tuple[int, bool, Planned]]:
        """(step, whether it begins, fault), in order. An end goes before a beginning."""
        begins = [(each.at, True, each) for each in self.faults]
        ends = [(each.until, False, each) for each in self.faults]
        return sorted(begins + ends, key=lambda moment: moment[:2])


def draw(
    seed: str, kinds: Mapping[str, type[Kind]], per_second: float, *, seconds: float = 0.0, count: int = 0
) -> Schedule:
    """Faults until ``seconds`` are full, and so many as ``count`` says: each kind once, in some order, then again."""
    chance = Random(seed)  # noqa: S311  # chance, not secrets
    planned: list[Planned] = []
    free: dict[str, float] = {}
    bag: list[str] = []
    now = _CALM_S
    while kinds and (len(planned) < count or now < seconds):
        if not bag:
            bag = list(kinds)
            chance.shuffle(bag)
        name = bag.pop()
        kind = kinds[name]
        begin = max(now, free.get(kind.subject, 0.0))
        end = begin + chance.uniform(*kind.hold_s)
        free[kind.subject] = end + _PAUSE_S[0]
        at, until = int(begin * per_second), int(end * per_second) + 1
        planned.append(Planned(name, at, until, f"{seed}/{len(planned)}"))
        now = begin + chance.uniform(*_PAUSE_S)
    last = max((each.until for each in planned), default=int(seconds * per_second))
    return Schedule(tuple(planned), last + int(_CALM_S * per_second))
