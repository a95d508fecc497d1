"""Encodes a plan as a call of ``apply.lua``, and decodes the script's reply. The script documents both formats."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from consumer.guard.version import Verdict
from consumer.mapping.keys import parts_around_id
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.planning.shape import TIME, Assigned, Extent, Mode, PlanShape
from consumer.settings.sections import Guard

_MOST_KNOWN = 4096
_PLAIN = 7
"""The number of parts of a reply if nothing is left to do. Else the mode, and whether the rest was due, follow."""
# The usual reply is one number: (subscribers * 100000 + cleared keys) * 3 + update. apply.lua has the same numbers.
_MOST_CLEARED = 100_000
_UPDATES = 3
_NO_UPDATE = 2


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


class _Prepared(NamedTuple):
    """What all calls for plans of one shape have in common.

    ``text``: the shape as JSON, without keys and values. ``keys``: the texts before and after the id. ``values``: the
    names of the values that are sent. ``has_time``: the time of the change is sent behind them.
    """

    text: str
    keys: tuple[tuple[str, ...], ...]
    values: tuple[str, ...]
    has_time: bool


class Calls:
    """Encodes plans as calls of the script, with the settings of the guard."""

    def __init__(self, guard: Guard) -> None:
        self._guard_ttl = str(guard.tombstone_ttl_s)
        self._known: dict[tuple[PlanShape, str, str, bool], _Prepared] = {}

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
        key = plan.shape, part, mode, is_brief
        call = self._known.get(key) or self._prepared_for(key)
        number, values = str(plan.user.id), plan.values
        words: list[str | int] = [number.join(each) for each in call.keys]
        if derived:
            words += derived
        words.insert(0, len(words))
        words += call.text, plan.version.to_text(), _condition(plan, part)
        words += [values[each] for each in call.values]
        if call.has_time:
            words.append(plan.time)
        words += plan.bodies
        return words

    def _prepared_for(self, key: tuple[PlanShape, str, str, bool]) -> _Prepared:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        found = self._known[key] = _prepare(*key, self._guard_ttl)
        return found


def _condition(plan: Plan, part: PlanPart) -> str:
    """What must be true of the guard, as ``apply.lua`` describes it."""
    if plan.expected is not None:
        return "" if part is PlanPart.OTHER_SLOT else f"={plan.expected}"
    return "" if plan.known_below is None else f"<{plan.known_below}"


def _prepare(shape: PlanShape, part: str, mode: str, is_brief: bool, guard_ttl: str) -> _Prepared:
    whole = () if is_brief else shape.whole
    balance = ((shape.balance, shape.balance_value),) if shape.balance else ()
    assigned = (*shape.changed, *whole, *shape.updated, *balance)
    names = tuple(dict.fromkeys(source for _, source in assigned if source != TIME))
    has_time = any(source == TIME for _, source in assigned)
    numbers = {name: at for at, name in enumerate((*names, TIME) if has_time else names, start=1)}

    def numbered(fields: Assigned) -> list[str | int]:
        return [word for field, source in fields for word in (field, numbers[source])]

    templates = [shape.guard]
    templates += [shape.config] if shape.changed or whole else []
    templates += [shape.balance] if shape.balance else []
    templates += [shape.update] if shape.updated else []
    templates += [*shape.removed, *(each for each in shape.cleared if not each.endswith("*"))]
    text: dict[str, object] = {
        "table": shape.table,
        "mode": mode or shape.mode,
        "extent": shape.extent,
        "part": part,
        "changed": numbered(shape.changed),
        "whole": numbered(whole),
        "update": numbered(shape.updated),
        "gone": shape.gone,
        "removed": len(shape.removed),
        "keep": shape.is_kept,
        "messages": [word for channel, at in shape.channels for word in (channel, len(numbers) + 1 + at)],
        "guard_ttl": guard_ttl,
    }
    if shape.balance:
        text |= {"balance": numbers[shape.balance_value], "ttl": str(shape.balance_ttl_s)}
    keys = tuple(parts_around_id(each, shape.user_type) for each in templates)
    return _Prepared(msgspec.json.encode(text).decode(), keys, names, has_time)


def may_be_brief(plan: Plan) -> bool:
    """Whether the whole image is usually not needed, because the hash usually exists."""
    return plan.extent is Extent.CHANGED


def is_asked_for_more(reply: Any) -> bool:
    """Whether nothing was done, because the call had no whole image and the hash does not exist."""
    return isinstance(reply, list) and reply[0] == "absent"


def applied(reply: Sequence[Any] | int) -> Applied:
    """The script's reply as the plan's answer; more parts of the reply are ignored."""
    if isinstance(reply, int):
        counts, updated = divmod(reply, _UPDATES)
        receivers, cleared = divmod(counts, _MOST_CLEARED)
        return Applied(Verdict.NEWER, False, None if updated == _NO_UPDATE else bool(updated), cleared, receivers)
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


def mode_left(reply: Sequence[Any] | int, part: PlanPart) -> tuple[str, bool] | None:
    """The mode for the rest of a plan, and whether it was due before; None if nothing is left."""
    if isinstance(reply, int):
        return (Mode.CHANGE, False) if part is PlanPart.VERSION_SLOT else None
    return (reply[_PLAIN], bool(reply[_PLAIN + 1])) if len(reply) > _PLAIN else None
