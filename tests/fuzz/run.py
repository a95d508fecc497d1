"""Runs a target for a time or for a number of inputs, and says what it found."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

import psutil

from consumer import __version__
from tests.fuzz.smaller import smallest
from tests.fuzz.target import Plain, Target
from tests.fuzz.trial import Result, tried

MOST_FINDINGS = 20
"""After so many different findings a run ends: most of the others would be the same."""


@dataclass(slots=True)
class Finding:
    """Inputs with one signature. ``input``: the smallest of them, as Python writes it. ``number``: of the first one."""

    signature: str
    number: int
    input: str
    told: str
    count: int = 1


@dataclass(slots=True)
class Report:
    """One run of one target. ``slowest_s``: processor time of one input. ``grew_kb``: resident memory, from the first
    thousand inputs to the end.
    """

    target: str
    seed: int
    inputs: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest_s: float = 0.0
    grew_kb: int = 0

    def add(self, other: Report) -> None:
        """Add a run that went on where this one stopped."""
        self.inputs += other.inputs
        self.seconds += other.seconds
        self.outcomes += other.outcomes
        self.findings += other.findings
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.grew_kb = max(self.grew_kb, other.grew_kb)

    def line(self) -> dict[str, Any]:
        """The run as one JSON object."""
        found = asdict(self) | {"outcomes": dict(self.outcomes.most_common()), "distinct": len(self.outcomes)}
        return found | {"seconds": round(self.seconds, 1), "slowest_s": round(self.slowest_s, 3), **_program()}


def input_of(target: Target, seed: int, number: int) -> Plain:
    """An input depends on these three alone."""
    return target.make(Random(f"{target.name}/{seed}/{number}"))  # noqa: S311  # damage, not secrets


def run(
    make: Callable[[], Target], seed: int, *, seconds: float | None = None, inputs: int | None = None, first: int = 0
) -> Report:
    """Try inputs until the time is up or their number is reached. ``first``: the number of the first one."""
    with closing(make()) as target:
        report, began, memory = Report(target.name, seed), time.monotonic(), 0
        while (seconds is None or time.monotonic() - began < seconds) and report.inputs != inputs:
            number = first + report.inputs
            given = input_of(target, seed, number)
            result = tried(target, given)
            report.inputs += 1
            report.outcomes[result.outcome] += 1
            report.slowest_s = max(report.slowest_s, result.took_s)
            if result.signature:
                _add(report, target, number, given, result)
            if len(report.findings) >= MOST_FINDINGS:
                break
            if report.inputs == 1000:
                memory = _memory_kb()
        report.seconds = time.monotonic() - began
        report.grew_kb = _memory_kb() - memory if memory else 0
        return report


def _add(report: Report, target: Target, number: int, given: Plain, result: Result) -> None:
    for each in report.findings:
        if each.signature == result.signature:
            each.count += 1
            return
    least = smallest(target, given, result.signature)
    told = tried(target, least).told or result.told
    report.findings.append(Finding(result.signature, number, repr(least), told))


def _memory_kb() -> int:
    return int(psutil.Process().memory_info().rss) // 1024


def _program() -> dict[str, str]:
    """The version of the program, and the commit with a plus if files were changed since."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {"version": __version__, "commit": ""}
    return {"version": __version__, "commit": commit + ("+" if changed else "")}
