"""An explanation as text for an operator, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from consumer.commands.explain.explanation import Explanation
from consumer.commands.explain.history import Change, ChangeOutcome
from consumer.commands.explain.user_values import Note, Value
from consumer.commands.explain.written_values import WrittenValue
from consumer.events.value import timestamp
from consumer.guard.state import GuardState
from consumer.guard.version import Version
from consumer.mapping.keys import render
from consumer.planning.plan_text import plan_text
from consumer.sink.comparison import SPELLING


def to_text(known: Explanation, last: int) -> str:
    """Lines of text, with the plans of the ``last`` changes."""
    return "\n".join(_lines(known, last))


def _lines(known: Explanation, last: int) -> Iterator[str]:
    names, user, user_values, stored_user = known.names, known.user, known.user_values, known.stored_user
    yield str(user)
    problems = known.problems()
    yield from (f"  ! {each}" for each in problems)
    if known.is_nobody:
        yield "  the user is neither in the database nor in Redis"
    elif not problems:
        yield "  no problem was found"
    if spelled := user_values.spelled():
        yield f"  the {SPELLING}: {', '.join(spelled)}"
    if not known.knows_database:
        yield "  the database was not asked: CDC_DATABASE__URL is not set"
    yield ""
    yield f"config  {render(names.config, user)}{'' if stored_user.config is not None else '  does not exist'}"
    yield from _values(user_values.config)
    if user_values.others:
        yield f"  fields of other programs: {', '.join(user_values.others)}"
    ttl = f"  expires in {stored_user.ttl_s} s" if stored_user.ttl_s is not None else ""
    yield f"balance  {render(names.balance, user)}{ttl if stored_user.balance is not None else '  does not exist'}"
    if user_values.balance is not None:
        yield from _values([user_values.balance])
    missing = "" if stored_user.portfolio is not None else "  does not exist: its owner has not created it"
    yield f"portfolio  {render(names.portfolio, user)}{missing}"
    yield from _values(user_values.portfolio)
    yield f"version  {render(names.guard, user)}{'' if stored_user.guard.versions else '  none is stored'}"
    yield from _guard(stored_user.guard)
    yield from _changes("not applied yet", known.history.of(ChangeOutcome.PENDING))
    if known.letters:
        yield f"dead letters  {len(known.letters)}"
        for each in known.letters:
            yield f"  {each.place}  {timestamp(each.last.written_ms)}  {each.last.reason}"
            if each.last.advice:
                yield f"      what to do: {each.last.advice}"
    shown = known.history.changes[-last:] if last else ()
    yield from _changes(f"the last {len(shown)} of {len(known.history.changes)} changes", shown, with_plan=True)


def _values(values: Sequence[Value]) -> Iterator[str]:
    for each in values:
        comparison = ""
        if each.is_spelled:
            comparison = f"  database {_shown(each.database)}: the {SPELLING}"
        elif each.is_compared:
            comparison = "  as in the database" if not each.is_wrong else f"  !! database {_shown(each.database)}"
        yield f"  {each.name or 'value':<24} {_shown(each.redis)}{comparison}"
        yield f"      {_origin(each)}"


def _origin(value: Value) -> str:
    written = value.written
    if written is None:
        return str(value.note)
    text = f"{_place(written.version)}  {timestamp(written.version.ts_ms)}  {'; '.join(written.reasons)}"
    if value.note is Note.AS_WRITTEN:
        return text
    return f"{value.note}: {_shown(written.value)} was written by {text}"


def _guard(guard: GuardState) -> Iterator[str]:
    for table, version in guard.versions.items():
        deleted = "  deleted" if table in guard.deleted else ""
        yield f"  {table:<24} {_place(version)}  {timestamp(version.ts_ms)}{deleted}"
    for table, place in guard.marks.items():
        yield f"  {table:<24} incomplete since {place}"
    if guard.kept:
        yield f"  kept until the config hash exists: {', '.join(sorted(guard.kept))}"


def _changes(title: str, changes: Sequence[Change], *, with_plan: bool = False) -> Iterator[str]:
    if not changes:
        return
    yield title
    for each in changes:
        record, table = each.record, each.decision.table or "unknown table"
        yield f"  {record.place}  {timestamp(record.timestamp_ms)}  {table}  {each.fate}: {each.decision.reason}"
        if with_plan and (plan := _plan(each)) is not None:
            yield "\n".join(f"    {line}" for line in plan[1:])


def _plan(change: Change) -> list[str] | None:
    """The lines of a plan that was or may be applied; None for a plan that the guard refused.

    What linked rows add to a message depends on the batch in which they were read, which is not known any more.
    """
    if change.plan is None or change.fate is ChangeOutcome.OLD:
        return None
    return plan_text(change.plan, "and, if its row was read in the same batch:").splitlines()


def _place(version: Version) -> str:
    return f"{version.topic}[{version.partition}]@{version.offset}"


def _shown(value: str | None) -> str:
    return "nothing" if value is None else repr(value)


def to_json(known: Explanation, last: int) -> str:
    """One JSON object."""
    guard, stored_user = known.stored_user.guard, known.stored_user
    shown = known.history.changes[-last:] if last else ()
    balance = known.user_values.balance
    return msgspec.json.encode(
        {
            "user": str(known.user),
            "problems": known.problems(),
            "spelled_another_way": known.user_values.spelled(),
            "in_database": known.is_in_database if known.knows_database else None,
            "config": [_value_json(each) for each in known.user_values.config]
            if stored_user.config is not None
            else None,
            "fields_of_others": known.user_values.others,
            "balance": None if balance is None else _value_json(balance) | {"ttl_s": stored_user.ttl_s},
            "portfolio": None
            if stored_user.portfolio is None
            else [_value_json(each) for each in known.user_values.portfolio],
            "versions": {
                table: _version_json(version) | {"deleted": table in guard.deleted}
                for table, version in guard.versions.items()
            },
            "marks": {table: str(place) for table, place in guard.marks.items()},
            "pending": [_change_json(each) for each in known.history.of(ChangeOutcome.PENDING)],
            "dead_letters": [
                {
                    "place": str(each.place),
                    "written": timestamp(each.last.written_ms),
                    "reason": each.last.reason,
                    "advice": each.last.advice,
                }
                for each in known.letters
            ],
            "changes": [_change_json(each) for each in shown],
        }
    ).decode()


def _value_json(value: Value) -> dict[str, Any]:
    return {
        "field": value.name,
        "redis": value.redis,
        "database": value.database,
        "difference": SPELLING if value.is_spelled else "another value" if value.is_wrong else None,
        "note": value.note,
        "set_by": None if value.written is None else _written_json(value.written),
    }


def _written_json(written: WrittenValue) -> dict[str, Any]:
    return {
        "table": written.table,
        "value": written.value,
        "because": written.reasons,
        **_version_json(written.version),
    }


def _version_json(version: Version) -> dict[str, Any]:
    return {
        "record": _place(version),
        "time": timestamp(version.ts_ms),
    }


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "record": str(change.record.place),
        "time": timestamp(change.record.timestamp_ms),
        "table": change.decision.table or None,
        "fate": change.fate,
        "reason": change.decision.reason,
        "plan": _plan(change),
    }
