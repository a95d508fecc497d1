"""Adds the messages of plans to their streams on a cluster, where a stream is in another slot than the user's keys."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

from consumer.planning.effect import Plan
from consumer.sink.cluster.plan_slots import slot
from consumer.sink.cluster.routes import Routes
from consumer.sink.script import Call
from consumer.sink.streams import additions

_Place: TypeAlias = tuple[str, str, str]
"""An entry of a plan: the stream, the user's guard, the table and the version."""
_MOST_REMEMBERED = 10_000


class StreamEntries:
    """Remembers the entries of plans that failed afterwards. A plan is tried again without a limit, for example while a
    channel is refused. Each time it would add the same entries, and they would push other entries out of the stream.
    """

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._added: set[_Place] = set()

    def add(self, plans: Sequence[Plan]) -> list[Exception | None]:
        """Add the entries that were not added yet. Answers the failure of each plan; None if it has all its entries."""
        left: list[tuple[int, _Place, Call]] = []
        for at, plan in enumerate(plans):
            version = _version(plan)
            places = (((key, *version), call) for key, call in additions(plan))
            left += [(at, place, call) for place, call in places if place not in self._added]
        replies = self._routes.send_to_masters([(slot(place[0]), call) for _, place, call in left])
        failures: list[Exception | None] = [None] * len(plans)
        for (at, place, _), reply in zip(left, replies, strict=True):
            if isinstance(reply, Exception):
                failures[at] = reply
            else:
                self._added.add(place)
        return failures

    def finished(self, plans: Collection[Plan]) -> None:
        """These plans are not tried again. Of plans that were given up, only so many entries are remembered."""
        for plan in plans:
            version = _version(plan)
            self._added.difference_update((each.stream, *version) for each in plan.shape.channels)
        if len(self._added) > _MOST_REMEMBERED:
            self._added.clear()

    def may_be_lost(self) -> None:
        """A connection was lost, and with it perhaps entries that were acknowledged."""
        self._added.clear()


def _version(plan: Plan) -> tuple[str, str]:
    return plan.guard, f"{plan.table}|{plan.version.to_text()}"
