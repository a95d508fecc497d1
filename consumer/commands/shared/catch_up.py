"""Waits until changes in progress have arrived: first in the topics, then in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from consumer.errors import Place
from consumer.events.event import ChangeEvent
from consumer.events.position import SourcePosition
from consumer.events.record import Partition


@dataclass(frozen=True, slots=True)
class CatchUp:
    """The result of a wait: whether the topics have a later log position, and which partitions are still behind."""

    connector_passed: bool
    behind: frozenset[Partition]


class Database(Protocol):
    """The database, for its log position."""

    def position(self) -> SourcePosition:
        """The present position of the log."""
        ...


class Topics(Protocol):
    """The topics that the connector writes."""

    def look(self) -> None:
        """Add topics and partitions that were created since."""
        ...

    def newest(self) -> list[ChangeEvent]:
        """The last change of each partition."""
        ...

    def ends(self) -> Mapping[Partition, int]:
        """The end offset of each partition."""
        ...

    def behind(self, ends: Mapping[Partition, int]) -> frozenset[Partition]:
        """The partitions in which the consumer's committed offset is below ``ends``."""
        ...


@dataclass(frozen=True, slots=True)
class CatchUpLimits:
    """All in seconds. ``settle_s``: how long changes may take to the topics while the log position does not change.
    ``limit_s``: the longest wait. ``look_s``: the pause between two checks.
    """

    settle_s: float
    limit_s: float
    look_s: float = 0.2


def wait_for_catch_up(
    database: Database, topics: Topics, limits: CatchUpLimits, should_stop: Callable[[], bool]
) -> CatchUp:
    """Wait until the topics have everything that is in the database's log now, and the consumer has reached the ends
    that the topics have then; or until the limit is over.

    It is not visible whether a connector has read the log to its end. So while the log position does not change, the
    connector gets ``settle_s``.

    Raises:
        ServerUnavailable, ServerError: from the database, or from Kafka.
    """
    began = time.monotonic()
    topics.look()
    before = {each.place for each in topics.newest()}
    position = database.position()
    is_over = False
    has_passed = _has_passed(topics, position, before)
    while not (has_passed or is_over or should_stop()):
        waited = time.monotonic() - began
        is_over = waited > limits.limit_s or (waited > limits.settle_s and database.position().order == position.order)
        time.sleep(limits.look_s)
        has_passed = _has_passed(topics, position, before)
    ends = topics.ends()
    behind = topics.behind(ends)
    while behind and time.monotonic() - began < limits.limit_s and not should_stop():
        time.sleep(limits.look_s)
        behind = topics.behind(ends)
    return CatchUp(has_passed, behind)


def _has_passed(topics: Topics, position: SourcePosition, before: Collection[Place]) -> bool:
    """Whether the topics have got a change at or after ``position``. Only changes of the same server are compared,
    because only they can be of the same log.

    ``before``: the records that were in the topics before the position was read. They are before it in the log. If the
    place of one is after it, it is of an older log of this server, such as before a failover and back.
    """
    newest = (each.position for each in topics.newest() if each.place not in before)
    return any(each.server == position.server and each.place >= position.place for each in newest)
