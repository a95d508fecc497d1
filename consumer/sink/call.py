"""Encodes a plan as a call of ``apply.lua``, and decodes the script's reply. The script documents both formats.

A call is text in Redis' protocol: for each word ``$``, its length in bytes, and the word. Most of it is the same in all
calls for plans of one shape, so that part is encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple, TypeAlias

import msgspec

from consumer.guard.version import Verdict
from consumer.mapping.keys import parts_around_id
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.planning.message import event_id_of
from consumer.planning.shape import TIME, Assigned, Extent, Mode, PlanShape
from consumer.settings.sections import Guard

_MOST_KNOWN = 4096
ENCODE_ERRORS = "surrogateescape"
"""A key of another program may not be UTF-8."""
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

    __hash__ = str.__hash__  # Enum's own is a function in Python, which each call would need


# Looked up once, because each look-up of an enum's member takes as long as a call (decision 29).
_WHOLE, _CHANGED = PlanPart.WHOLE, Extent.CHANGED


class ScriptCall(msgspec.Struct, frozen=True, gc=False):
    """A call of the script: the number of keys, the keys, the arguments.

    ``count``: the number of these words. ``parts``: the words in Redis' protocol, in parts. Long text is copied only
    once, when the calls of a batch are put together.
    """

    count: int
    parts: Sequence[str]


def script_call(keys: Sequence[str], arguments: Sequence[str | int]) -> ScriptCall:
    """A call that is not for a plan."""
    words = [str(len(keys)), *keys, *map(str, arguments)]
    return ScriptCall(len(words), [encoded(words)])


_Kind: TypeAlias = tuple[PlanShape, int, bool] | tuple[PlanShape, int, bool, str, str]


class _Prepared(NamedTuple):
    """What all calls for plans of one shape, for users with ids of one length, have in common.

    ``size``: the number of words before the version: the number of keys, the keys, the shape. ``key_count``: the number
    of keys, encoded. ``keys``: the encoded keys; the id belongs between the parts. ``shape``: its encoded text.
    ``values``: the names of the values that are sent. ``has_time``: the time of the change is sent behind them.
    ``has_streams``: then the ``event_id`` and the user.
    """

    size: int
    key_count: str
    keys: tuple[str, ...]
    shape: str
    values: tuple[str, ...]
    has_time: bool
    has_streams: bool


class Calls:
    """Encodes plans as calls of the script, with the settings of the guard."""

    def __init__(self, guard: Guard) -> None:
        self._guard_ttl = str(guard.tombstone_ttl_s)
        self._known: dict[_Kind, _Prepared] = {}

    def of(
        self,
        plan: Plan,
        derived: Sequence[str] = (),
        part: PlanPart = PlanPart.WHOLE,
        mode: str = "",
        *,
        is_brief: bool = False,
    ) -> ScriptCall:
        """The call for a plan.

        ``derived``: keys to clear in addition to those that the plan names. ``mode``: replaces the plan's mode, unless
        "". ``is_brief``: leave out the whole image; the script asks for it if needed (:func:`is_asked_for_more`).
        """
        number = str(plan.user.id)
        # Most calls are for whole plans, and a short key is found faster.
        is_whole = part is _WHOLE and not mode
        kind: _Kind = (
            (plan.shape, len(number), is_brief) if is_whole else (plan.shape, len(number), is_brief, part, mode)
        )
        call = self._known.get(kind) or self._prepared_for(kind)
        version, values = plan.version.to_text(), plan.values
        is_usual = plan.expected is None and plan.known_below is None and not plan.is_of_letter
        condition = "" if is_usual else _condition(plan, part)
        words = [version, condition, *[values[each] for each in call.values]]
        if call.has_time:
            words.append(plan.time)
        if call.has_streams:
            words += event_id_of(plan.bodies[0]), str(plan.user)
        count = call.size + len(words) + len(plan.bodies)
        parts = [call.key_count, number.join(call.keys), call.shape, encoded(words)]
        if derived:
            count += len(derived)
            parts[:2] = encoded([str(call.size - 2 + len(derived))]), parts[1], encoded(derived)
        for body in plan.bodies:
            parts += f"${len(body) if body.isascii() else _size(body)}\r\n", body, "\r\n"
        return ScriptCall(count, parts)

    def _prepared_for(self, kind: _Kind) -> _Prepared:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        found = self._known[kind] = _prepare(self._guard_ttl, *kind)
        return found


def encoded(words: Sequence[str]) -> str:
    """Words in Redis' protocol. The library's function for this needs all words of a call in one list."""
    return "".join([f"${len(each) if each.isascii() else _size(each)}\r\n{each}\r\n" for each in words])


def _size(word: str) -> int:
    return len(word.encode(errors=ENCODE_ERRORS))


def _condition(plan: Plan, part: PlanPart) -> str:
    """What must be true of the guard, as ``apply.lua`` describes it."""
    if plan.expected is not None:
        return "" if part is PlanPart.OTHER_SLOT else f"={plan.expected}"
    if plan.is_of_letter:
        return "-"
    return "" if plan.known_below is None else f"<{plan.known_below}"


def _prepare(
    guard_ttl: str, shape: PlanShape, digits: int, is_brief: bool, part: str = PlanPart.WHOLE, mode: str = ""
) -> _Prepared:
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
    first_stream, first_body = len(templates) + 1, len(numbers) + (3 if shape.has_streams else 1)
    templates += [each.stream for each in shape.channels if each.stream]
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
        "messages": [word for each in shape.channels for word in (each.name * each.is_published, first_body + each.at)],
        "guard_ttl": guard_ttl,
    }
    if shape.balance:
        text |= {"balance": numbers[shape.balance_value], "ttl": str(shape.balance_ttl_s)}
    if shape.has_streams:
        text |= {"streams": _streams(shape, first_stream), "event_id": len(numbers) + 1}
    described = encoded([msgspec.json.encode(text).decode()])
    keys = _keys(templates, shape.user_type, digits)
    return _Prepared(
        len(templates) + 2, encoded([str(len(templates))]), keys, described, names, has_time, shape.has_streams
    )


def _streams(shape: PlanShape, first: int) -> list[str | int]:
    """For each message the number of its stream's key, counted from ``first``, or 0; and how many entries stay."""
    numbers = count(first)
    return [word for each in shape.channels for word in (next(numbers) if each.stream else 0, str(each.maxlen))]


