"""A decision as single facts with names, so that two decisions about one record can be compared fact by fact.

Keys are shown as templates, so that facts of different users are counted together. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from consumer.planning.decision import Outcome
from consumer.planning.saved_decision import (
    SavedDecision,
    SavedEffect,
    SavedInvalidate,
    SavedPublish,
    SavedPut,
    SavedRemove,
    SavedUpdate,
    SavedUpsert,
)


class Kind(StrEnum):
    """What a fact is about. The values are the verbs of a plan's text, where there is one."""

    OUTCOME = "outcome"
    REASON = "reason"
    USER = "user"
    RULE = "because"
    GUARD = "guard"
    WRITTEN = "write"
    WHOLE = "or whole"
    FILLED = "fill"
    UPDATED = "if exists"
    STRING = "set"
    REMOVED = "remove"
    CLEARED = "clear"
    MESSAGE = "publish"
    MESSAGE_FIELD = "in message"
    STREAM = "add to"

    __hash__ = str.__hash__  # Enum's own is a function in Python, which each fact would need


class Aspect(NamedTuple):
    """A fact without its value. ``name``: a rule, a key's template or a channel. ``detail``: a field of it, or ""."""

    kind: Kind
    name: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, self.name, self.detail) if part)


Aspects = Mapping[Aspect, str]
_PLANNED = Outcome.PLANNED


def aspects(decision: SavedDecision) -> Aspects:
    """All facts about ``decision`` that count in a comparison."""
    if decision.outcome is not _PLANNED:
        return {Aspect(Kind.OUTCOME): decision.outcome, Aspect(Kind.REASON): decision.reason}
    user = decision.user or ""
    found = {Aspect(Kind.OUTCOME): decision.outcome.value, Aspect(Kind.USER): user}
    for reason in decision.reasons:
        rule, _, columns = reason.rpartition(": ")
        found[Aspect(Kind.RULE, rule or columns)] = columns if rule else "applies"
    if decision.guard:
        found[Aspect(Kind.GUARD, template_of(decision.guard, user))] = "holds the version"
    for effect in decision.effects:
        found.update(_of_effect(effect, user))
    return found


def _of_effect(effect: SavedEffect, user: str) -> Iterator[tuple[Aspect, str]]:
    match effect:
        case SavedUpsert():
            yield from _upsert(effect, template_of(effect.key, user))
        case SavedPut(key, value, ttl_s, only_missing):
            limits = f"for {ttl_s} s{', if missing' if only_missing else ''}"
            yield Aspect(Kind.STRING, template_of(key, user)), f"{value} {limits}"
        case SavedUpdate(key, fields):
            name = template_of(key, user)
            yield from ((Aspect(Kind.UPDATED, name, field), value) for field, value in fields.items())
        case SavedRemove(keys):
            yield from ((Aspect(Kind.REMOVED, template_of(key, user)), "yes") for key in keys)
        case SavedInvalidate(keys, patterns):
            yield from ((Aspect(Kind.CLEARED, template_of(key, user)), "yes") for key in (*keys, *patterns))
        case SavedPublish(channel, message, stream, maxlen):
            yield Aspect(Kind.MESSAGE, channel), bytes(message).decode()
            if stream:
                yield Aspect(Kind.STREAM, stream), f"MAXLEN ~ {maxlen}"


def _upsert(effect: SavedUpsert, name: str) -> Iterator[tuple[Aspect, str]]:
    """The fields of a hash. A field of the whole hash that is written anyway is no fact of its own."""
    if effect.only_missing:
        yield from ((Aspect(Kind.FILLED, name, field), value) for field, value in effect.whole.items())
        return
    yield from ((Aspect(Kind.WRITTEN, name, field), value) for field, value in effect.changed.items())
    for field, value in effect.whole.items():
        if effect.changed.get(field) != value:
            yield Aspect(Kind.WHOLE, name, field), value


class Entry(NamedTuple):
    """A fact that differs, with its old and new value; None: the fact is not there."""

    aspect: Aspect
    old: str | None
    new: str | None


def entries(old: SavedDecision, new: SavedDecision) -> list[Entry]:
    """The facts that differ, in the order of a plan's text. Empty if both decisions have the same effects and rules."""
    if _are_alike(old, new):
        return []
    if old.guard is None:  # an early version did not save it
        new = msgspec.structs.replace(new, guard=None)
    before, after = aspects(old), aspects(new)
    found = [Entry(each, value, after.get(each)) for each, value in before.items() if after.get(each) != value]
    found += [Entry(each, None, value) for each, value in after.items() if each not in before]
    if old.outcome is not new.outcome:
        found = [each for each in found if each.aspect.kind not in _OF_OUTCOME]
    several = (parts for each in found for parts in _of_message(each))
    return sorted(several, key=lambda each: _ORDER[each.aspect.kind])


def _are_alike(old: SavedDecision, new: SavedDecision) -> bool:
    """Whether two decisions are alike for sure, found out quickly."""
    what = old.outcome, old.reason, old.effects, old.user if old.effects else None
    return what == (new.outcome, new.reason, new.effects, new.user if new.effects else None) and old.guard in (
        None,
        new.guard,
    )


_OF_OUTCOME = (Kind.REASON, Kind.USER, Kind.GUARD)
"""These differ whenever the outcome does."""
_ORDER = {kind: place for place, kind in enumerate(Kind)}


def _of_message(entry: Entry) -> list[Entry]:
    """A message that both publish as the fields of it that differ; none if only its form differs, not its content."""
    aspect, old, new = entry
    if aspect.kind is not Kind.MESSAGE or old is None or new is None:
        return [entry]
    before, after = flat_message(old), flat_message(new)
    names = (*before, *(each for each in after if each not in before))
    return [
        Entry(Aspect(Kind.MESSAGE_FIELD, aspect.name, name), before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    ]


def flat_message(text: str) -> Mapping[str, str]:
    """The fields of a message, each as text; those of an object within it as ``updated_fields.leverage``."""
    return dict(_flat(msgspec.json.decode(text), ""))


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and (value or not path):
        for name, each in value.items():
            yield from _flat(each, f"{path}.{name}" if path else name)
    else:
        yield path, value if isinstance(value, str) else msgspec.json.encode(value).decode()


def template_of(key: str, user: str) -> str:
    """The template of a user's key: ``user_stats:live:7`` of live:7 is ``user_stats:<type>:<id>``.

    A saved decision has only the key. In a template of an unusual form, a text that is the user's type or number by
    chance is taken for it.
    """
    if not user:
        return key
    before, usual, after = key.partition(user)
    if usual and not (after[:1].isdigit() or before[-1:].isalnum()) and user not in after:
        return f"{before}<type>:<id>{after}"
    user_type, _, number = user.partition(":")
    return re.sub(_word(number), "<id>", re.sub(_word(user_type), "<type>", key))


@lru_cache(maxsize=1024)
def _word(text: str) -> str:
    return rf"(?<![0-9A-Za-z]){re.escape(text)}(?![0-9A-Za-z])"
