"""What happened to one user in a range of time: one step for each record about the user. Pure.

A step says what changed, which rules followed, which messages were published, and why nothing was applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from consumer.commands.shared.explain.columns import differences
from consumer.commands.shared.explain.history import Change
from consumer.commands.shared.explain.outcome import ChangeOutcome
from consumer.commands.shared.finding import Finding
from consumer.errors import InvalidValue, Place
from consumer.events.event import ChangeEvent
from consumer.events.record import Partition, SourceRecord
from consumer.events.value import timestamp
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.pipeline.letter_state import Unapplied
from consumer.planning.diff import Diff
from consumer.planning.message import event_id
from consumer.planning.saved_decision import operation_of
from consumer.source.bounds import At, Beginning, Bound, End, Offsets

BEGINNING, END = Beginning(), End()
_NO_DIFFERENCES = Diff({}, ())
_WHY = {
    ChangeOutcome.PENDING: "the consumer has not reached it",
    ChangeOutcome.MISSED: "it was read and is not in Redis: Redis lost it, or its version",
}
_PASSED = (ChangeOutcome.APPLIED, ChangeOutcome.MISSED)
_PLANNED = (*_PASSED, ChangeOutcome.PENDING)
# Rows that `run` read in two batches were each published. A copy that was refused has the event_id of the first record.
_SENT = (*_PLANNED, ChangeOutcome.JOINED)


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that a stream keeps. ``at_ms``: when it was sent, UTC milliseconds.

    ``receivers``: how many subscribers got it; None if that is not known. ``text``: the message, with the values that
    may be shown; "" if it can't be read.
    """

    channel: str
    at_ms: int
    receivers: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a change. ``sent``: None if it is only known that the plan has it."""

    channel: str
    sent: SentMessage | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The messages of which it is asked whether they were sent: by channel, their ``event_id``.

    ``since_ms``: when the first of their records was written, UTC milliseconds.
    """

    event_ids: Mapping[str, frozenset[str]]
    since_ms: int


@dataclass(frozen=True, slots=True)
class Window:
    """Which records are shown: from ``begin`` on, and before ``end``. A time is Kafka's timestamp of the record."""

    begin: Bound = BEGINNING
    end: Bound = END

    @property
    def begin_ms(self) -> int | None:
        """The time of the begin, UTC milliseconds; None if it is no time."""
        return self.begin.ms if isinstance(self.begin, At) else None

    def holds(self, record: SourceRecord) -> bool:
        """Whether ``record`` is shown."""
        part = Partition(record.topic, record.partition)
        match self.begin:
            case At(ms) if record.timestamp_ms < ms:
                return False
            case Offsets(of) if record.offset < of.get(part, record.offset + 1):
                return False
        match self.end:
            case At(ms):
                return record.timestamp_ms < ms
            case Offsets(of):
                return record.offset < of.get(part, 0)
        return True


@dataclass(frozen=True, slots=True)
class Step:
    """One record about the user, and what followed.

    ``committed_ms``: the source's time of the change, None if it is not known. ``differences``: what changed.
    ``rules``: the names of the rules that caused the effects. ``why``: why nothing was done, or "".
    """

    place: Place
    written_ms: int
    committed_ms: int | None
    table: str
    operation: str
    outcome: ChangeOutcome
    differences: Diff
    rules: tuple[str, ...]
    messages: tuple[Message, ...]
    event_id: str
    why: str

    @property
    def is_sent(self) -> bool:
        """Whether every message is known as it was sent."""
        return all(each.sent is not None for each in self.messages)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The steps of a user in a range. ``findings``: what limits the answer, such as records that were removed.

    ``table``: the user's own. ``has_streams``: messages that were sent are stored.
    ``lacking``: topics that should be read and do not exist, or "".
    """

    user: UserId
    table: str
    window: Window
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...] = ()
    has_streams: bool = False
    lacking: str = ""


def steps(
    changes: Iterable[Change],
    user: UserId,
    rules: Rules,
    letters: Sequence[Unapplied] = (),
    sent: Mapping[str, Sequence[SentMessage]] | None = None,
) -> tuple[Step, ...]:
    """A step for each change, in their order.

    ``letters``: the open dead letters of the user. ``sent``: by ``event_id``, the messages that streams keep; None if
    nothing keeps them. Then the messages of a plan are those that were planned.
    """
    by_place = {each.place: each for each in letters}
    known = sent or {}
    return tuple(_step(change, user, rules, by_place.get(change.record.place), known) for change in changes)


def wanted(changes: Iterable[Change], user: UserId) -> Wanted:
    """The messages that the plans of ``changes`` have, if they should have been sent already."""
    event_ids: dict[str, set[str]] = {}
    since_ms: list[int] = []
    for change in changes:
        event = change.decision.event
        if change.plan is None or event is None or change.outcome not in _PASSED:
            continue
        for message in change.plan.messages:
            event_ids.setdefault(message.channel, set()).add(event_id(event, user))
            since_ms.append(change.record.timestamp_ms)
    return Wanted({name: frozenset(found) for name, found in event_ids.items()}, min(since_ms, default=0))


def _step(
    change: Change, user: UserId, rules: Rules, letter: Unapplied | None, sent: Mapping[str, Sequence[SentMessage]]
) -> Step:
    event, record = change.decision.event, change.record
    found = _NO_DIFFERENCES if event is None else differences(event, rules)
    name = "" if event is None else event_id(event, user)
    reasons = change.plan.reasons if change.plan is not None else ()
    return Step(
        place=record.place,
        written_ms=record.timestamp_ms,
        committed_ms=None if event is None else _committed_ms(event),
        table=change.decision.table,
        operation="" if event is None else operation_of(event.op),
        outcome=change.outcome,
        differences=found,
        rules=tuple(reason.rpartition(": ")[0] or reason for reason in reasons),
        messages=_messages(change, sent.get(name, ())),
        event_id=name,
        why=_why(change, letter),
    )


def _committed_ms(event: ChangeEvent) -> int | None:
    with suppress(InvalidValue):  # a record may contain any number
        timestamp(event.position.ts_ms)
        return event.position.ts_ms
    return None


def _messages(change: Change, sent: Sequence[SentMessage]) -> tuple[Message, ...]:
    """The messages that were sent, then those that were only planned."""
    planned = change.plan.messages if change.plan is not None and change.outcome in _PLANNED else ()
    found = sent if change.outcome in _SENT else ()
    channels = {each.channel for each in found}
    return (
        *(Message(each.channel, each) for each in found),
        *(Message(each.channel) for each in planned if each.channel not in channels),
    )


def _why(change: Change, letter: Unapplied | None) -> str:
    decision = change.decision
    if change.outcome is ChangeOutcome.DEAD:
        return _why_dead(change, letter)
    if change.outcome is ChangeOutcome.OLD:
        return change.why
    if change.outcome in (ChangeOutcome.JOINED, ChangeOutcome.NOTHING):
        return decision.reason
    return _WHY.get(change.outcome, "")


def _why_dead(change: Change, letter: Unapplied | None) -> str:
    """The reason in the dead letter; without an open letter the error, because the letter was handled."""
    if letter is not None:
        field = f" ({letter.last.field})" if letter.last.field else ""
        return f"{letter.last.reason}{field}"
    error = change.decision.error
    return "" if error is None else f"{error.field}: {error.problem}" if error.field else error.problem
