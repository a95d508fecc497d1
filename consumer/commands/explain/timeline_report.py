"""A timeline on the screen, and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich.text import Text

from consumer.commands.shared.explain.line import counted, line
from consumer.commands.shared.explain.outcome import ChangeOutcome
from consumer.commands.shared.explain.timeline import Message, Step, Timeline, Window
from consumer.commands.shared.finding import Level
from consumer.commands.shared.screen import Entry, Part, Summary
from consumer.events.timestamps import shown_time
from consumer.source.bounds import At, Bound

_MARK = 2
_ONLY_PLANNED = "planned: messages by the rules of now; nothing stores what was sent"
_NOT_STORED = "planned: messages that no stream has: trimmed, or not sent"


def parts(timeline: Timeline, width: int | None) -> list[Part]:
    """Everything on the screen, from top to bottom. ``width``: its columns, None for a pipe."""
    title = Text.assemble((str(timeline.user), "bold"), f"  {timeline.table} {_range(timeline.window)}")
    shown: list[Part] = [*([title] if width is not None else []), *timeline.findings]
    day = "" if timeline.window.begin_ms is None else shown_time(timeline.window.begin_ms)[:10]
    lines = entries(timeline.steps, width, timeline.table, day, has_streams=timeline.has_streams)
    return [*shown, *lines, summary(timeline)]


def entries(steps: Sequence[Step], width: int | None, own: str, day: str = "", *, has_streams: bool) -> list[Part]:
    """One line for each step, and what "planned" means if a line says so. ``own``: the user's table."""
    text_width = None if width is None else width - _MARK
    shown: list[Part] = [
        Entry(each.outcome.level, "", line(each, text_width, day, own), [], line(each, None)) for each in steps
    ]
    if any(each.outcome is ChangeOutcome.APPLIED and not each.is_sent for each in steps):
        note = _NOT_STORED if has_streams else _ONLY_PLANNED
        shown.append(Entry(None, "", note, [], note))
    return shown


def summary(timeline: Timeline) -> Summary:
    """How many changes there were, and what happened to them."""
    levels = {each.level for each in timeline.findings} | {each.outcome.level for each in timeline.steps}
    level = next((each for each in (Level.FAILURE, Level.WARNING) if each in levels), Level.OK)
    verdict = {Level.OK: "ok", Level.WARNING: "ok, with warnings", Level.FAILURE: "not ok"}[level]
    return Summary(level, f"{verdict}: {counted(timeline.steps)}")


def json_lines(timeline: Timeline) -> Iterator[str]:
    """One object for each step, and one for all at the end."""
    for step in timeline.steps:
        yield _encoded({"part": "change", "user": str(timeline.user), **step_json(step)})
    window, found = timeline.window, summary(timeline)
    yield _encoded(
        {
            "part": "summary",
            "user": str(timeline.user),
            "from": str(window.begin),
            "to": str(window.end),
            "level": found.level,
            "found": found.text,
            "changes": len(timeline.steps),
            "outcomes": dict(Counter(each.outcome.word for each in timeline.steps)),
            "problems": [
                {"level": each.level, "subject": each.subject, "found": each.found, "advice": each.advice}
                for each in timeline.findings
            ],
        }
    )


def step_json(step: Step) -> dict[str, Any]:
    """A step as an object. A column whose old value is not known has no "old"."""
    return {
        "time": shown_time(step.written_ms),
        "committed": None if step.committed_ms is None else shown_time(step.committed_ms),
        "record": str(step.place),
        "table": step.table or None,
        "operation": step.operation or None,
        "outcome": step.outcome.word,
        "why": step.why,
        "columns": [
            {"name": name, **({"old": change.old} if change.old_known else {}), "new": change.new}
            for name, change in step.differences.fields.items()
        ],
        "columns_without_values": step.differences.outside,
        "rules": step.rules,
        "event_id": step.event_id or None,
        "messages": [_message_json(each) for each in step.messages],
    }


def _message_json(message: Message) -> dict[str, Any]:
    if (sent := message.sent) is None:
        return {"channel": message.channel, "as": "planned"}
    return {
        "channel": message.channel,
        "as": "sent",
        "sent": shown_time(sent.at_ms),
        "receivers": sent.receivers,
    }


def _range(window: Window) -> str:
    begin, end = _short(window.begin), _short(window.end)
    if isinstance(window.end, At) and begin[:10] == end[:10]:
        end = end[11:]
    return f"from {begin} to {end}, times in UTC"


def _short(bound: Bound) -> str:
    text = str(bound)
    return f"{text[:10]} {text[11:19]}" if isinstance(bound, At) else text


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()
