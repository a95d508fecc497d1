"""The offsets of a group that Redis holds beside the data: names of keys, calls, and the meaning of the replies.

One server has one hash. A cluster has one hash in each part of its slots. If the field of a partition is not in all
hashes, Redis has lost the partition, or never had it: everything that was applied from the partition may be gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from consumer.events.record import Partition
from consumer.sink.call import ScriptCall, script_call
from consumer.sink.rights import OFFSETS, REPLAY_KEY, STOPPED


def hash_of(group: str, part: str = "") -> str:
    """The key of the hash with the offsets of ``group`` in one part of the slots."""
    return f"{OFFSETS}{part}{group}"


def replay_key_of(name: str, part: str = "") -> str:
    """A key in the slot of :func:`hash_of`. If the key is gone, this part was emptied after the key was created."""
    return f"{REPLAY_KEY}{part}{name}"


def stopped_of(group: str) -> str:
    """The key of the hash in which members store where they stopped because Redis was emptied."""
    return f"{OFFSETS}{group}{STOPPED}"


def advance(key: str, fields: Mapping[str, int]) -> ScriptCall:
    """The script's call that stores offsets, if the hash already has all these partitions."""
    return script_call([key], ["advance", *_flat(fields)])


def store(key: str, fields: Mapping[str, int], replay_key: str = "") -> ScriptCall:
    """The script's call that stores offsets; with a ``replay_key`` only if that key exists, and only unknown ones."""
    return script_call([key, replay_key] if replay_key else [key], ["remember", *_flat(fields)])


def is_kept(reply: object) -> bool:
    """Whether such a call stored the offsets."""
    return reply != "emptied"


def known(told: Sequence[Mapping[str, str]]) -> dict[Partition, int]:
    """The partitions that are in all hashes, each with its lowest offset. ``told``: the hash of each part."""
    fields = set.intersection(*(set(each) for each in told)) if told else set()
    return {partition_of(field): min(int(each[field]) for each in told) for field in fields}


def fields_of(offsets: Mapping[Partition, int]) -> dict[str, int]:
    """Offsets as the fields of a hash."""
    return {field_of(part): offset for part, offset in offsets.items()}


def field_of(part: Partition) -> str:
    """A partition as the name of a field."""
    return f"{part.topic}:{part.number}"


def partition_of(field: str) -> Partition:
    """The inverse of :func:`field_of`."""
    topic, _, number = field.rpartition(":")
    return Partition(topic, int(number))


def lost(committed: Mapping[Partition, int], remembered: Collection[Partition]) -> frozenset[Partition]:
    """The partitions that the group has read, but Redis does not know: Redis was emptied and is not rebuilt yet."""
    return frozenset(part for part, offset in committed.items() if offset > 0 and part not in remembered)


def _flat(fields: Mapping[str, int]) -> Iterable[str | int]:
    return [part for field in fields.items() for part in field]
