"""Dead letters as text for people and as JSON for programs.

Values that may not be shown are already hidden here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from consumer.commands.shared.finding import Level
from consumer.commands.shared.screen import Entry, Row, Table
from consumer.events.timestamps import shown_time
from consumer.pipeline.letter_state import Letter, LetterResult, Outcome, Unapplied

COLUMNS = ("place", "written", "reason", "user", "times")


def to_json(unapplied: Unapplied) -> str:
    """One JSON object on one line."""
    last = unapplied.last
    return _encoded(
        {
            "place": str(unapplied.place),
            "topic": unapplied.place.topic,
            "partition": unapplied.place.partition,
            "offset": unapplied.place.offset,
            "table": _joined(last.tables),
            "user": _joined(last.users),
            **_letter(last, unapplied),
            "times": len(unapplied.letters),
        }
    )


def table(found: Sequence[Unapplied]) -> Table:
    """One row for each record; why it could not be applied is its note."""
    return Table(COLUMNS, [_row(each) for each in found], frozenset(("times",)), "why")


def _row(unapplied: Unapplied) -> Row:
    last = unapplied.last
    user, times = _joined(last.users) or "", str(len(unapplied.letters))
    cells = (str(unapplied.place), shown_time(last.written_ms), last.reason, user, times)
    return Row(cells, _problem(last, unapplied))


def shown_json(unapplied: Unapplied, record: Mapping[str, Any]) -> str:
    """One record with all its letters; ``record``: its visible values."""
    return _encoded(_shown(unapplied, record))


def shown_text(unapplied: Unapplied, record: Mapping[str, Any]) -> str:
    """The same as lines of text."""
    return "\n".join(_lines(_shown(unapplied, record)))


def result_json(result: LetterResult) -> str:
    """One JSON object on one line."""
    return _encoded(
        {
            "place": str(result.unapplied.place),
            "outcome": result.outcome,
            "why": result.why,
            "advice": result.advice,
        }
    )


def result_text(result: LetterResult) -> str:
    """One line, and a second one if there is advice."""
    why = f": {result.why}" if result.why else ""
    advice = f"\n  what to do: {result.advice}" if result.advice else ""
    return f"{result.outcome:<10} {result.unapplied.place}{why}{advice}"


def shown_result(result: LetterResult) -> Entry:
    """The same for the screen."""
    why = f": {result.why}" if result.why else ""
    advice = [f"what to do: {result.advice}"] if result.advice else []
    level = Level.OK if result.is_done else Level.FAILURE
    return Entry(level, str(result.unapplied.place), f"{result.outcome}{why}", advice, result_text(result))


def summary(results: Sequence[LetterResult]) -> str:
    """The number of records with each outcome."""
    counts = {each: sum(1 for result in results if result.outcome is each) for each in Outcome}
    return ", ".join(f"{count} {each}" for each, count in counts.items() if count) or "nothing to do"


def _shown(unapplied: Unapplied, record: Mapping[str, Any]) -> dict[str, Any]:
    last = unapplied.last
    return {
        "place": str(unapplied.place),
        "table": _joined(last.tables),
        "user": _joined(last.users),
        "timestamp": shown_time(unapplied.record.timestamp_ms),
        "letters": [{"at": str(each.at), **_letter(each, unapplied)} for each in unapplied.letters],
        "record": record,
    }


def _letter(letter: Letter, unapplied: Unapplied) -> dict[str, Any]:
    return {
        "written": shown_time(letter.written_ms),
        "reason": letter.reason,
        "stage": letter.stage,
        "field": letter.field,
        "why": _problem(letter, unapplied),
        "advice": letter.advice,
        "group": letter.group,
    }


def _problem(letter: Letter, unapplied: Unapplied) -> str:
    """The problem without the place, which is shown in its own column."""
    return letter.problem.removeprefix(f"{unapplied.place}: ")


def _joined(parts: Sequence[object]) -> str | None:
    """Parts joined by commas, because several tables are possible; None if there are none."""
    return ",".join(map(str, parts)) or None


def _lines(value: object, indent: int = 0) -> Iterator[str]:
    """Nested objects, one value per line."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if isinstance(part, Mapping | list) and part:
                yield f"{'':{indent}}{name}"
                yield from _lines(part, indent + 2)
            else:
                yield f"{'':{indent}}{name:<12} {_plain(part)}".rstrip()
    elif isinstance(value, list):
        for number, part in enumerate(value, start=1):
            yield f"{'':{indent}}{number}."
            yield from _lines(part, indent + 2)


def _plain(value: object) -> str:
    if value is None:
        return "null"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _encoded(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
