"""A decision as text that a person reads, and as JSON that a program reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from consumer.decision import Decision
from consumer.effect import Fields, Plan
from consumer.event import Operation
from consumer.record import SourceRecord

_OPERATIONS = {
    Operation.CREATE: "insert",
    Operation.UPDATE: "update",
    Operation.DELETE: "delete",
    Operation.READ: "snapshot read",
}


def to_json(record: SourceRecord, decision: Decision) -> str:
    """One JSON object in one line."""
    return msgspec.json.encode(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "outcome": decision.outcome,
            "reason": decision.reason,
            "user": str(decision.plan.user) if decision.plan else None,
            "effects": list(_effects(decision.plan)) if decision.plan else [],
        }
    ).decode()


def _effects(plan: Plan) -> Iterator[dict[str, Any]]:
    """The effects in the order of their application."""
    if plan.config is not None:
        yield {
            "effect": "upsert",
            "key": plan.config.key,
            "changed": plan.config.changed,
            "whole": plan.config.whole,
            "only_missing": plan.mode == "fill",
        }
    if plan.balance is not None:
        yield {
            "effect": "put",
            "key": plan.balance.key,
            "value": plan.balance.value,
            "ttl_s": plan.balance.ttl_s,
            "only_missing": plan.mode == "fill",
        }
    if plan.portfolio is not None and plan.mode != "fill":
        yield {"effect": "update", "key": plan.portfolio.key, "fields": plan.portfolio.fields}
    if plan.removed is not None:
        yield {"effect": "remove", "keys": plan.removed.keys}
    if plan.cleared.keys or plan.cleared.prefixes:
        patterns = [f"{prefix}*" for prefix in plan.cleared.prefixes]
        yield {"effect": "invalidate", "keys": plan.cleared.keys, "patterns": patterns}
    for message in plan.messages:
        yield {"effect": "publish", "channel": message.channel, "message": msgspec.Raw(message.body.encode())}


def to_text(record: SourceRecord, decision: Decision) -> str:
    """Several lines: where the record lay, what it was, what follows from it and why."""
    what = ""
    if (event := decision.event) is not None:
        what = f"  {_OPERATIONS.get(event.op, event.op)} of {event.table}"
    if (plan := decision.plan) is None:
        return f"{record.place}{what}\n  {decision.outcome:9} {decision.reason}"
    return "\n".join([f"{record.place}{what} {plan.user}", *_lines(plan)])


def _lines(plan: Plan) -> Iterator[str]:
    yield from (f"  because   {reason}" for reason in plan.reasons)
    only = " where missing" if plan.mode == "fill" else ""
    if plan.config is not None:
        yield f"  write     {plan.config.key}  {_pairs(plan.config.changed)}{only}"
    if plan.balance is not None:
        yield f"  set       {plan.balance.key} = {plan.balance.value} for {plan.balance.ttl_s} s{only}"
    if plan.portfolio is not None and not only:
        yield f"  if exists {plan.portfolio.key}  {_pairs(plan.portfolio.fields)}"
    if plan.removed is not None:
        yield f"  remove    {', '.join(plan.removed.keys)}"
    cleared = [*plan.cleared.keys, *(f"{prefix}*" for prefix in plan.cleared.prefixes)]
    if cleared:
        yield f"  clear     {', '.join(cleared)}"
    for message in plan.messages:
        body = msgspec.json.decode(message.body)
        yield f"  publish   {message.channel}  {body['event_type']}"


def _pairs(fields: Fields) -> str:
    return " ".join(f"{name}={value if value and ' ' not in value else repr(value)}" for name, value in fields.items())
