"""A comparison as text for people, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap
from typing import Any

import msgspec

from consumer.commands.shared.plan.aspects import Aspect, Entry, Kind, flat_message
from consumer.commands.shared.plan.columns import side_by_side
from consumer.commands.shared.plan.comparison import MOST_USERS, Comparison, RecordDifference, Times
from consumer.mapping.rules import MESSAGE_FIELDS
from consumer.planning.decision import Outcome
from consumer.planning.saved_decision import SavedDecision

TITLES = {
    Kind.OUTCOME: "outcomes",
    Kind.REASON: "reasons of what is not planned",
    Kind.USER: "users",
    Kind.RULE: "rules",
    Kind.GUARD: "keys with the version",
    Kind.WRITTEN: "fields written to the config hash",
    Kind.WHOLE: "fields written if the config hash is missing",
    Kind.FILLED: "fields filled by a snapshot read",
    Kind.UPDATED: "fields written if the hash exists",
    Kind.STRING: "strings set",
    Kind.REMOVED: "keys removed with the user",
    Kind.CLEARED: "keys cleared",
    Kind.MESSAGE: "messages",
    Kind.MESSAGE_FIELD: "fields of messages",
    Kind.STREAM: "entries of streams",
}
_FIELDS = (Kind.WRITTEN, Kind.WHOLE, Kind.FILLED, Kind.UPDATED)
_COUNT = 10
_MOST_ROWS = 15
NONE = "–"


def to_text(found: Comparison, old: str, new: str, width: int) -> str:
    """The result in lines of at most ``width`` characters, unless a name is longer. ``old``, ``new``: their names."""
    return "\n".join(_lines(found, old, new, width))


def _lines(found: Comparison, old: str, new: str, width: int) -> Iterator[str]:
    yield f"{new} against {old}: {_number(found.records, 'record')} compared"
    if not found.records:
        yield "no record was compared, so this says nothing about them"
        return
    if not found.different:
        yield "all are decided alike"
        return
    users = "" if not found.users else f", of {_users(found)}"
    yield f"{found.different:,} {'is' if found.different == 1 else 'are'} decided otherwise{users}"
    yield from wrap(summary(found), width, break_long_words=False, break_on_hyphens=False)
    if found.only_reasons:
        yield f"{found.only_reasons:,} of them with the same effects: only the reasons differ"
    yield ""
    yield from _table(found, width)
    for number, example in enumerate(found.kept(), start=1):
        yield ""
        yield from _example(number, example, old, new, width)


def summary(found: Comparison) -> str:
    """One line: messages, keys and fields, such as "+42 messages on risk_updates, −310 keys cleared, 0 fields"."""
    channels = sorted({aspect.name for aspect, _ in found.times() if aspect.kind is Kind.MESSAGE})
    where = f" on {channels[0]}" if len(channels) == 1 else f" on {len(channels)} channels" if channels else ""
    parts = [f"{_signed(found.total(Kind.MESSAGE))} messages{where}"]
    parts += [f"{_signed(found.total(Kind.CLEARED))} keys cleared", f"{_signed(found.total(*_FIELDS))} fields"]
    for kind, name in (
        (Kind.STRING, "strings set"),
        (Kind.REMOVED, "keys removed"),
        (Kind.MESSAGE_FIELD, "fields of messages"),
        (Kind.STREAM, "entries of streams"),
        (Kind.GUARD, "keys with the version"),
        (Kind.USER, "users"),
        (Kind.OUTCOME, "outcomes"),
    ):
        if any(times := found.total(kind)):
            parts.append(f"{_signed(times)} {name}")
    return ", ".join(parts)


def _table(found: Comparison, width: int) -> Iterator[str]:
    yield _row("in how many records", ("new", "gone", "other value"), width)
    for kind, group in groupby(found.times(), key=lambda each: each[0].kind):
        yield TITLES[kind]
        for name, members in groupby(group, key=lambda each: each[0].name):
            several = list(members)
            if len(several) == 1 and not several[0][0].detail:
                yield _row(f"  {name or TITLES[kind]}", _cells(several[0][1]), width)
                continue
            yield f"  {name}"
            for aspect, times in several:
                yield _row(f"    {aspect.detail}", _cells(times), width)


def _row(name: str, cells: Sequence[str], width: int) -> str:
    """A name and three counts. A name that needs more room has its counts on the next line."""
    room = width - _COUNT * 2 - 13
    counts = f"{cells[0]:>{_COUNT}}{cells[1]:>{_COUNT}}{cells[2]:>13}".rstrip()
    return f"{name:{room}}{counts}" if len(name) <= room else f"{name}\n{' ' * room}{counts}"


def _cells(times: Times) -> tuple[str, str, str]:
    added, gone, other = times
    return f"+{added:,}" if added else "", f"−{gone:,}" if gone else "", f"{other:,}" if other else ""


def _signed(times: Times) -> str:
    """The counts in one word, such as ``+42/−7``; ``±3`` counts other values."""
    added, gone, other = times
    parts = (f"+{added:,}" * bool(added), f"−{gone:,}" * bool(gone), f"±{other:,}" * bool(other))
    return "/".join(part for part in parts if part) or "0"


def _example(number: int, example: RecordDifference, old: str, new: str, width: int) -> Iterator[str]:
    of = example.new if example.new.table else example.old
    yield f"example {number}: {of.place}"
    yield "  " + ", ".join(part for part in (of.what, example.user, of.time) if part)
    shown, left = example.entries[:_MOST_ROWS], example.entries[_MOST_ROWS:]
    rows = [(str(each.aspect), *_values(each, example)) for each in shown]
    yield from side_by_side(("", old, new), rows, width)
    if left:
        yield f"  and {len(left)} more"


def _values(entry: Entry, example: RecordDifference) -> tuple[str, str]:
    if entry.aspect.kind is Kind.OUTCOME:
        return _outcome(example.old), _outcome(example.new)
    return _value(entry.aspect, entry.old), _value(entry.aspect, entry.new)


def _outcome(decision: SavedDecision) -> str:
    if decision.outcome is Outcome.PLANNED:
        return decision.outcome
    return f"{decision.outcome}: {decision.reason.removeprefix(f'{decision.place}: ')}"


def _value(aspect: Aspect, value: str | None) -> str:
    if value is None:
        return NONE
    if aspect.kind is not Kind.MESSAGE:
        return value or "''"
    return " ".join(_of_message(value))


def _of_message(text: str) -> Iterator[str]:
    """What is in a message, without what all have."""
    body = flat_message(text)
    yield body.get("event_type", "")
    for name, value in body.items():
        if name.startswith("updated_fields."):
            yield f"{name.removeprefix('updated_fields.')}={value or repr(value)}"
        elif name not in MESSAGE_FIELDS and name.partition(".")[0] not in MESSAGE_FIELDS:
            yield f"{name}={value}"


def _users(found: Comparison) -> str:
    at_least = "at least " if found.users >= MOST_USERS else ""
    return at_least + _number(found.users, "user")


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def difference_json(found: RecordDifference) -> str:
    """One JSON object for a record that is decided otherwise: the facts that differ, and both decisions."""
    return _json(
        {
            "record": found.new.place,
            "user": found.user or None,
            "differences": [
                {
                    "what": each.aspect.kind,
                    "name": each.aspect.name or None,
                    "field": each.aspect.detail or None,
                    "old": each.old,
                    "new": each.new,
                }
                for each in found.entries
            ],
            "old": found.old,
            "new": found.new,
        }
    )


def summary_json(found: Comparison, old: str, new: str) -> str:
    """One JSON object: the counts."""
    return _json(
        {
            "new": new,
            "old": old,
            "records": found.records,
            "different": found.different,
            "only_reasons": found.only_reasons,
            "users": found.users,
            "differences": [
                {
                    "what": aspect.kind,
                    "name": aspect.name or None,
                    "field": aspect.detail or None,
                    "new": times.added,
                    "gone": times.gone,
                    "other_value": times.other,
                }
                for aspect, times in found.times()
            ],
        }
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
