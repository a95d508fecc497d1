"""One round: changes and faults side by side, then calm, then the verdict."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random

from tests.chaos.fault import Fault
from tests.chaos.kinds import FAULTS
from tests.chaos.scene import MEMBERS, Scene
from tests.chaos.schedule import Planned, Schedule


def play(scene: Scene, schedule: Schedule, say: Callable[[str], None] = print) -> list[str]:
    """Everything that is wrong at the end of the round; nothing if all is well."""
    workload, under_way = scene.workload, dict[Planned, Fault]()
    workload.start(schedule.steps)
    try:
        for step, is_begin, planned in schedule.moments():
            workload.reached(step)
            if is_begin:
                fault = under_way[planned] = FAULTS[planned.name](Random(planned.seed))  # noqa: S311
                more = fault.inject(scene)
                say(f"  step {workload.written:6}  {planned.name} {more}".rstrip())
            else:
                under_way.pop(planned).heal(scene)
                say(f"  step {workload.written:6}  {planned.name} is over")
        workload.finish()
    finally:
        for fault in under_way.values():  # so that what comes after finds servers that answer
            with suppress(Exception):
                fault.heal(scene)
    for user in sorted(scene.spoiled):
        if (touch := scene.script.touch(user)) is not None:
            workload.write(touch)
    scene.fleet.settle(MEMBERS)
    return scene.verdict()
