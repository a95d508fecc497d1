"""A fault of a mapping, and checks of names that several kinds of faults need. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from consumer.mapping.rules import Consequence, Rules

Path: TypeAlias = tuple[str | int, ...]
_SET = re.compile(r"\[!?\]?[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault at ``path``, such as ``("tables", 1, "columns", 0, "kind")``."""

    path: Path
    problem: str
    allowed: str = ""
    fix: str = ""


def rules_with_paths(rules: Rules) -> Iterator[tuple[Path, Consequence]]:
    """Every rule of the mapping, with its path."""
    for index, each in enumerate(rules.consequences):
        yield ("consequences", index), each
    yield ("profile",), rules.profile
    yield ("outside",), rules.outside


def repeated(named: Iterable[tuple[Path, str]], problem: str, allowed: str = "") -> Iterator[Fault]:
    """A fault where a name occurs for the second time. ``problem``: its text, with {} for the name."""
    counts: Counter[str] = Counter()
    for path, name in named:
        counts[name] += 1
        if counts[name] == 2:
            yield Fault(path, problem.format(name), allowed)


def overlap(one: str, other: str) -> bool:
    """Whether a name may match both patterns, which are those of ``fnmatch``; a set of characters counts as any one."""

    @cache
    def meet(left: str, right: str) -> bool:
        if left[:1] == "*":
            return meet(left[1:], right) or (right != "" and meet(left, right[1:]))
        if right[:1] == "*":
            return meet(right, left)
        if not left or not right:
            return left == right
        return (left[0] == right[0] or "?" in (left[0], right[0])) and meet(left[1:], right[1:])

    return meet(_SET.sub("?", one), _SET.sub("?", other))


def empty(named: Iterable[tuple[Path, str]], what: str) -> Iterator[Fault]:
    """A fault for each name that is empty or has spaces at its ends. ``what``: what is allowed."""
    for path, name in named:
        if not name or name != name.strip():
            yield Fault(path, "empty, or with spaces at its ends", what)
