"""Which of several source trees is faster: ``python -m benchmarks.turns TREE TREE … [--rounds 7]``.

The trees take turns over one backlog, because a shared machine is not always equally fast. A tree is a checkout of
this project. Its program runs with the packages that are installed here. Settings may follow the tree, as in
``../before,CDC_KAFKA__FETCH_MAX_BYTES=4000000``.

With ``--stages`` each tree measures its stages instead, with its own ``benchmarks.stages``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

from benchmarks.envelopes import changes
from benchmarks.meter import CONSUMER, Rate
from benchmarks.system import CONFLUENT, KAFKA_PYTHON, PARTITIONS, Program, started, straightforward

_T = TypeVar("_T")
_USERS = 20_000
_HEAD = f"{'':30}{'changes/s':>12}{'consumer µs':>13}{'consumer MB':>13}"


def main() -> int:
    """Print a line for each turn, then the medians; of stages a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turns", description=__doc__)
    parser.add_argument("trees", nargs="+", metavar="TREE")
    parser.add_argument("--client", choices=(KAFKA_PYTHON, CONFLUENT), default=KAFKA_PYTHON)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--changes", type=int, default=150_000)
    parser.add_argument("--straightforward", action="store_true", help="the loop of json and redis-py takes turns too")
    parser.add_argument("--stages", action="store_true", help="the stages of a change, in µs, instead of programs")
    options = parser.parse_args()
    if options.stages:
        print_stages([Path(each) for each in options.trees], options.rounds)
        return 0
    programs = [program(each, options.client) for each in options.trees]
    programs += [straightforward()] * options.straightforward
    found: dict[str, list[Rate]] = {each.name: [] for each in programs}
    if len(found) < len(programs):
        parser.error("two trees have the same name and settings: rename a folder")
    print(_HEAD)
    with started() as system:
        prefix = system.backlog(changes(options.changes, _USERS, PARTITIONS))
        for each in by_turns(programs, options.rounds):
            rate = system.drained(each, prefix, _USERS * 3 // 2, options.changes)
            found[each.name].append(rate)
            print(line(each.name, [rate]), flush=True)
    print("\nmedians")
    for name, rates in found.items():
        print(line(name, rates))
    return 0


def by_turns(each: Sequence[_T], rounds: int) -> Iterator[_T]:
    """Each in every round, in the other order in every second one."""
    for turn in range(rounds):
        yield from each if turn % 2 == 0 else reversed(each)


def print_stages(trees: Sequence[Path], rounds: int) -> None:
    """The lowest time of each stage in all rounds. A stage that a tree does not have is left open."""
    found: dict[Path, dict[str, float]] = {each: {} for each in trees}
    for tree in by_turns(trees, rounds):
        best = found[tree]
        for name, us in stages(tree).items():
            best[name] = min(us, best.get(name, us))
    print(f"{'µs a change':46}" + "".join(f"{tree.resolve().name:>14}" for tree in trees))
    for name in dict.fromkeys(name for tree in trees for name in found[tree]):
        cells = (f"{found[tree][name]:.1f}" if name in found[tree] else "" for tree in trees)
        print(f"{name:46}" + "".join(f"{each:>14}" for each in cells))


def stages(tree: Path) -> dict[str, float]:
    """Microseconds of each stage, measured by the tree's own benchmark.

    Raises:
        CalledProcessError: the tree could not measure them.
    """
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "benchmarks", "--only", "stages", "--to", folder]
        environment = os.environ | {"PYTHONPATH": str(tree.resolve())}
        subprocess.run(command, check=True, cwd=folder, env=environment, capture_output=True)
        (results,) = Path(folder).glob("*.json")
        return {each["name"]: each["us"] for each in json.loads(results.read_text())["stages"]}


def program(described: str, client: str) -> Program:
    """``cdc-consumer run`` of a source tree. ``described``: its folder, then settings, separated by commas."""
    tree, *settings = described.split(",")
    environment = dict(each.split("=", 1) for each in settings)
    command = [sys.executable, "-P", "-m", "consumer", "run"]
    where = {"CDC_KAFKA__CLIENT": client, "PYTHONPATH": str(Path(tree).resolve())}
    return Program(" ".join([Path(tree).resolve().name, *settings]), command, where | environment)


def line(name: str, rates: Sequence[Rate]) -> str:
    """The medians of ``rates`` in one line."""
    per_s = median(each.per_s for each in rates)
    cpu_us = median(each.cpu_us[CONSUMER] for each in rates)
    resident = median(each.resident[CONSUMER] for each in rates)
    return f"{name:30}{per_s:12,.0f}{cpu_us:13.1f}{resident / 1e6:13.0f}"


if __name__ == "__main__":
    sys.exit(main())
