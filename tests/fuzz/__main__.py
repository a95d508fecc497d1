"""``make fuzz``: try damaged inputs of every kind until the time is up; exit code 1 if a rule was broken.

An input depends on the target, the seed and its number alone: ``--only TARGET --seed S --number N`` tries one again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

from tests.fuzz.apart import run_apart
from tests.fuzz.run import Report, input_of
from tests.fuzz.targets import TARGETS
from tests.fuzz.trial import tried


def main(arguments: Sequence[str] | None = None) -> int:
    """Answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--only", type=_names, default=list(TARGETS), help=f"targets, of {','.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="of all targets together (default 60)")
    parser.add_argument("--each", action="store_true", help="every target has all the seconds for itself")
    parser.add_argument("--inputs", type=int, help="end a target after so many inputs instead")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**9))
    parser.add_argument("--number", type=int, help="try this input of one target again")
    parser.add_argument("--report", type=Path, help="append one JSON line for each target to this file")
    options = parser.parse_args(arguments)
    if options.number is not None:
        return _again(options.only[0], options.seed, options.number)
    print(f"seed {options.seed}", flush=True)
    seconds = options.seconds if options.each else options.seconds / len(options.only)
    has_findings = False
    for name in options.only:
        report = run_apart(
            TARGETS[name], options.seed, seconds=None if options.inputs else seconds, inputs=options.inputs
        )
        _say(report)
        has_findings = has_findings or bool(report.findings)
        if options.report is not None:
            with options.report.open("a", encoding="utf-8") as file:
                file.write(json.dumps(report.line(), ensure_ascii=False) + "\n")
    return int(has_findings)


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [each for each in names if each not in TARGETS]:
        raise argparse.ArgumentTypeError(f"no such target: {unknown[0]!r}; allowed: {', '.join(TARGETS)}")
    return names


def _again(name: str, seed: int, number: int) -> int:
    target = TARGETS[name]()
    given = input_of(target, seed, number)
    print(repr(given))
    result = tried(target, given)
    print(f"{result.outcome}, {result.took_s:.3f} s\n{result.told}")
    target.close()
    return int(bool(result.signature))


def _say(report: Report) -> None:
    outcomes = ", ".join(f"{count} {name}" for name, count in report.outcomes.most_common(12))
    print(f"{report.target}: {report.inputs} inputs in {report.seconds:.0f} s: {outcomes}", flush=True)
    for each in report.findings:
        print(f"\n{each.signature}, {each.count} times, first --number {each.number}\n{each.told}")
        print(f"    assert_well({report.target!r}, {each.input})\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
