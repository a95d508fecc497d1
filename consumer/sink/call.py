"""Encodes a plan as a call of ``apply.lua``, and decodes the script's reply. The script documents both formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

from consumer.guard.version import Verdict
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Extent, Plan, Publish
from consumer.settings.sections import Guard

_Pairs: TypeAlias = tuple[str | int, ...]
"""Names of fields or channels, each followed by the number of its value."""
_PLAIN = 7
"""The number of parts of a reply if nothing is left to do. Else the mode, and whether the rest was due, follow."""
_CHANGED = 4
"""The number of parts of the reply to a change that was applied to an existing hash. Other replies have more."""


class PlanPart(StrEnum):
    """Which part of a plan a call carries out.

    On a cluster a script can use the keys of one slot only. VERSION_SLOT writes the keys in the slot of the version,
    and sets a pending marker: the rest is still to be done. OTHER_SLOT writes a string in another slot, which has its
    own version. MESSAGES publishes the messages, then clears the pending marker.
    """

    WHOLE = ""
    VERSION_SLOT = "version_slot"
    OTHER_SLOT = "other_slot"
    MESSAGES = "messages"


class Calls:
    """Encodes plans as calls of the script, with the settings of the guard."""

    def __init__(self, guard: Guard) -> None:
        self._guard_ttl = str(guard.tombstone_ttl_s)

    def of(
        self,
        plan: Plan,
        derived: Sequence[str] = (),
        part: PlanPart = PlanPart.WHOLE,
        mode: str = "",
        *,
        is_brief: bool = False,
    ) -> list[str | int]:
        """The call for a plan: the number of keys, the keys, the arguments.

        ``derived``: keys to clear in addition to those that the plan names. ``mode``: replaces the plan's mode, unless
        "". ``is_brief``: leave out the whole image; the script asks for it if needed (:func:`is_asked_for_more`).
        """
        values = _Values(is_brief)
        keys = [plan.guard]
        changed: _Pairs = ()
        whole: _Pairs = ()
        updated: _Pairs = ()
        gone: tuple[str, ...] = ()
        balance, ttl = 0, ""
        if plan.config is not None:
            keys.append(plan.config.key)
            changed = values.of(plan.config.changed)
            whole = () if is_brief else values.of(plan.config.whole)
            gone = plan.config.gone
        if plan.balance is not None:
            keys.append(plan.balance.key)
            balance, ttl = values.number("", plan.balance.value), str(plan.balance.ttl_s)
        if plan.update is not None:
            keys.append(plan.update.key)
            updated = values.of(plan.update.fields)
        removed = plan.removed.keys if plan.removed is not None else ()
        keys += [*removed, *plan.cleared.keys, *derived]
        expected = "" if plan.known_below is None else f"<{plan.known_below}"
        if plan.expected is not None:
            expected = "" if part is PlanPart.OTHER_SLOT else f"={plan.expected}"
        shape = _shape(
            plan.table,
            mode or plan.mode,
            plan.extent,
            part,
            changed,
            whole,
            updated,
            gone,
            balance,
            ttl,
            len(removed),
            plan.update is not None and plan.update.is_kept,
            values.of_messages(plan.messages),
            self._guard_ttl,
        )
        return [len(keys), *keys, shape, plan.version.to_text(), expected, *values.all]


class _Values:
    """The values of a call, numbered from 1.

    In a short call, equal values are sent once. In a whole image, values may be equal by chance, and each such pattern
    would be another shape. So there a value is sent once only if the same field has it again.
    """

    __slots__ = ("_is_short", "_numbers", "all")

    def __init__(self, is_short: bool) -> None:
        self._is_short = is_short
        self._numbers: dict[str, int] = {}
        self.all: list[str] = []

    def number(self, name: str, value: str) -> int:
        """The number of ``value``, which is a value of the field ``name``."""
        by = value if self._is_short else name
        number = self._numbers.get(by)
        if number is None or self.all[number - 1] != value:
            self.all.append(value)
            number = self._numbers[by] = len(self.all)
        return number

    def of(self, fields: Mapping[str, str]) -> _Pairs:
        """Each field, and the number of its value."""
        number = self.number
        return tuple([part for name, value in fields.items() for part in (name, number(name, value))])

    def of_messages(self, messages: Sequence[Publish]) -> _Pairs:
        """Each channel, and the number of its body. Most changes send the same body to several channels."""
        found: list[str | int] = []
        body = ""
        for message in messages:
            if message.body != body:
                body = message.body
                self.all.append(body)
            found += (message.channel, len(self.all))
        return tuple(found)


@lru_cache(maxsize=1000)
def _shape(
    table: str,
    mode: str,
    extent: str,
    part: str,
    changed: _Pairs,
    whole: _Pairs,
    update: _Pairs,
    gone: tuple[str, ...],
    balance: int,
    ttl: str,
    removed: int,
    keep: bool,
    messages: _Pairs,
    guard_ttl: str,
) -> str:
    """What the script does, as JSON without keys and values. Cached, because a system has few different shapes."""
    shape: dict[str, object] = {
        "table": table,
        "mode": mode,
        "extent": extent,
        "part": part,
        "changed": changed,
        "whole": whole,
        "update": update,
        "gone": gone,
        "removed": removed,
        "keep": keep,
        "messages": messages,
        "guard_ttl": guard_ttl,
    }
    if balance:
        shape |= {"balance": balance, "ttl": ttl}
    return msgspec.json.encode(shape).decode()


def may_be_brief(plan: Plan) -> bool:
    """Whether the whole image is usually not needed, because the hash usually exists."""
    return plan.extent is Extent.CHANGED


def is_asked_for_more(reply: Any) -> bool:
    """Whether nothing was done, because the call had no whole image and the hash does not exist."""
    return isinstance(reply, list) and reply[0] == "absent"


def applied(reply: Sequence[Any]) -> Applied:
    """The script's reply as the plan's answer; more parts of the reply are ignored."""
    if len(reply) == _CHANGED:
        cleared, receivers, updated, stored = reply
        return Applied(Verdict.NEWER, False, None if updated < 0 else bool(updated), cleared, receivers, stored)
    verdict, config, updated, cleared, receivers, stored, differed = reply[:_PLAIN]
    return Applied(
        Verdict(verdict),
        None if config < 0 else bool(config),
        None if updated < 0 else bool(updated),
        cleared,
        receivers,
        stored,
        differed,
    )


def mode_left(reply: Sequence[Any]) -> tuple[str, bool] | None:
    """The mode for the rest of a plan, and whether it was due before; None if the reply has no such parts."""
    return (reply[_PLAIN], bool(reply[_PLAIN + 1])) if len(reply) > _PLAIN else None
