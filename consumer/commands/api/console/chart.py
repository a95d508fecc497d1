"""A small chart of the last hour: the points of a line in a picture, and the same in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 300, 60
_STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Chart:
    """One line of values, one a minute, the oldest first. ``lines``: the points of each piece without a gap."""

    title: str
    unit: str
    top: int
    last: str
    highest: str
    lines: tuple[str, ...]

    @property
    def words(self) -> str:
        """What the picture shows, for those who don't see it."""
        if not self.lines:
            return f"{self.title}: nothing is known of the last hour"
        return f"{self.title} in the last hour: now {self.last}, at most {self.highest} {self.unit}"


def chart(title: str, unit: str, values: Sequence[float | None]) -> Chart:
    """``values``: None where nothing is known."""
    known = [each for each in values if each is not None]
    top = _round_up(max(known, default=0))
    pieces: list[list[str]] = [[]]
    for at, value in enumerate(values):
        if value is None:
            pieces.append([])
            continue
        x = WIDTH * at / max(1, len(values) - 1)
        pieces[-1].append(f"{x:.1f},{HEIGHT - HEIGHT * value / top:.1f}")
    lines = tuple(" ".join(piece if len(piece) > 1 else piece * 2) for piece in pieces if piece)
    return Chart(title, unit, top, f"{known[-1]:,.0f}" if known else "", f"{max(known, default=0):,.0f}", lines)


def _round_up(value: float) -> int:
    """1, 2 or 5 with zeros, at least ``value``: the top of the picture."""
    power = 1
    while True:
        for step in _STEPS:
            if value <= step * power:
                return step * power
        power *= 10
