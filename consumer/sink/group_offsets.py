"""How far a group is, as it stands in Redis beside the data: the names of the keys, the calls, and what they say.

Each part of a cluster's slots has a hash of its own, one server has one. A partition whose field is in none of them, or
not in all, is one that Redis has lost, or never had: everything that was applied of it may be gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from consumer.events.record import Partition
from consumer.sink.rights import CANARY, OFFSETS, STOPPED


def hash_of(group: str, part: str = "") -> str:
    """The key of the offsets of ``group`` in one part of the slots."""
    return f"{OFFSETS}{part}{group}"


def canary_of(name: str, part: str = "") -> str:
    """The key whose loss tells that this part was emptied since it was made; in the slot of :func:`hash_of`."""
    return f"{CANARY}{part}{name}"


def stopped_of(group: str) -> str:
    """The key under which members say where they have stopped because Redis was emptied."""
    return f"{OFFSETS}{group}{STOPPED}"


def advance(key: str, fields: Mapping[str, int]) -> list[str | int]:
    """The script's call that keeps offsets of partitions that are known there already."""
    return [1, key, "advance", *_flat(fields)]


def remember(key: str, fields: Mapping[str, int], canary: str = "") -> list[str | int]:
    """The script's call that keeps offsets; with a ``canary`` those of partitions that are not known, if it lives."""
    keys = [key, canary] if canary else [key]
    return [len(keys), *keys, "remember", *_flat(fields)]


def is_kept(reply: object) -> bool:
    """Whether such a call was carried out."""
    return reply != "emptied"


def known(told: Sequence[Mapping[str, str]]) -> dict[Partition, int]:
    """What all parts know, from the hash of each: the least offset counts."""
    fields = set.intersection(*(set(each) for each in told)) if told else set()
    return {partition_of(field): min(int(each[field]) for each in told) for field in fields}


def fields_of(offsets: Mapping[Partition, int]) -> dict[str, int]:
    """Offsets as they stand in a hash."""
    return {field_of(part): offset for part, offset in offsets.items()}


def field_of(part: Partition) -> str:
    """A partition as it stands in a hash."""
    return f"{part.topic}:{part.number}"


def partition_of(field: str) -> Partition:
    """The inverse of :func:`field_of`."""
    topic, _, number = field.rpartition(":")
    return Partition(topic, int(number))


def lost(committed: Mapping[Partition, int], remembered: Collection[Partition]) -> frozenset[Partition]:
    """The partitions that the group has read and Redis knows nothing of: it was emptied, and not rebuilt yet."""
    return frozenset(part for part, offset in committed.items() if offset > 0 and part not in remembered)


def _flat(fields: Mapping[str, int]) -> Iterable[str | int]:
    return [part for field in fields.items() for part in field]
