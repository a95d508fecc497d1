"""A step of a timeline as one line, and all steps as counts. Pure. No word is broken; what has no room is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from consumer.commands.shared.explain.outcome import ChangeOutcome
from consumer.commands.shared.explain.timeline import SentMessage, Step
from consumer.commands.shared.fitted import names, whole_words
from consumer.events.timestamps import shown_time
from consumer.planning.diff import Change

NARROW = 100
"""On a narrower terminal a line does not name the user's own table."""
_LATE_MS = 60_000


def line(step: Step, width: int | None, day: str = "", own: str = "") -> str:
    """The line for a terminal of ``width`` columns; without the date if the step is of ``day``.

    ``own``: the user's table, which a narrow line does not name. None: for a pipe. Then the line has the record's place
    too, and everything that changed.
    """
    if width is None:
        before = f"{shown_time(step.written_ms)}  {step.outcome.word}  {step.place}  "
        return before + next(_texts(step, _head(step)))
    moment = shown_time(step.written_ms)
    time = moment[11:19] if moment.startswith(day or "-") else f"{moment[:10]} {moment[11:19]}"
    head = step.operation if width < NARROW and step.table == own else _head(step)
    return f"{time} {_fitted(_texts(step, head), width - len(time) - 1)}"


def fields(step: Step) -> list[str]:
    """Each column that changed, with its values; of a column whose values are not shown only the name."""
    is_update = step.operation == "update"
    found = [_field(name, change, is_update=is_update) for name, change in step.differences.fields.items()]
    return [*found, *step.differences.outside]


def counted(steps: Sequence[Step]) -> str:
    """The number of changes, and of each outcome."""
    if not steps:
        return "no change in this range"
    counts = Counter(each.outcome.word for each in steps)
    said = ", ".join(f"{count} {what}" for what, count in counts.items())
    return f"{len(steps)} change{'s' if len(steps) > 1 else ''}: {said}"


def _field(name: str, change: Change, *, is_update: bool) -> str:
    if change.old_known:
        return f"{name} {_value(change.old)} → {_value(change.new)}"
    return f"{name} → {_value(change.new)}" if is_update else f"{name} {_value(change.new)}"


def _value(value: str | None) -> str:
    """A value as one word; a text with spaces, line breaks or control characters is quoted."""
    if value is None:
        return "NULL"
    return value if value and value.isprintable() and " " not in value else repr(value)


def _fitted(texts: Iterator[str], room: int) -> str:
    """The longest text that has room; if there is none, the whole words of the shortest one that have room."""
    text = ""
    for text in texts:
        if len(text) <= room:
            return text
    return whole_words(text, room)


def _head(step: Step) -> str:
    return f"{step.table or 'unknown table'} {step.operation}".rstrip()


def _texts(step: Step, head: str) -> Iterator[str]:
    """Everything, then less and less: fewer channels and rules by name, then fewer columns, at last none."""
    changed, late = fields(step), _late(step)
    rules = [*dict.fromkeys(step.rules)] if step.outcome is not ChangeOutcome.OLD else []
    every = names(changed, len(changed))
    for channels in (len(step.messages), 1):
        yield _joined(head, every, names(rules, len(rules)), _outcome(step, channels), late)
    by_number = _outcome(step, 0)
    yield _joined(head, every, names(rules, len(rules)), by_number, late)
    bare = [*step.differences.fields, *step.differences.outside]
    fewer = [every, *(names(changed, shown) for shown in range(len(changed) - 1, 0, -1)), names(bare, 1)]
    for rule in (names(rules, 1), "") if rules else ("",):
        yield from (_joined(head, columns, rule, by_number, late) for columns in fewer)
    yield _joined(head, by_number)


def _joined(head: str, *parts: str) -> str:
    text = "; ".join(part for part in parts if part)
    return f"{head}: {text}" if head else text


def _outcome(step: Step, shown: int) -> str:
    """The messages of a change that was applied, ``shown`` of them by name; of another change why it was not."""
    is_done = step.outcome is ChangeOutcome.APPLIED or (step.outcome is ChangeOutcome.JOINED and step.messages)
    if not is_done:
        return f"{step.outcome.word}: {step.why}" if step.why else step.outcome.word
    sent = [_sent(each.sent) for each in step.messages if each.sent is not None]
    planned = [each.channel for each in step.messages if each.sent is None]
    said = [_channels("sent", sent, shown), _channels("planned", planned, shown)]
    return "; ".join(each for each in said if each) or "applied, no message"


def _sent(message: SentMessage) -> str:
    return message.channel if message.receivers is None else f"{message.channel} to {message.receivers}"


def _channels(verb: str, channels: Sequence[str], shown: int) -> str:
    if not channels:
        return ""
    return f"{verb} {names(channels, shown)}" if shown else f"{len(channels)} {verb}"


def _late(step: Step) -> str:
    """When the change was committed, if Debezium wrote it much later: it was away, or it reads an old log."""
    is_copy = step.outcome is ChangeOutcome.OLD
    if is_copy or step.committed_ms is None or step.written_ms - step.committed_ms < _LATE_MS:
        return ""
    return f"committed {shown_time(step.committed_ms)[:19]}Z"
