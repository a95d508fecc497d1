"""The smallest input that still shows a finding: parts are left out, and texts shortened, as long as it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.fuzz.target import Plain, Target
from tests.fuzz.trial import tried

_MOST_TRIES = 3000
_MOST_SLOW_TRIES = 40


def smallest(target: Target, given: Plain, signature: str) -> Plain:
    """An input with the same signature, from which nothing can be left out, as far as a few thousand tries show."""
    left = _MOST_SLOW_TRIES if signature in ("slow", "memory") or "TooLong" in signature else _MOST_TRIES
    is_smaller = True
    while is_smaller and left > 0:
        is_smaller = False
        for each in _simpler(given):
            left -= 1
            if tried(target, each).signature == signature:
                given, is_smaller = each, True
                break
            if left <= 0:
                break
    return given


def _simpler(given: Plain) -> Iterator[Plain]:
    """Inputs with a little less, those with the least first."""
    if isinstance(given, dict):
        for name in given:
            yield {key: value for key, value in given.items() if key != name}
        for name, value in given.items():
            yield from ({**given, name: each} for each in _simpler(value))
    elif isinstance(given, list | tuple):
        yield from _simpler_list(given)
    elif isinstance(given, str | bytes):
        text: Any = given
        yield from (text[:begin] + text[end:] for begin, end in _cuts(len(text)))
    elif isinstance(given, int) and not isinstance(given, bool) and abs(given) > 1:
        yield 0
        yield given // 2


def _simpler_list(given: list[Any] | tuple[Any, ...]) -> Iterator[Plain]:
    kind: Any = type(given)
    for begin, end in _cuts(len(given)):
        yield kind([*given[:begin], *given[end:]])
    for at, value in enumerate(given):
        yield from (kind([*given[:at], each, *given[at + 1 :]]) for each in _simpler(value))


def _cuts(size: int) -> Iterator[tuple[int, int]]:
    """Where to cut: all, halves, quarters, and at last single elements."""
    length = size
    while length:
        for begin in range(0, size, length):
            yield begin, begin + length
        length //= 2
