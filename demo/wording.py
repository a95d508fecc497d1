"""Decisions, answers and messages in words for somebody who sees the product for the first time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from consumer.events.event import ChangeEvent, Operation
from consumer.guard.version import Verdict
from consumer.mapping.rules import Rules
from consumer.pipeline.protocols import Applied
from consumer.planning.diff import Change, diff
from consumer.planning.effect import Plan
from demo.subscriber import Heard

OPERATIONS = {
    Operation.CREATE: "insert into",
    Operation.UPDATE: "update of",
    Operation.DELETE: "delete from",
    Operation.READ: "snapshot read of",
}
VERDICTS = {
    Verdict.NEWER: "accepted",
    Verdict.DUPLICATE: "refused: this very change was applied before",
    Verdict.STALE: "refused: a later change of this user was applied before",
}
_WHY = {
    "financial": "money changed, so caches computed from it are cleared and balance subscribers told",
    "balance": "the balance string follows, and the portfolio if there is one",
    "profile": "a profile field changed, so statistics are cleared and subscribers told",
    "trading": "margins depend on it, so the margin cache is cleared",
    "group": "prices and margins depend on the group: caches cleared, portfolio follows, group subscribers told",
    "outside the hash": "news, but Redis holds no such field: nothing is written, subscribers are told",
    "snapshot read": "the row stood there before: the whole hash is written, caches cleared, nobody told",
    "user created": "a new user: the whole row becomes the hash",
    "user_transactions": "the ledger's row sets no balance: it stands beside it, and in the messages of the change",
    "user deleted": "every key of the user goes, positions and orders stay",
}

_TELLING = ("wallet_balance", "margin", "leverage", "group", "status", "account_number", "country_id")


def why(reason: str) -> str:
    """A plan's reason (``financial: wallet_balance``) with what it means."""
    name, _, columns = reason.partition(": ")
    meaning = _WHY.get(name, "")
    head = f"{name} ({columns})" if columns else name
    return f"{head}: {meaning}" if meaning else head


def differed(event: ChangeEvent, rules: Rules) -> str:
    """Fields with their old and new values; of columns that Redis does not hold only the names."""
    table = rules.table(event.table)
    if event.op is Operation.DELETE:
        return "the row is gone"
    if table is None:
        return "a row of a table that says more about a change of money"
    if event.before is None or event.after is None:
        return "there is no old row: every field is new"
    found = diff(event.before, event.after, table, event.schema)
    parts = [f"{name}  {_old(change)} → {_value(change.new)}" for name, change in found.fields.items()]
    parts += [f"{name}  (its value stays in the database)" for name in found.outside]
    return ", ".join(parts) or "nothing that matters"


def _old(change: Change) -> str:
    return _value(change.old) if change.old_known else "unknown"


def _value(text: str | None) -> str:
    return "NULL" if text is None else text or '""'


def answer(plan: Plan, applied: Applied) -> str:
    """What Redis said to a plan."""
    parts = [VERDICTS[applied.verdict]]
    if applied.config_created is not None:
        parts.append("config hash created" if applied.config_created else "config hash updated")
    if applied.updated is not None and plan.update is not None:
        what = plan.update.key.rpartition(":")[2]
        parts.append(f"{what} updated" if applied.updated else f"no {what}, none made")
    if applied.cleared:
        parts.append(f"{applied.cleared} key{'' if applied.cleared == 1 else 's'} removed")
    return " · ".join(parts)


def fields(pairs: Mapping[str, str]) -> str:
    """``name=value`` pairs in one line."""
    return "  ".join(f"{name}={value or repr(value)}" for name, value in pairs.items())


def some(pairs: Mapping[str, str]) -> str:
    """Pairs, or of a whole user the fields that say most."""
    if len(pairs) <= 6:
        return fields(pairs)
    shown = {name: value for name, value in pairs.items() if name in _TELLING}
    return f"{fields(shown)}  and {len(pairs) - len(shown)} more fields"


def split(keys: Sequence[str], rules: Rules) -> tuple[list[str], list[str]]:
    """Derived keys, and all others."""
    prefixes = tuple(template.partition("<")[0] for template in rules.derived())
    derived = [key for key in keys if key.startswith(prefixes)]
    return derived, [key for key in keys if key not in derived]


def heads(keys: Sequence[str]) -> str:
    """Derived keys of one user by the first part of their names."""
    counted = Counter(key.partition(":")[0] for key in keys)
    return ", ".join(f"{head} ({count} keys)" if count > 1 else head for head, count in counted.items())


def message(heard: Heard) -> str:
    """Channel, event type and what a subscriber is told; a whole user is told by the number of fields."""
    body = heard.body
    told: Mapping[str, str] = body["updated_fields"]
    text = f"{len(told)} fields" if len(told) > 4 else fields(told) or "no fields"
    if heard.channel == "group_updates" and "old_group" in body:
        text = f"{body['old_group']} → {body['new_group']}"
    details = [str(body[name]) for name in ("transaction_id", "transaction_type", "amount") if name in body]
    said = f"  ({', '.join(details)})" if details else ""
    return f"{heard.channel:<18}  {body['event_type']:<17}  {text}{said}"
