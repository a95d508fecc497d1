"""``make faults``: a live system under a random schedule of faults, round after round, until the time is up.

Each round ends in calm and with a verdict: Redis equals the database, every message was heard once and in order. The
same seed gives the same changes and the same faults at the same steps.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos.kinds import FAULTS, FailOver, kinds_for
from tests.chaos.play import play
from tests.chaos.repeats import repeats
from tests.chaos.scene import Scene
from tests.chaos.schedule import draw
from tests.chaos.stage import CLIENTS, PER_SECOND, add_replica, staged, start_or_exit
from tests.support.stack.roster import DATABASES, REDIS

_ROUND_S = 30.0
_LONGEST_MIN = 55  # a balance string lives for an hour


def main() -> int:
    """Answers the exit code: 1 if something was wrong, 2 for wrong usage or a missing tool."""
    options = _options()
    names = options.only or list(kinds_for(options.database, options.redis))
    repeat = f"python -m tests.chaos --seed {options.seed} --minutes {options.minutes:g} --database {options.database}"
    repeat += f" --redis {options.redis} --workers {options.workers}"
    repeat += f" --client {options.client}" if options.client != CLIENTS[0] else ""
    repeat += f" --rate {options.rate:g}" if options.rate != PER_SECOND else ""
    repeat += f" --only {','.join(options.only)}" if options.only else ""
    print(f"seed {options.seed}; again with: {repeat}", flush=True)
    stack = start_or_exit(options.database, options.redis)
    with (
        stack,
        tempfile.TemporaryDirectory(prefix="faults-") as folder,
        staged(
            stack,
            f"{options.seed}",
            Path(folder),
            per_second=options.rate,
            servers=add_replica(stack) if FailOver.name in names else None,
            settings={"CDC_KAFKA__CLIENT": options.client},
            arguments=("--workers", str(options.workers)),
        ) as scene,
    ):
        problems = _rounds(scene, names, options)
        print(f"{repeats(stack, scene.topics)} duplicates lie in Kafka")
        if problems:
            print(scene.fleet.logs())
    for problem in problems:
        print(f"wrong: {problem}")
    print(f"verdict: {'FAILED' if problems else 'all as it should be'}; again with: {repeat}")
    return int(bool(problems))


def _rounds(scene: Scene, names: list[str], options: argparse.Namespace) -> list[str]:
    """What was wrong in the last round."""
    began, number, happened, problems = time.monotonic(), 0, Counter[str](), list[str]()
    while not problems and time.monotonic() - began < options.minutes * 60:
        schedule = draw(
            f"{options.seed}/{number}", {name: FAULTS[name] for name in names}, options.rate, seconds=_ROUND_S
        )
        print(f"round {number}: {schedule.steps} steps, {len(schedule.faults)} faults", flush=True)
        problems = play(scene, schedule, lambda text: print(text, flush=True))
        happened.update(each.name for each in schedule.faults)
        number += 1
    print(f"{number} rounds in {time.monotonic() - began:.0f} s, {scene.workload.changes} changes of users")
    print(f"{scene.messages} messages heard")
    print("faults: " + ", ".join(f"{count} {name}" for name, count in sorted(happened.items())))
    return problems


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help=f"at most {_LONGEST_MIN}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--database", choices=DATABASES, default="mysql")
    parser.add_argument("--redis", choices=REDIS, default=REDIS[0])
    parser.add_argument("--workers", type=int, default=1, help="of each consumer, as cdc-consumer run has them")
    parser.add_argument("--client", choices=CLIENTS, default=CLIENTS[0])
    parser.add_argument("--rate", type=float, default=PER_SECOND, help="database transactions a second")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help=f"of {', '.join(FAULTS)}")
    options = parser.parse_args()
    if unknown := set(options.only) - FAULTS.keys():
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    possible = kinds_for(options.database, options.redis)
    if unfit := [name for name in options.only if name not in possible]:
        parser.error(f"not with --database {options.database} --redis {options.redis}: {', '.join(unfit)}")
    if options.workers < 1:
        parser.error("--workers: at least 1")
    if not 0 < options.minutes <= _LONGEST_MIN:
        parser.error(f"--minutes: more than 0 and at most {_LONGEST_MIN}")
    return options


if __name__ == "__main__":
    sys.exit(main())
