"""A line plot and a bar plot as SVG, for a page of results: small enough not to need a library. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 700, 20, 340
_BAR, _NAMES, _VALUES = 26, 250, 110
_FONT = 'font-family="sans-serif" font-size="12"'
_COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#8d5a97", "#c77d0a", "#555555")


@dataclass(frozen=True)
class Axis:
    """Its title, and how values lie along it."""

    title: str
    is_log: bool = False
    begins_at_0: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, in a unit of its own; what is not positive lies at a thousandth on a log axis."""
        return math.log10(max(value, 1e-3)) if self.is_log else value

    def ticks(self, lowest: float, highest: float) -> list[float]:
        """Round values between the two."""
        if self.is_log:
            powers = range(math.floor(self.place(lowest)), math.ceil(self.place(highest)) + 1)
            return [10.0**power for power in powers]
        rough = (highest - lowest) / 5 or 1.0
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
        return [step * number for number in range(math.floor(lowest / step), math.ceil(highest / step) + 1)]


@dataclass(frozen=True)
class Series:
    """Points of one line, in order."""

    name: str
    points: Sequence[tuple[float, float]]


def plot(series: Sequence[Series], x: Axis, y: Axis) -> str:
    """All series in one picture."""
    across = _scale(x, [at for each in series for at, _ in each.points], _LEFT, _RIGHT)
    up = _scale(y, [at for each in series for _, at in each.points], _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for value in across.ticks:
        place = across(value)
        parts.append(_line(place, _TOP, place, _BOTTOM) + _text(place, _BOTTOM + 18, f"{value:,g}", "middle"))
    for value in up.ticks:
        place = up(value)
        parts.append(_line(_LEFT, place, _RIGHT, place) + _text(_LEFT - 6, place + 4, f"{value:,g}", "end"))
    parts.append(_text((_LEFT + _RIGHT) / 2, _BOTTOM + 40, x.title, "middle") + _text(4, _TOP - 6, y.title, "start"))
    for number, each in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{across(at):.1f},{up(high):.1f}" for at, high in each.points)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(_LEFT + 12, _TOP + 16 + 16 * number, each.name, "start", colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def bars(values: Sequence[tuple[str, float]], unit: str) -> str:
    """One bar for each named value, with the value behind it."""
    height, most = _TOP + _BAR * len(values), max(value for _, value in values)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (name, value) in enumerate(values):
        top, width = _TOP / 2 + _BAR * number, (_RIGHT - _NAMES - _VALUES) * value / most
        parts.append(f'<rect x="{_NAMES}" y="{top}" width="{width:.1f}" height="{_BAR - 8}" fill="{_COLOURS[0]}"/>')
        parts.append(_text(_NAMES - 8, top + 13, name, "end"))
        parts.append(_text(_NAMES + width + 6, top + 13, f"{value:,.0f} {unit}", "start"))
    return "\n".join([*parts, "</svg>"]) + "\n"


@dataclass(frozen=True)
class _Scale:
    axis: Axis
    ticks: Sequence[float]
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        lowest, highest = self.axis.place(self.ticks[0]), self.axis.place(self.ticks[-1])
        share = (self.axis.place(value) - lowest) / ((highest - lowest) or 1.0)
        return self.begin + share * (self.end - self.begin)


def _scale(axis: Axis, values: Sequence[float], begin: float, end: float) -> _Scale:
    lowest = 0.0 if axis.begins_at_0 else min(values)
    return _Scale(axis, axis.ticks(lowest, max(values)), begin, end)


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="#dddddd"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
