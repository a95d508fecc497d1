"""Hash slots: which keys of a plan are in one slot of a cluster, and the plan divided by slots.

One script writes the version and all keys in its slot. A balance in another slot becomes a separate plan with its own
version: a process that was paused between the two must not replace a newer balance with an old one. All other keys in
other slots are derived keys. They are only cleared, which is harmless at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from msgspec.structs import replace
from redis.crc import key_slot

from consumer.mapping.keys import hash_tag, version_key_of
from consumer.mapping.rules import Names
from consumer.planning.effect import Plan
from consumer.planning.shape import Channel, PlanShape, Templates, changed_shape, shared

SLOTS = 16_384


def slot(key: str) -> int:
    """The slot of a key."""
    return int(key_slot(key.encode(errors="surrogateescape")))


def is_in_other_slot(names: Names, template: str) -> bool:
    """Whether a user's key is in another slot than the user's version."""
    return not _is_near(template, names.guard)


def _is_near(template: str, guard: str) -> bool:
    """Whether the keys of both templates are always in one slot: they have the same hash tag."""
    return template == guard or ("" != hash_tag(template) == hash_tag(guard))


class _Split(NamedTuple):
    """A shape divided by slots: the part in the version's slot, the balance's part, and the keys to clear elsewhere.

    ``string``: the template of the balance, if it is in another slot.
    """

    near: PlanShape
    other: PlanShape | None
    string: str
    far: Templates


@lru_cache(maxsize=4096)
def _split(shape: PlanShape) -> _Split:
    far = tuple(each for each in shape.cleared if not each.endswith("*") and not _is_near(each, shape.guard))
    strings = (shape.balance, *shape.removed) if shape.balance else shape.removed
    string = next((each for each in strings if not _is_near(each, shape.guard)), "")
    near = changed_shape(shape, cleared=tuple(each for each in shape.cleared if each not in far))
    if not string:
        return _Split(near, None, "", far)
    other = changed_shape(
        shape,
        guard=version_key_of(string),
        config="",
        changed=(),
        whole=(),
        gone=(),
        update="",
        updated=(),
        is_kept=False,
        removed=(string,) if shape.removed else (),
        cleared=(),
        channels=(),
    )
    removed = tuple(each for each in shape.removed if each != string)
    return _Split(changed_shape(near, balance="", balance_value="", removed=removed), other, string, far)


@dataclass(frozen=True, slots=True)
class PlanBySlot:
    """A plan divided by slots.

    ``in_version_slot``: the plan for the version's slot, with the existing keys ``derived`` to clear there; it has the
    messages only if :attr:`is_whole`. ``in_other_slot``: the plan for the balance, if that is in another slot,
    ``other_slot``. ``cleared``: keys to clear in other slots. ``has_streams``: the messages also go to streams, in
    other slots.
    """

    version_slot: int
    in_version_slot: Plan
    derived: tuple[str, ...] = ()
    in_other_slot: Plan | None = None
    other_slot: int = -1
    cleared: tuple[str, ...] = ()
    has_streams: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether all keys are in the slot of the version."""
        return self.in_other_slot is None and not self.cleared and not self.has_streams


def by_slot(plan: Plan, derived: Sequence[str]) -> PlanBySlot:
    """Divide a plan by slots. ``derived``: the existing keys of the plan's prefixes."""
    version_slot = slot(plan.guard)
    near, other, string, far = _split(plan.shape)
    near_keys = tuple(key for key in derived if slot(key) == version_slot)
    far_keys = (*map(plan.key, far), *(key for key in derived if key not in near_keys))
    has_streams = plan.shape.has_streams
    if other is None and not far_keys and not has_streams:
        return PlanBySlot(version_slot, replace(plan, shape=near), near_keys)
    in_version_slot = replace(plan, shape=near).publishing(())
    if other is None:
        return PlanBySlot(version_slot, in_version_slot, near_keys, cleared=far_keys, has_streams=has_streams)
    if other.removed and plan.expected == "":
        # No record of this user was applied, so there is no version to compare with.
        far_keys = (*far_keys, plan.key(string))
        return PlanBySlot(version_slot, in_version_slot, near_keys, cleared=far_keys, has_streams=has_streams)
    in_other_slot, other_slot = replace(plan, shape=other, bodies=()), slot(plan.key(string))
    return PlanBySlot(version_slot, in_version_slot, near_keys, in_other_slot, other_slot, far_keys, has_streams)


def only_messages(plan: Plan) -> Plan:
    """The part of a plan that publishes. It adds nothing to streams."""
    return replace(plan, shape=_only_messages(plan.shape))


@lru_cache(maxsize=4096)
def _only_messages(shape: PlanShape) -> PlanShape:
    return shared(
        PlanShape(
            table=shape.table,
            user_type=shape.user_type,
            guard=shape.guard,
            mode=shape.mode,
            channels=tuple(Channel(each.name, each.at) for each in shape.channels if each.is_published),
        )
    )


def tags(count: int) -> tuple[str, ...]:
    """One hash tag in each of ``count`` equal parts of the slots."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < count:
        found.setdefault(slot(str(number)) * count // SLOTS, str(number))
        number += 1
    return tuple(found[part] for part in range(count))
