"""A decision as one JSON object in one line: for programs, and for a comparison with a decision made elsewhere.

``plan --json`` and ``tail --json`` print this form, and ``plan --save`` writes it. Version 0.2 printed it without the
parts that have a default here, so its output can be compared too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec

from consumer.errors import DECODE_ERRORS, InvalidValue, Undecodable
from consumer.events.event import Operation
from consumer.events.record import SourceRecord
from consumer.events.value import timestamp
from consumer.mapping.keys import UserId
from consumer.planning.decision import Decision, Outcome
from consumer.planning.effect import Plan
from consumer.planning.shape import Mode

_OPERATIONS = {
    Operation.CREATE: "insert",
    Operation.UPDATE: "update",
    Operation.DELETE: "delete",
    Operation.READ: "snapshot read",
}


class SavedUpsert(msgspec.Struct, frozen=True, tag_field="effect", tag="upsert"):
    """:class:`consumer.planning.effect.Upsert`. ``only_missing``: nothing that exists is overwritten."""

    key: str
    changed: Mapping[str, str]
    whole: Mapping[str, str]
    only_missing: bool


class SavedPut(msgspec.Struct, frozen=True, tag_field="effect", tag="put"):
    """:class:`consumer.planning.effect.Put`. ``only_missing``: an existing string is not overwritten."""

    key: str
    value: str
    ttl_s: int
    only_missing: bool


class SavedUpdate(msgspec.Struct, frozen=True, tag_field="effect", tag="update"):
    """:class:`consumer.planning.effect.Update`."""

    key: str
    fields: Mapping[str, str]


class SavedRemove(msgspec.Struct, frozen=True, tag_field="effect", tag="remove"):
    """:class:`consumer.planning.effect.Remove`."""

    keys: tuple[str, ...]


class SavedInvalidate(msgspec.Struct, frozen=True, tag_field="effect", tag="invalidate"):
    """:class:`consumer.planning.effect.Invalidate`; ``patterns``: prefixes of keys, each with ``*`` at its end."""

    keys: tuple[str, ...]
    patterns: tuple[str, ...]


class SavedPublish(msgspec.Struct, frozen=True, tag_field="effect", tag="publish", omit_defaults=True):
    """:class:`consumer.planning.effect.Publish`; ``message``: the JSON text of the message."""

    channel: str
    message: msgspec.Raw
    stream: str = ""
    maxlen: int = 0


SavedEffect: TypeAlias = SavedUpsert | SavedPut | SavedUpdate | SavedRemove | SavedInvalidate | SavedPublish


class SavedDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The decision about one record.

    ``time``: when the change was made. ``user``: "live:7", or None if the user is not known. ``because``: the rules
    that caused the effects. ``guard``: the key of the guard, "" if nothing is applied. ``effects``: in the order of
    their application.
    """

    topic: str
    partition: int
    offset: int
    time: str = ""
    table: str = ""
    operation: str = ""
    outcome: Outcome
    reason: str
    because: tuple[str, ...] | None = None
    user: str | None
    guard: str | None = None
    effects: tuple[SavedEffect, ...]

    @property
    def place(self) -> str:
        """The place of the record."""
        return f"{self.topic}[{self.partition}]@{self.offset}"

    @property
    def what(self) -> str:
        """The operation and the table, such as "update of live_users"; "" if they are not known."""
        return f"{self.operation} of {self.table}" if self.operation and self.table else ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """The rules that caused the effects, such as "group: group"; also of a decision that an old version saved."""
        if self.outcome is not Outcome.PLANNED:
            return ()
        return tuple(self.reason.split("; ")) if self.because is None else self.because


def saved(record: SourceRecord, decision: Decision) -> SavedDecision:
    """The decision about ``record`` in this form."""
    plan, event, user = decision.plan, decision.event, user_of(decision)
    return SavedDecision(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        time=time_of(record, decision),
        table=decision.table,
        operation="" if event is None else operation_of(event.op),
        outcome=decision.outcome,
        reason=decision.reason,
        because=() if plan is None else plan.reasons,
        user=None if user is None else str(user),
        guard="" if plan is None else plan.guard,
        effects=() if plan is None else tuple(_effects(plan)),
    )


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SavedDecision).decode


def to_line(decision: SavedDecision) -> str:
    """One JSON object, without the line break."""
    return _encode(decision).decode()


def from_line(line: bytes | str) -> SavedDecision:
    """The decision in a line that :func:`to_line` or an earlier version gave.

    Raises:
        Undecodable: the line has another form. The error contains no value of the line.
    """
    try:
        found = _decode(line)
        for effect in found.effects:
            if isinstance(effect, SavedPublish):
                msgspec.json.decode(effect.message)  # what is kept raw was not looked at
    except DECODE_ERRORS:
        raise Undecodable("not a decision", advice="give a file that plan --save or plan --json wrote") from None
    return found


def operation_of(op: Operation) -> str:
    """The operation in words."""
    return _OPERATIONS.get(op, str(op))


def user_of(decision: Decision) -> UserId | None:
    """The user whose change it is, as far as that is known: for a rejection, from the record's key."""
    if decision.plan is not None:
        return decision.plan.user
    if decision.user is not None:
        return decision.user
    users = {mark.user for mark in decision.marks}
    return users.pop() if len(users) == 1 else None


def time_of(record: SourceRecord, decision: Decision) -> str:
    """The source's time of the change; if that is not known, Kafka's time of the record."""
    for ms in (*((decision.event.position.ts_ms,) if decision.event is not None else ()), record.timestamp_ms):
        try:
            return timestamp(ms)
        except InvalidValue:  # a record may contain any number
            continue
    return ""


def _effects(plan: Plan) -> Iterator[SavedEffect]:
    is_fill = plan.mode is Mode.FILL
    if (config := plan.config) is not None:
        yield SavedUpsert(config.key, config.changed, config.whole, is_fill)
    if (balance := plan.balance) is not None:
        yield SavedPut(balance.key, balance.value, balance.ttl_s, is_fill)
    if (update := plan.update) is not None:
        yield SavedUpdate(update.key, update.fields)
    if (removed := plan.removed) is not None:
        yield SavedRemove(removed.keys)
    cleared = plan.cleared
    if cleared.keys or cleared.prefixes:
        yield SavedInvalidate(cleared.keys, tuple(f"{prefix}*" for prefix in cleared.prefixes))
    for message in plan.messages:
        yield SavedPublish(message.channel, msgspec.Raw(message.body.encode()), message.stream, message.maxlen)
