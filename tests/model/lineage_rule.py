"""The guard's rule up to version 0.1, which compared places in the log of one server, named by its id.

Kept only to show that the model finds what was wrong with it.
"""

from __future__ import annotations

from typing import NamedTuple

from consumer.events.event import ChangeEvent
from consumer.events.position import Origin

GAP_MS = 5000


class OldVersion(NamedTuple):
    """What was kept of a change."""

    origin: Origin
    lineage: str
    order: str
    ts_ms: int
    partition: int
    offset: int


def old_version(event: ChangeEvent) -> OldVersion:
    """Of a change."""
    position = event.position
    order = position.order
    if position.connector == "mysql":
        order = position.place  # rows were not counted there
    elif position.connector == "postgresql":
        order = order.rpartition("/")[0]
    return OldVersion(
        position.origin, position.lineage, order, position.ts_ms, event.place.partition, event.place.offset
    )


def old_is_newer(candidate: OldVersion, stored: OldVersion | None) -> bool:
    """Whether a change was accepted."""
    if stored is None:
        return True
    is_same_partition = candidate.partition == stored.partition
    lies_later = is_same_partition and candidate.offset > stored.offset
    lies_earlier = is_same_partition and candidate.offset < stored.offset
    is_clearly_later = candidate.ts_ms > stored.ts_ms + GAP_MS
    is_clearly_earlier = stored.ts_ms > candidate.ts_ms + GAP_MS
    if is_same_partition and Origin.INCREMENTAL in (candidate.origin, stored.origin):
        return lies_later
    if _are_comparable(candidate.lineage, stored.lineage):
        if candidate.order > stored.order:
            return not (lies_earlier and is_clearly_earlier)
        if lies_later and candidate.order == stored.order and Origin.SNAPSHOT in (candidate.origin, stored.origin):
            return True
        return lies_later and is_clearly_later
    return lies_later if is_same_partition else is_clearly_later


def _are_comparable(one: str, other: str) -> bool:
    servers = one.partition(":")[2], other.partition(":")[2]
    return one == other or "0" in servers
