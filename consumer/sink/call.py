"""A plan as a call of ``apply.lua``, and the script's reply as an answer: both sides of what is written there."""

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
"""Names, each with the number of its value."""
_CHANGED = 4
"""So many parts has the reply of a change that was applied to a hash that existed; any other has more."""


class Share(StrEnum):
    """How much of a plan a call carries out.

    On a cluster a script reaches the keys of one slot. STATE is what lies in the slot of the version; it leaves a note
    that the rest is due. BESIDE is a string in another slot, with a version of its own. TELL sends the messages and
    takes the note away.
    """

    WHOLE = ""
    STATE = "state"
    BESIDE = "beside"
    TELL = "tell"


class Calls:
    """Plans as calls, under the settings of the guard."""

    def __init__(self, guard: Guard) -> None:
        self._guard_ttl = str(guard.tombstone_ttl_s)

    def of(
        self,
        plan: Plan,
        derived: Sequence[str] = (),
        share: Share = Share.WHOLE,
        mode: str = "",
        *,
        is_brief: bool = False,
    ) -> list[str | int]:
        """The number of keys, the keys, the arguments. ``derived``: keys to clear beside those that the plan names.

        ``mode``: in place of the plan's own. In brief it is without the whole image, which the script asks for where it
        needs it (:func:`is_asked_for_more`).
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
            expected = "" if share is Share.BESIDE else f"={plan.expected}"
        shape = _shape(
            plan.table,
            mode or plan.mode,
            plan.extent,
            share,
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
    """The values of a call, each with its number, from 1.

    Equal values of a short call are sent once. In a whole image values are equal by chance, and each such pattern would
    be another shape: there only a field that comes again with the same value keeps its number.
    """

    __slots__ = ("_is_short", "_numbers", "all")

    def __init__(self, is_short: bool) -> None:
        self._is_short = is_short
        self._numbers: dict[str, int] = {}
        self.all: list[str] = []

    def number(self, name: str, value: str) -> int:
        """The number of ``value``, of the field ``name``."""
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
        """Each channel, and the number of its body; most changes say one thing to several channels."""
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
    share: str,
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
    """What the script is to do, but for keys and values: few shapes make up all the changes of a system."""
    shape: dict[str, object] = {
        "table": table,
        "mode": mode,
        "extent": extent,
        "share": share,
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
    """Whether most often the whole image is not needed."""
    return plan.extent is Extent.CHANGED


def is_asked_for_more(reply: Any) -> bool:
    """Whether nothing was done, for the plan was in brief and the hash is not there."""
    return isinstance(reply, list) and reply[0] == "absent"


def applied(reply: Sequence[Any]) -> Applied:
    """The script's reply, without what it says beyond a plan's answer."""
    if len(reply) == _CHANGED:
        cleared, receivers, updated, stored = reply
        return Applied(Verdict.NEWER, False, None if updated < 0 else bool(updated), cleared, receivers, stored)
    verdict, config, updated, cleared, receivers, stored, differed = reply[:7]
    return Applied(
        Verdict(verdict),
        None if config < 0 else bool(config),
        None if updated < 0 else bool(updated),
        cleared,
        receivers,
        stored,
        differed,
    )
