"""``make soak``: millions of changes under faults, round after round, with a report that a later run goes on with.

Each round ends in calm and with the verdict of ``make faults``. The report has one line of JSON for each round: what
happened, what was counted, what was wrong, how much memory the consumers and Redis had, and how many keys.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from consumer import __version__
from tests.chaos.kinds import kinds_for
from tests.chaos.play import play
from tests.chaos.repeats import repeats
from tests.chaos.scene import Scene
from tests.chaos.schedule import draw
from tests.chaos.script import WEIGHTS
from tests.chaos.soak_report import Report, Round, Run, UnreadableReport, problems_of_growth
from tests.chaos.stage import CLIENTS, add_replica, staged, start_or_exit
from tests.support.stack.roster import REDIS

_ROUND_S = 60.0
_CHECK_EVERY = 100
# Ten times the users of ``make faults``: one statement that changes them all makes hundreds of records.
_SIZE = 10
# A killed Connect sends again what it has sent since then: changes of 20 s are tens of thousands.
_FLUSH_INTERVAL_MS = 20_000
# The servers of tests live for minutes, and Java compiles little for them (TieredStopAtLevel=1). In a long run Java
# compiles everything that is used often, which pays there.
_JAVA_OPTIONS = "-XX:TieredStopAtLevel=4"
# Most changes come from statements that change every user; those of money keep the balance strings, which live an hour.
_WEIGHTS = {**WEIGHTS, "burst": 60, "burst of money": 20}


def main() -> int:
    """Answers the exit code: 1 if something was wrong, 2 for wrong usage or a missing tool."""
    options = _options()
    run = Run(options.redis, options.workers, options.client, options.streams, options.rate, options.seed, __version__)
    report = Report(options.report)
    try:
        before = report.rounds(run)
    except UnreadableReport as error:
        print(error, file=sys.stderr)
        return 2
    number, done = len(before), sum(each.changes for each in before)
    print(f"seed {options.seed}; {done:,} of {options.changes:,} changes are in {options.report}", flush=True)
    os.environ["_JAVA_OPTIONS"] = _JAVA_OPTIONS
    stack = start_or_exit("mysql", options.redis, _FLUSH_INTERVAL_MS)
    with (
        stack,
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        staged(
            stack,
            f"{options.seed}/{number}",
            Path(folder),
            per_second=options.rate,
            settings=_settings(options, Path(folder)),
            servers=add_replica(stack),
            arguments=("--workers", str(options.workers)),
            weights=_WEIGHTS,
            check_every=_CHECK_EVERY,
            size=_SIZE,
        ) as scene,
    ):
        for each in _rounds(scene, run, number):
            report.add(run, each)
            done += each.changes
            print(f"round {each.number}: {done:,} changes, {each.seconds:.0f} s, {_verdict(each)}", flush=True)
            if each.problems:
                print("\n".join([*(f"wrong: {problem}" for problem in each.problems), scene.fleet.logs()]))
                return 1
            if done >= options.changes:
                break
        print(f"{repeats(stack, scene.topics):,} duplicates lie in Kafka")
    growth = problems_of_growth(report.rounds(run)[number:])
    print("\n".join([report.summary(), *(f"wrong: {problem}" for problem in growth)]))
    return int(bool(growth))


def _rounds(scene: Scene, run: Run, number: int) -> Iterator[Round]:
    """Rounds without end; one that ends with problems is the last."""
    problems: list[str] = []
    while not problems:
        began, changes, messages = time.monotonic(), scene.workload.changes, scene.messages
        repeated = scene.repeated
        lost, looks = scene.lost_to_faults, scene.watch.looks
        schedule = draw(f"{run.seed}/{number}", kinds_for("mysql", run.redis), run.rate, seconds=_ROUND_S)
        problems = play(scene, schedule, lambda _: None)
        yield Round(
            number=number,
            seconds=round(time.monotonic() - began, 1),
            changes=scene.workload.changes - changes,
            messages=scene.messages - messages,
            lost_to_faults=scene.lost_to_faults - lost,
            faults=dict(sorted(Counter(each.name for each in schedule.faults).items())),
            problems=problems,
            repeated=scene.repeated - repeated,
            looks=scene.watch.looks - looks,
            users=len(scene.script.known),
            keys=_keys(scene),
            redis_mb=_redis_mb(scene),
            consumer_mb=max((_resident_mb(member.pid) for member in scene.fleet.members), default=0),
            log_kb=sum(file.stat().st_size for file in scene.fleet.files()) // 1024,
        )
        number += 1


def _settings(options: argparse.Namespace, folder: Path) -> Mapping[str, str]:
    # One user of twenty is a large share of the records, and a key of another type refuses all of them.
    settings = {
        "CDC_KAFKA__CLIENT": options.client,
        "CDC_DEAD_LETTERS__SHARE": "1",
        "CDC_DEAD_LETTERS__IN_A_ROW": "10000",
    }
    if options.streams:
        mapping = folder / "mapping.toml"
        mapping.write_text('extends = "reference"\n[streams]\n')
        settings["CDC_MAPPING"] = str(mapping)
    return settings


def _keys(scene: Scene) -> dict[str, int]:
    """The number of keys by what they begin with."""
    with scene.redis() as client:
        return dict(sorted(Counter(key.partition("{")[0].partition(":")[0] for key in client.keys("*")).items()))


def _redis_mb(scene: Scene) -> int:
    """Of all nodes together."""
    used = 0
    for node in scene.gates.nodes:
        with node.connect() as client:
            used += int(client.info("memory")["used_memory"])
    return used // 2**20


def _resident_mb(pid: int) -> int:
    """Of the largest of a member's processes."""
    try:
        first = psutil.Process(pid)
        return max(each.memory_info().rss for each in (first, *first.children(recursive=True))) // 2**20
    except psutil.NoSuchProcess:
        return 0


def _verdict(each: Round) -> str:
    return f"{len(each.problems)} problems" if each.problems else f"{each.messages:,} messages, nothing wrong"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--changes", type=int, default=10_000_000, help="of users, with those that the report has")
    parser.add_argument("--report", type=Path, default=Path("soak.jsonl"), help="a run with the same options goes on")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--redis", choices=REDIS, default=REDIS[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--client", choices=CLIENTS, default=CLIENTS[0])
    parser.add_argument("--streams", action="store_true", help="with [streams] in the mapping")
    parser.add_argument("--rate", type=float, default=30.0, help="database transactions a second")
    options = parser.parse_args()
    if options.workers < 1 or options.changes < 1 or options.rate <= 0:
        parser.error("--workers, --changes and --rate: more than 0")
    return options


if __name__ == "__main__":
    sys.exit(main())
