"""Waiting until what was under way has arrived: first in the topics, then in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from consumer.events.event import ChangeEvent
from consumer.events.position import SourcePosition
from consumer.events.record import Partition


@dataclass(frozen=True, slots=True)
class CatchUp:
    """How it ended: whether the topics tell of a later place in the log, and which partitions are still behind."""

    connector_passed: bool
    behind: frozenset[Partition]


class Database(Protocol):
    """Whose log it is."""

    def position(self) -> SourcePosition:
        """Where the log stands now."""
        ...


class Topics(Protocol):
    """Where the connector writes it."""

    def look(self) -> None:
        """Take in topics and partitions that were made since."""
        ...

    def newest(self) -> list[ChangeEvent]:
        """The last change of each partition."""
        ...

    def ends(self) -> Mapping[Partition, int]:
        """The next offset of each partition."""
        ...

    def behind(self, ends: Mapping[Partition, int]) -> frozenset[Partition]:
        """The partitions in which the consumer has not come so far."""
        ...


@dataclass(frozen=True, slots=True)
class CatchUpLimits:
    """``settle_s``: how long a log that does not move is given to arrive. ``limit_s``: how long anything is.

    Every ``look_s`` the servers are asked.
    """

    settle_s: float
    limit_s: float
    look_s: float = 0.2


def wait_for_catch_up(
    database: Database, topics: Topics, limits: CatchUpLimits, should_stop: Callable[[], bool]
) -> CatchUp:
    """Returns once all that the database's log has now is in the topics, and the consumer has come to the ends that
    these have then; or when that took too long.

    Nothing tells that a connector has read a log to its end: where the log does not move, it gets some time.

    Raises:
        ServerUnavailable, ServerError: of the database, or of Kafka.
    """
    began = time.monotonic()
    place = database.position()
    topics.look()
    is_over = False
    has_passed = _has_passed(topics, place)
    while not (has_passed or is_over or should_stop()):
        waited = time.monotonic() - began
        is_over = waited > limits.limit_s or (waited > limits.settle_s and database.position().order == place.order)
        time.sleep(limits.look_s)
        has_passed = _has_passed(topics, place)
    ends = topics.ends()
    behind = topics.behind(ends)
    while behind and time.monotonic() - began < limits.limit_s and not should_stop():
        time.sleep(limits.look_s)
        behind = topics.behind(ends)
    return CatchUp(has_passed, behind)


def _has_passed(topics: Topics, place: SourcePosition) -> bool:
    """Whether a change in the topics lies behind ``place``: one that the same server wrote, for only then the two are
    surely of one log.
    """
    newest = (each.position for each in topics.newest())
    return any(each.server == place.server and each.place >= place.place for each in newest)