def _keys(templates: Sequence[str], user_type: str, digits: int) -> tuple[str, ...]:
    """The keys of a user whose id has so many ``digits``, encoded and in order; the id belongs between the parts."""
    stand_in = "0" * digits
    parts = [""]
    for template in templates:
        around = parts_around_id(template, user_type)
        parts[-1] += f"${_size(stand_in.join(around))}\r\n{around[0]}"
        parts += around[1:]
        parts[-1] += "\r\n"
    return tuple(parts)


def may_be_brief(plan: Plan) -> bool:
    """Whether the whole image is usually not needed, because the hash usually exists."""
    return plan.shape.extent is _CHANGED


def is_asked_for_more(reply: Any) -> bool:
    """Whether nothing was done, because the call had no whole image and the hash does not exist."""
    return isinstance(reply, list) and reply[0] == "absent"


def applied(reply: Sequence[Any] | int) -> Applied:
    """The script's reply as the plan's answer; more parts of the reply are ignored."""
    if isinstance(reply, int):
        return usual_answer(reply)
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


@lru_cache(maxsize=_MOST_KNOWN)
def usual_answer(reply: int) -> Applied:
    """As :func:`applied`, for the usual reply. There are only a few different ones."""
    counts, updated = divmod(reply, _UPDATES)
    receivers, cleared = divmod(counts, _MOST_CLEARED)
    return Applied(Verdict.NEWER, False, None if updated == _NO_UPDATE else bool(updated), cleared, receivers)


def mode_left(reply: Sequence[Any] | int, part: PlanPart) -> tuple[str, bool] | None:
    """The mode for the rest of a plan, and whether it was due before; None if nothing is left."""
    if isinstance(reply, int):
        return (Mode.CHANGE, False) if part is PlanPart.VERSION_SLOT else None
    return (reply[_PLAIN], bool(reply[_PLAIN + 1])) if len(reply) > _PLAIN else None
