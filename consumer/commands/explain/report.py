"""Everything that is known about a user's values: on the screen, as text for a pipe, and as one JSON object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich.text import Text

from consumer.commands.shared.explain.explanation import Explanation
from consumer.commands.shared.explain.history import Change
from consumer.commands.shared.explain.outcome import ChangeOutcome
from consumer.commands.shared.explain.user_values import Note, Value
from consumer.commands.shared.explain.written_values import WrittenValue
from consumer.commands.shared.finding import Finding, Level
from consumer.commands.shared.screen import Entry, Summary
from consumer.commands.shared.screen import summary as summary_of
from consumer.events.timestamps import shown_time
from consumer.guard.state import GuardState
from consumer.guard.version import Version
from consumer.mapping.keys import render
from consumer.planning.plan_text import plan_text
from consumer.sink.comparison import SPELLING

NOBODY = "the user is neither in the database nor in Redis"
NOT_ASKED = "the database was not asked: CDC_DATABASE__URL is not set"


def parts(known: Explanation, shown: Sequence[Change], count: int) -> Iterator[Entry | Text]:
    """Everything but the summary, with the plans of the changes ``shown``, the last ones of ``count``."""
    yield Text(str(known.user), "bold")
    yield from problems(known)
    yield Text("")
    yield from _stored(known)
    yield from _changes("not applied yet", known.history.of(ChangeOutcome.PENDING))
    yield from _letters(known)
    yield from _changes(f"the last {len(shown)} of {count} changes", shown, with_plan=True)


def problems(known: Explanation) -> Iterator[Entry]:
    """The problems; if there are none, that there are none. Then what else limits the answer."""
    found = known.graded()
    yield from (Entry(level, "", text, [], f"  ! {text}") for level, text in found)
    if known.is_nobody:
        yield _entry(None, NOBODY)
    elif not found:
        yield _entry(Level.OK, "no problem was found")
    if spelled := known.user_values.spelled():
        yield _entry(None, f"the {SPELLING}: {', '.join(spelled)}")
    if not known.knows_database:
        yield _entry(None, NOT_ASKED)


def summary(known: Explanation) -> Summary:
    """Whether there are problems, in one line."""
    found = [Finding(level, str(known.user), text) for level, text in known.graded()]
    return summary_of(found, "" if found else NOBODY if known.is_nobody else "no problem was found")


def _stored(known: Explanation) -> Iterator[Entry | Text]:
    names, user, user_values, stored_user = known.names, known.user, known.user_values, known.stored_user
    yield _title("config", render(names.config, user), "" if stored_user.config is not None else "does not exist")
    yield from _values(user_values.config)
    if user_values.others:
        yield _entry(None, f"fields of other programs: {', '.join(user_values.others)}")
    ttl = f"expires in {stored_user.ttl_s} s" if stored_user.ttl_s is not None else ""
    yield _title("balance", render(names.balance, user), ttl if stored_user.balance is not None else "does not exist")
    if user_values.balance is not None:
        yield from _values([user_values.balance])
    missing = "" if stored_user.portfolio is not None else "does not exist: its owner has not created it"
    yield _title("portfolio", render(names.portfolio, user), missing)
    yield from _values(user_values.portfolio)
    guard = stored_user.guard
    yield _title("version", render(names.guard, user), "" if guard.versions else "none is stored")
    yield from _guard(guard)


def _title(name: str, key: str, more: str) -> Text:
    return Text.assemble((name, "bold"), f"  {key}", f"  {more}" if more else "")


def _entry(level: Level | None, text: str) -> Entry:
    return Entry(level, "", text, [], f"  {text}")


def _values(values: Sequence[Value]) -> Iterator[Entry]:
    for each in values:
        level, compared, mark = None, "", ""
        if each.is_spelled:
            level, compared = Level.OK, f"database {_shown(each.database)}: the {SPELLING}"
        elif each.is_wrong:
            level, compared, mark = Level.FAILURE, f"database {_shown(each.database)}", "!! "
        elif each.is_compared:
            level, compared = Level.OK, "as in the database"
        name, redis, origin = each.name or "value", _shown(each.redis), _origin(each)
        told = f"{redis}, {compared}" if compared else redis
        plain = f"  {name:<24} {redis}{f'  {mark}{compared}' if compared else ''}\n      {origin}"
        yield Entry(level, name, told, [origin], plain)


def _origin(value: Value) -> str:
    written = value.written
    if written is None:
        return str(value.note)
    text = f"{_place(written.version)}  {shown_time(written.version.ts_ms)}  {'; '.join(written.reasons)}"
    if value.note is Note.AS_WRITTEN:
        return text
    return f"{value.note}: {_shown(written.value)} was written by {text}"


def _guard(guard: GuardState) -> Iterator[Entry]:
    for table, version in guard.versions.items():
        told = f"{_place(version)}  {shown_time(version.ts_ms)}{'  deleted' if table in guard.deleted else ''}"
        yield Entry(None, table, told, [], f"  {table:<24} {told}")
    for table, place in guard.marks.items():
        told = f"incomplete since {place}"
        yield Entry(Level.FAILURE, table, told, [], f"  {table:<24} {told}")
    if guard.kept:
        yield _entry(None, f"kept until the config hash exists: {', '.join(sorted(guard.kept))}")


def _letters(known: Explanation) -> Iterator[Entry | Text]:
    if known.letters:
        yield Text(f"dead letters  {len(known.letters)}")
    for each in known.letters:
        told = f"{each.place}  {shown_time(each.last.written_ms)}  {each.last.reason}"
        advice = [f"what to do: {each.last.advice}"] if each.last.advice else []
        yield Entry(Level.FAILURE, "", told, advice, "\n".join([f"  {told}", *(f"      {line}" for line in advice)]))


def _changes(title: str, changes: Sequence[Change], *, with_plan: bool = False) -> Iterator[Entry | Text]:
    if not changes:
        return
    yield Text(title)
    for each in changes:
        record, table = each.record, each.decision.table or "unknown table"
        told = f"{record.place}  {shown_time(record.timestamp_ms)}  {table}  {each.outcome}: {each.decision.reason}"
        lines = (_plan(each) or [])[1:] if with_plan else []
        plain = "\n".join([f"  {told}", *(f"    {line}" for line in lines)])
        yield Entry(each.outcome.level, "", told, [line.strip() for line in lines], plain)


def _plan(change: Change) -> list[str] | None:
    """The lines of a plan that was or may be applied; None for a plan that the guard refused.

    What linked rows add to a message depends on the batch in which they were read, which is not known any more.
    """
    if change.plan is None or change.outcome in (ChangeOutcome.OLD, ChangeOutcome.DEAD):
        return None
    return plan_text(change.plan, "and, if its row was read in the same batch:").splitlines()


def _place(version: Version) -> str:
    return f"{version.topic}[{version.partition}]@{version.offset}"


def _shown(value: str | None) -> str:
    return "nothing" if value is None else repr(value)


def to_json(known: Explanation, changes: Sequence[Change]) -> str:
    """One JSON object, with the changes ``changes``."""
    guard, stored_user = known.stored_user.guard, known.stored_user
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
                    "written": shown_time(each.last.written_ms),
                    "reason": each.last.reason,
                    "advice": each.last.advice,
                }
                for each in known.letters
            ],
            "changes": [_change_json(each) for each in changes],
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
        "time": shown_time(version.ts_ms),
    }


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "record": str(change.record.place),
        "time": shown_time(change.record.timestamp_ms),
        "table": change.decision.table or None,
        "fate": change.outcome,
        "reason": change.decision.reason,
        "plan": _plan(change),
    }
