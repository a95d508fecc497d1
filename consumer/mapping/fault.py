"""A fault of a mapping, and checks of names that several kinds of faults need. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from consumer.mapping.rules import Consequence, Rules

Path: TypeAlias = tuple[str | int, ...]


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


def empty(named: Iterable[tuple[Path, str]], what: str) -> Iterator[Fault]:
    """A fault for each name that is empty or has spaces at its ends. ``what``: what is allowed."""
    for path, name in named:
        if not name or name != name.strip():
            yield Fault(path, "empty, or with spaces at its ends", what)
