"""The lines of ``status`` as a screen, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from rich.text import Text

from consumer.commands.shared.finding import Level
from consumer.commands.shared.screen import Part, Row, Summary, Table, summary
from consumer.commands.shared.status.facts import Limits
from consumer.commands.shared.status.group_judgement import MEMBER
from consumer.commands.shared.status.judgement import Line
from consumer.commands.shared.status.words import span
from consumer.events.value import timestamp

_MOST_MEMBERS = 10
_GAP = Text("")
_COLUMNS = ("member", "partitions", "records/min", "lag", "behind", "up")
_NUMBERS = frozenset(_COLUMNS[1:])
_ORDER = (Level.FAILURE, Level.WARNING, Level.OK)


def parts(lines: Sequence[Line], limits: Limits, now_ms: int) -> list[Part]:
    """Everything on the screen, from top to bottom."""
    title = Text.assemble(
        ("cdc-consumer status", "bold"), f"  group {limits.group}, prefix {limits.prefix}, {timestamp(now_ms)[:19]}Z"
    )
    others = [each.finding for each in lines if each.finding.subject != MEMBER]
    members = [each for each in lines if each.finding.subject == MEMBER]
    shown: list[Part] = [title, _GAP, others, _GAP]
    if members:
        shown.append(_members(members, now_ms))
        if len(members) > _MOST_MEMBERS:
            shown.append(Text(f"  and {len(members) - _MOST_MEMBERS} more members; --json shows all"))
        shown.append(_GAP)
    return [*shown, result(lines)]


def result(lines: Sequence[Line]) -> Summary:
    """How all is, in one line."""
    return summary(each.finding for each in lines)


def json_lines(lines: Sequence[Line], limits: Limits, now_ms: int) -> Iterator[str]:
    """One object for each line, and one for all at the end."""
    for line in lines:
        finding = line.finding
        told = {"part": finding.subject, "level": finding.level, "found": finding.found, "advice": finding.advice}
        yield _encoded({**told, **line.facts})
    found = result(lines)
    at = {"at": timestamp(now_ms), "group": limits.group, "prefix": limits.prefix, "version": limits.version}
    yield _encoded({"part": "summary", "level": found.level, "found": found.text, "advice": "", **at})


def _members(members: Sequence[Line], now_ms: int) -> Table:
    """The worst first, so that they are seen if there are too many for a screen."""
    worst = sorted(members, key=lambda each: _ORDER.index(each.finding.level))
    return Table(_COLUMNS, [_member(each, now_ms) for each in worst[:_MOST_MEMBERS]], _NUMBERS, "state")


def _member(line: Line, now_ms: int) -> Row:
    told, level = cast("Mapping[str, Any]", line.facts), line.finding.level
    name = str(told["name"])
    state = line.finding.found.removeprefix(f"{name}: ")
    if "started_ms" not in told:
        return Row((name, "", "", "", "", ""), state, level)
    worker = "" if told["worker"] is None else f" worker {told['worker']}"
    cells = (
        f"{name}{worker}",
        str(sum(map(len, told["partitions"].values()))),
        f"{told['per_minute']:,.0f}",
        f"{told['lag_records']:,}",
        span(told["lag_s"]),
        span((now_ms - told["started_ms"]) / 1000),
    )
    return Row(cells, "" if state == "ready" else state, level)


def _encoded(value: Mapping[str, object]) -> str:
    return msgspec.json.encode(value).decode()
