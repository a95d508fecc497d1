"""Hash slots: which keys of a plan are in one slot of a cluster, and the plan divided by slots.

One script writes the version and all keys in its slot. A balance in another slot becomes a separate plan with its own
version: a process that was paused between the two must not replace a newer balance with an old one. All other keys in
other slots are derived keys. They are only cleared, which is harmless at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace
from redis.crc import key_slot

from consumer.mapping.keys import UserId, render, version_key_of
from consumer.mapping.rules import Names
from consumer.planning.effect import Invalidate, Plan, Remove

SLOTS = 16_384


def slot(key: str) -> int:
    """The slot of a key."""
    return int(key_slot(key.encode(errors="surrogateescape")))


def is_in_other_slot(names: Names, template: str) -> bool:
    """Whether a user's key is in another slot than the user's version."""
    user = UserId("a", 1)
    return slot(render(template, user)) != slot(render(names.guard, user))


@dataclass(frozen=True, slots=True)
class PlanBySlot:
    """A plan divided by slots.

    ``in_version_slot``: the plan for the version's slot; it has the messages only if :attr:`is_whole`.
    ``in_other_slot``: the plan for the balance, if that is in another slot, ``other_slot``. ``cleared``: keys to clear
    in other slots.
    """

    version_slot: int
    in_version_slot: Plan
    in_other_slot: Plan | None = None
    other_slot: int = -1
    cleared: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether all keys are in the slot of the version."""
        return self.in_other_slot is None and not self.cleared


def by_slot(plan: Plan, derived: Sequence[str]) -> PlanBySlot:
    """Divide a plan by slots. ``derived``: the existing keys of the plan's prefixes."""
    version_slot = slot(plan.guard)
    cleared = (*plan.cleared.keys, *derived)
    removed = plan.removed.keys if plan.removed is not None else ()
    near = tuple(key for key in cleared if slot(key) == version_slot)
    far = tuple(key for key in cleared if slot(key) != version_slot)
    string = (
        plan.balance.key
        if plan.balance is not None
        else next((key for key in removed if slot(key) != version_slot), "")
    )
    if not far and (not string or slot(string) == version_slot):
        return PlanBySlot(version_slot, replace(plan, cleared=Invalidate(near)))
    balance = plan.balance
    in_other_slot: Plan | None = None
    if string and slot(string) != version_slot:
        in_other_slot = replace(
            plan,
            guard=version_key_of(string),
            config=None,
            update=None,
            removed=Remove((string,)) if removed else None,
            cleared=Invalidate(),
            messages=(),
        )
        balance, removed = None, tuple(key for key in removed if key != string)
    if in_other_slot is not None and in_other_slot.removed is not None and plan.expected == "":
        # No record of this user was applied, so there is no version to compare with.
        in_other_slot, far = None, (*far, string)
    in_version_slot = replace(
        plan,
        balance=balance,
        removed=Remove(removed) if removed else None,
        cleared=Invalidate(near),
        messages=(),
    )
    return PlanBySlot(
        version_slot, in_version_slot, in_other_slot, slot(string) if in_other_slot is not None else -1, far
    )


def tags(count: int) -> tuple[str, ...]:
    """One hash tag in each of ``count`` equal parts of the slots."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < count:
        found.setdefault(slot(str(number)) * count // SLOTS, str(number))
        number += 1
    return tuple(found[part] for part in range(count))
