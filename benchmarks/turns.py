"""Which of several source trees is faster: ``python -m benchmarks.turns TREE TREE … [--rounds 7]``.

The trees take turns over one backlog, because a shared machine is not always equally fast. A tree is a checkout of
this project. Its program runs with the packages that are installed here. Settings may follow the tree, as in
``../before,CDC_KAFKA__FETCH_MAX_BYTES=4000000``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.envelopes import changes
from benchmarks.meter import CONSUMER, Rate
from benchmarks.system import CONFLUENT, KAFKA_PYTHON, PARTITIONS, Program, started, straightforward

_USERS = 20_000
_HEAD = f"{'':30}{'changes/s':>12}{'consumer µs':>13}{'consumer MB':>13}"


def main() -> int:
    """Print a line for each turn, then the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turns", description=__doc__)
    parser.add_argument("trees", nargs="+", metavar="TREE")
    parser.add_argument("--client", choices=(KAFKA_PYTHON, CONFLUENT), default=KAFKA_PYTHON)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--changes", type=int, default=150_000)
    parser.add_argument("--straightforward", action="store_true", help="the loop of json and redis-py takes turns too")
    options = parser.parse_args()
    programs = [program(each, options.client) for each in options.trees]
    programs += [straightforward()] * options.straightforward
    found: dict[str, list[Rate]] = {each.name: [] for each in programs}
    if len(found) < len(programs):
        parser.error("two trees have the same name and settings: rename a folder")
    print(_HEAD)
    with started() as system:
        prefix = system.backlog(changes(options.changes, _USERS, PARTITIONS))
        for turn in range(options.rounds):
            for each in programs if turn % 2 == 0 else programs[::-1]:
                rate = system.drained(each, prefix, _USERS * 3 // 2, options.changes)
                found[each.name].append(rate)
                print(line(each.name, [rate]), flush=True)
    print("\nmedians")
    for name, rates in found.items():
        print(line(name, rates))
    return 0


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
