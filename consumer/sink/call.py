"""A plan as a call of ``apply.lua``, and the script's reply as an answer: both sides of what is written there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import chain
from typing import Any

from consumer.guard.version import Verdict
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Extent, Plan, Publish
from consumer.settings.sections import Guard


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
        self._tombstone_ttl = str(guard.tombstone_ttl_s)

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
        keys = [plan.guard]
        changed = whole = updated = []
        if plan.config is not None:
            keys.append(plan.config.key)
            changed, whole = _flat(plan.config.changed), [] if is_brief else _flat(plan.config.whole)
        balance, ttl = "", ""
        if plan.balance is not None:
            keys.append(plan.balance.key)
            balance, ttl = plan.balance.value, str(plan.balance.ttl_s)
        if plan.update is not None:
            keys.append(plan.update.key)
            updated = _flat(plan.update.fields)
        removed = plan.removed.keys if plan.removed is not None else ()
        keys += [*removed, *plan.cleared.keys, *derived]
        messages = _told(plan.messages)
        expected = "" if plan.expected is None or share is Share.BESIDE else f"={plan.expected}"
        return [
            len(keys),
            *keys,
            *(plan.table, mode or plan.mode),
            *(plan.version.to_text(), expected, self._tombstone_ttl, ttl, balance),
            *(len(changed), len(whole), len(updated), len(removed), len(messages)),
            "1" if plan.update is not None and plan.update.is_kept else "",
            plan.extent,
            share,
            *changed,
            *whole,
            *updated,
            *messages,
            *(plan.config.gone if plan.config is not None else ()),
        ]


def may_be_brief(plan: Plan) -> bool:
    """Whether most often the whole image is not needed."""
    return plan.extent is Extent.CHANGED


def is_asked_for_more(reply: Any) -> bool:
    """Whether nothing was done, for the plan was in brief and the hash is not there."""
    return isinstance(reply, list) and reply[0] == "absent"


def applied(reply: Sequence[Any]) -> Applied:
    """The script's reply, without what it says beyond a plan's answer."""
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


def _told(messages: Sequence[Publish]) -> list[str]:
    """Channels and bodies; a body that is the one before is left out, for most changes say one thing to several."""
    told: list[str] = []
    before = ""
    for message in messages:
        told += (message.channel, "" if message.body == before else message.body)
        before = message.body
    return told


def _flat(fields: Mapping[str, str]) -> list[str]:
    return list(chain.from_iterable(fields.items()))
