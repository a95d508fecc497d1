"""A decision as one line of text. Pure. It names changed fields, and shows no value."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from consumer.commands.shared.fitted import names, whole_words
from consumer.errors import RecordError
from consumer.events.record import SourceRecord
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.planning.decision import Decision
from consumer.planning.plan import user_of as user_of_row
from consumer.planning.saved_decision import time_of
from consumer.planning.saved_decision import user_of as user_of_decision

NARROW = 100
"""On a narrower terminal a line has the table instead of the topic, and no milliseconds."""
_ARROW = "→"
_NOBODY = "–"


@dataclass(frozen=True, slots=True)
class TailLine:
    """What a line shows. ``fields``: the names of the fields that changed, or a reason in one text."""

    time: str
    topic: str
    table: str
    place: str
    user: str
    outcome: str
    fields: tuple[str, ...]
    channels: tuple[str, ...]


def user_of(decision: Decision, rules: Rules) -> UserId | None:
    """The user whose change it is, also of a change that was sent again; None if that is not known."""
    user, event = user_of_decision(decision), decision.event
    if user is None and event is not None and (table := rules.table(event.table)) is not None:
        with suppress(RecordError):
            return user_of_row(event, table)
    return user


def line_of(record: SourceRecord, decision: Decision, rules: Rules) -> TailLine:
    """What is shown of a decision that was made with ``rules``."""
    user, plan = user_of(decision, rules), decision.plan
    return TailLine(
        time_of(record, decision),
        record.topic,
        decision.table,
        f"[{record.partition}]@{record.offset}",
        _NOBODY if user is None else str(user),
        decision.outcome,
        _fields(decision),
        () if plan is None else tuple(message.channel for message in plan.messages),
    )


def _fields(decision: Decision) -> tuple[str, ...]:
    """The fields that changed; else why the decision is what it is."""
    if decision.error is not None:
        field = f"{decision.error.field}: " if decision.error.field else ""
        return (f"{field}{decision.error.problem}",)
    if decision.plan is None or decision.linked is not None:
        return (decision.reason,)
    found: dict[str, None] = {}
    for reason in decision.plan.reasons:
        rule, _, columns = reason.rpartition(": ")
        found.update(dict.fromkeys(columns.split(", ") if rule else (reason,)))
    return tuple(found)


def text(line: TailLine, width: int | None) -> tuple[str, str, str]:
    """The text before the outcome, the outcome, and the text after it.

    ``width``: the columns of a terminal. If the line is too long, it names fewer fields and channels, and counts the
    others. No word is broken: a line of long words is longer. None: there is no limit, and the time has a date.
    """
    is_narrow = width is not None and width < NARROW
    time = line.time if width is None else line.time[11 : 19 if is_narrow else -1]
    place = (line.table if is_narrow and line.table else line.topic) + line.place
    before = f"{time} {place} {line.user:8} "
    outcome = f"{line.outcome:8}"
    room = None if width is None else width - len(before) - len(outcome) - 1
    return before, outcome, f" {_rest(line.fields, line.channels, room)}".rstrip()


def _rest(fields: Sequence[str], channels: Sequence[str], room: int | None) -> str:
    """Fields and channels. If there is no room for all: first one field, then one channel, then no channel by name."""
    counts = (len(fields), len(channels))
    found = _joined(fields, channels, *counts)
    if room is None:
        return found
    while len(found) > room and counts != (min(1, len(fields)), min(1, len(channels))):
        shown_fields, shown_channels = counts
        counts = (shown_fields - 1, shown_channels) if shown_fields > 1 else (shown_fields, shown_channels - 1)
        found = _joined(fields, channels, *counts)
    if len(found) <= room:
        return found
    if len(channels) > 1:
        return f"{names(fields, 1)} {_ARROW} {len(channels)} channels"
    return found if channels else whole_words(found, room)


def _joined(fields: Sequence[str], channels: Sequence[str], shown_fields: int, shown_channels: int) -> str:
    left = names(fields, shown_fields)
    return f"{left} {_ARROW} {names(channels, shown_channels)}" if channels else left
