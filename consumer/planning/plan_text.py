"""A decision as text for people, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from consumer.events.record import SourceRecord
from consumer.mapping.rules import MESSAGE_FIELDS
from consumer.planning.decision import Decision
from consumer.planning.effect import Fields, Plan, Publish
from consumer.planning.saved_decision import operation_of, saved, to_line
from consumer.planning.shape import Mode


def to_json(record: SourceRecord, decision: Decision) -> str:
    """One JSON object in one line."""
    return to_line(saved(record, decision))


def to_text(record: SourceRecord, decision: Decision) -> str:
    """Several lines: the record's place, its operation and table, then :func:`plan_text` or why there is no plan."""
    what = ""
    if (event := decision.event) is not None:
        what = f"  {operation_of(event.op)} of {event.table}"
    if decision.plan is None:
        advice = f"\n  advice    {decision.error.advice}" if decision.error and decision.error.advice else ""
        return f"{record.place}{what}\n  {decision.outcome:9} {decision.reason}{advice}"
    return f"{record.place}{what}\n" + plan_text(decision.plan)


def plan_text(plan: Plan, joined: str = "with") -> str:
    """A plan as lines, in the order of application. Each line has a verb and its object.

    The scenarios of the tests have the same form. ``joined``: the word before the details of a message.
    """
    return "\n".join(f"  {verb:9} {what}" for verb, what in _lines(plan, joined))


def _lines(plan: Plan, joined: str) -> Iterator[tuple[str, str]]:
    yield "user", str(plan.user)
    yield from (("because", reason) for reason in plan.reasons)
    is_fill = plan.mode is Mode.FILL
    if plan.config is not None and not is_fill:
        yield "write" if plan.config.whole else "if exists", f"{plan.config.key}  {_pairs(plan.config.changed)}"
    if plan.config is not None and plan.config.whole and plan.config.whole != plan.config.changed:
        yield "or whole", f"{plan.config.key}  {_pairs(plan.config.whole)}"
    elif plan.config is not None and is_fill:
        yield "fill", f"{plan.config.key}  {_pairs(plan.config.whole)}"
    if plan.balance is not None:
        yield "fill" if is_fill else "set", f"{plan.balance.key}={plan.balance.value} for {plan.balance.ttl_s} s"
    if plan.update is not None:
        yield "if exists", f"{plan.update.key}  {_pairs(plan.update.fields)}"
    if plan.removed is not None:
        yield from (("remove", key) for key in plan.removed.keys)
    yield from (("clear", key) for key in plan.cleared.keys)
    yield from (("clear", f"{prefix}*") for prefix in plan.cleared.prefixes)
    for message in plan.messages:
        yield "publish", _message(message, joined)
        if message.stream:
            yield "add to", f"{message.stream}  the same message, MAXLEN ~ {message.maxlen}"
    if plan.unreadable:
        yield "leave", f"what can't be read: {', '.join(plan.unreadable)}"


def _message(message: Publish, joined: str) -> str:
    body = msgspec.json.decode(message.body)
    groups = f" ({_group(body['old_group'])} -> {_group(body['new_group'])})" if body["group_changed"] else ""
    said = f"{message.channel}  {body['event_type']}{groups}  {_pairs(body['updated_fields'])}".rstrip()
    details = {name: value for name, value in body.items() if name not in MESSAGE_FIELDS}
    if not details:
        return said
    return f"{said}  {joined} {' '.join(f'{name}={_detail(value)}' for name, value in details.items())}"


def _detail(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _group(name: str | None) -> str:
    return "unknown" if name is None else name or "''"


def _pairs(fields: Fields) -> str:
    return " ".join(f"{name}={value if value and ' ' not in value else repr(value)}" for name, value in fields.items())
