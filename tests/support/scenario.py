"""Scenarios: text files of changes and the plans that follow, as tests/scenarios/README.md describes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from consumer.events.record import SourceRecord
from consumer.planning.decision import Decision
from consumer.planning.plan_text import plan_text

FOLDER = Path(__file__).parents[1] / "scenarios"
_OPERATIONS = {"insert": "c", "update": "u", "delete": "d", "read": "r", "incremental": "r"}
_TOGETHER = "in one database transaction"
_OUTCOMES = ("plan", "nothing", "rejected")
_VERBS = (
    *("user", "because", "write", "or whole", "fill", "set", "if exists", "remove", "clear", "publish"),
    *_OUTCOMES,
)
_CHANGE = re.compile(rf"({'|'.join(_OPERATIONS)}) (\w+) (\S+) at (\S+)")
_NUMBERS = (
    {"user_id", "admin_id", "account_id"}
    | {"leverage", "status", "is_active", "country_id", "mam_id", "mam_status", "pam_id", "pam_status"}
    | {
        "copytrader_id",
        "copytrading_status",
    }
)


class Unreadable(Exception):
    """A scenario that says something unknown."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row's change: columns as they come in JSON; ``before`` or ``after`` is None where the operation has none."""

    operation: str
    table: str
    user_id: object
    time: str
    before: dict[str, object] | None
    after: dict[str, object] | None

    def record(self, offset: int, transaction: int | None = None) -> SourceRecord:
        """The record that Debezium writes for it on MySQL, JSON without schema, in its own database transaction."""
        ts_ms = _ms(self.time)
        snapshot = {"read": "true", "incremental": "incremental"}.get(self.operation, "false")
        gtid = f"3e11fa47-71ca-11e1-9e33-c80aa9429562:{offset + 1 if transaction is None else transaction}"
        envelope = {
            "before": self.before,
            "after": self.after,
            "source": {
                "version": "3.5.0.Final",
                "connector": "mysql",
                "name": "trading",
                "ts_ms": ts_ms,
                "snapshot": snapshot,
                "db": "trading",
                "table": self.table,
                "server_id": 0 if snapshot == "true" else 223344,
                "gtid": None if snapshot == "true" else gtid,
                "file": "binlog.000003",
                "pos": 1000 + 100 * offset,
                "row": 0,
            },
            "transaction": None,
            "op": _OPERATIONS[self.operation],
            "ts_ms": ts_ms + 5,
        }
        return SourceRecord(
            topic=f"trading.trading.{self.table}",
            partition=0,
            offset=offset,
            timestamp_ms=ts_ms + 7,
            key=msgspec.json.encode({"id": self.user_id}),
            value=msgspec.json.encode(envelope),
        )


@dataclass(slots=True)
class Scenario:
    """A title, changes in their order, and the expected outcome of each."""

    title: str
    place: str
    changes: list[Change] = field(default_factory=list)
    outcomes: list[list[str]] = field(default_factory=list)
    is_in_outcome: bool = False
    is_one_transaction: bool = False

    def records(self) -> list[SourceRecord]:
        """The changes as records that are read together."""
        transaction = 1 if self.is_one_transaction else None
        return [change.record(offset, transaction) for offset, change in enumerate(self.changes)]


def load_all() -> list[Scenario]:
    """Every scenario of the folder."""
    files = sorted(path for path in FOLDER.glob("*.txt") if path.name != "rows.txt")
    return [scenario for path in files for scenario in load(path)]


def load(path: Path) -> Iterator[Scenario]:
    """The scenarios of a file.

    Raises:
        Unreadable: naming file and line.
    """
    rows = _rows(path.parent)
    scenario: Scenario | None = None
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        place = f"{path.name}:{number}"
        text = line.strip()
        if text.startswith("## "):
            if scenario is not None:
                yield _checked(scenario)
            scenario = Scenario(text.removeprefix("## "), place)
        elif text and not text.startswith("#"):
            if scenario is None:
                raise Unreadable(f"{place}: a line before the first scenario")
            _read_line(scenario, line, place, rows)
    if scenario is not None:
        yield _checked(scenario)


def said(decision: Decision, expected: list[str]) -> list[str]:
    """The decision in a scenario's words; without the whole hash where ``expected`` leaves that line out."""
    if decision.plan is None:
        return [f"{decision.outcome} {decision.reason}"]
    found = [re.sub(r"\s+", " ", line.strip()) for line in plan_text(decision.plan).splitlines()]
    if any(line.startswith("or whole") for line in expected):
        return found
    return [line for line in found if not line.startswith("or whole")]


def _read_line(scenario: Scenario, line: str, place: str, rows: dict[str, dict[str, str]]) -> None:
    text = line.strip()
    if not line.startswith(" "):
        if found := _CHANGE.fullmatch(text):
            operation, table, user_id, time = found.groups()
            if table not in rows:
                raise Unreadable(f"{place}: rows.txt has no table {table}")
            scenario.is_in_outcome = False
            scenario.changes.append(_change(operation, table, user_id, time, rows[table]))
            return
        if text == _TOGETHER:
            scenario.is_one_transaction = True
            return
        verb, _, reason = text.partition(" ")
        if verb not in _OUTCOMES:
            raise Unreadable(f"{place}: neither a change nor an outcome: {text}")
        scenario.is_in_outcome = True
        scenario.outcomes.append([] if verb == "plan" else [f"{verb} {reason.strip()}"])
        return
    if not scenario.is_in_outcome:
        column, _, values = text.partition(" ")
        _set(scenario.changes[-1], column, values.strip(), place)
        return
    if not any(text.startswith(f"{verb} ") for verb in _VERBS):
        raise Unreadable(f"{place}: no word of a plan: {text}")
    scenario.outcomes[-1].append(re.sub(r"\s+", " ", text))


def _change(operation: str, table: str, user_id: str, time: str, row: dict[str, str]) -> Change:
    number: object = int(user_id) if user_id.lstrip("-").isdecimal() else user_id
    key = next((column for column, text in row.items() if text == "KEY"), "id")
    image = {column: _value(column, text) for column, text in row.items()} | {key: number}
    before = None if operation in ("insert", "read", "incremental") else dict(image)
    after = None if operation == "delete" else dict(image)
    return Change(operation, table, number, time, before, after)


def _set(change: Change, column: str, values: str, place: str) -> None:
    old, arrow, new = values.partition(" -> ")
    if bool(arrow) != (change.before is not None and change.after is not None):
        raise Unreadable(f"{place}: an update has `old -> new`, every other change one value")
    for image, text in ((change.before, old), (change.after, new if arrow else old)):
        if image is None:
            continue
        if text.strip() == "ABSENT":
            image.pop(column, None)
        else:
            image[column] = _value(column, text.strip())


def _value(column: str, text: str) -> object:
    special = {"NULL": None, "''": "", "UNAVAILABLE": "__debezium_unavailable_value", "true": True, "false": False}
    if text in special:
        return special[text]
    return int(text) if column in _NUMBERS and text.lstrip("-").isdecimal() else text


def _rows(folder: Path) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    file = folder / "rows.txt"
    for line in (file if file.exists() else FOLDER / "rows.txt").read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            table = rows.setdefault(line.strip(), {})
        elif line.startswith(" "):
            column, _, value = line.strip().partition(" ")
            table[column] = value.strip()
    return rows


def _checked(scenario: Scenario) -> Scenario:
    if not scenario.changes or len(scenario.changes) != len(scenario.outcomes):
        raise Unreadable(f"{scenario.place}: {scenario.title}: each change needs one outcome")
    return scenario


def _ms(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)
