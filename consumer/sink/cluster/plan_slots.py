"""Hash slots: which keys of a plan lie together on a cluster, and the plan divided by that.

What lies in the slot of the version is written by one script with it. The balance in a slot of its own becomes a plan
of its own, with a version of its own beside it: a process that was frozen in between must not write an old balance over
a newer one. All other keys elsewhere are derived ones: they are only cleared, which is harmless at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace
from redis.crc import key_slot

from consumer.mapping.keys import UserId, companion, render
from consumer.mapping.rules import Names
from consumer.planning.effect import Invalidate, Plan, Remove

SLOTS = 16_384


def slot(key: str) -> int:
    """The slot of a key."""
    return int(key_slot(key.encode(errors="surrogateescape")))


def is_apart(names: Names, template: str) -> bool:
    """Whether a user's key lies in another slot than the user's version."""
    user = UserId("a", 1)
    return slot(render(template, user)) != slot(render(names.guard, user))


@dataclass(frozen=True, slots=True)
class PlanBySlot:
    """``state`` is the plan in the slot ``home``, ``beside`` that of the balance where it lies in ``beside_slot``,
    ``cleared`` keys of any slots. Only if that ``is_whole`` the messages are in ``state``.
    """

    home: int
    state: Plan
    beside: Plan | None = None
    beside_slot: int = -1
    cleared: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing lies elsewhere."""
        return self.beside is None and not self.cleared


def by_slot(plan: Plan, derived: Sequence[str]) -> PlanBySlot:
    """A plan, and the keys that its prefixes stand for, by slots."""
    home = slot(plan.guard)
    cleared = (*plan.cleared.keys, *derived)
    removed = plan.removed.keys if plan.removed is not None else ()
    near = tuple(key for key in cleared if slot(key) == home)
    far = tuple(key for key in cleared if slot(key) != home)
    string = plan.balance.key if plan.balance is not None else next((key for key in removed if slot(key) != home), "")
    if not far and (not string or slot(string) == home):
        return PlanBySlot(home, replace(plan, cleared=Invalidate(near)))
    balance = plan.balance
    beside: Plan | None = None
    if string and slot(string) != home:
        beside = replace(
            plan,
            guard=companion(string),
            config=None,
            update=None,
            removed=Remove((string,)) if removed else None,
            cleared=Invalidate(),
            messages=(),
        )
        balance, removed = None, tuple(key for key in removed if key != string)
    if beside is not None and beside.removed is not None and plan.expected == "":
        # Of a user of whom no record was applied: there is no version to compare with.
        beside, far = None, (*far, string)
    state = replace(
        plan,
        balance=balance,
        removed=Remove(removed) if removed else None,
        cleared=Invalidate(near),
        messages=(),
    )
    return PlanBySlot(home, state, beside, slot(string) if beside is not None else -1, far)


def tags(count: int) -> tuple[str, ...]:
    """Hash tags that lie in as many parts of the slots, all of one length, one in each."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < count:
        found.setdefault(slot(str(number)) * count // SLOTS, str(number))
        number += 1
    return tuple(found[part] for part in range(count))
