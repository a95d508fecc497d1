"""One line for a decision: what it shows, and what it leaves out where there is no room."""

from __future__ import annotations

import sys

import pytest
from msgspec import structs

from consumer.commands.tail.cli import printer
from consumer.commands.tail.line import TailLine, line_of, text
from consumer.commands.tail.run import Filter
from consumer.guard.history import Histories
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.planning.decision import Outcome, decide, decide_all
from consumer.source import recording
from tests.docs.markdown import PROJECT
from tests.e2e.feed import deposit, poison
from tests.unit.commands.snapshot import check_text

STORY = list(recording.read(PROJECT / "demo" / "recordings" / "trading.jsonl.gz"))
RULES = reference()
DECIDED = list(zip(STORY, decide_all(STORY, RULES), strict=True))
LONG = TailLine(
    "2026-11-23T14:49:12.978Z",
    "trading.trading.live_users",
    "live_users",
    "[5]@4",
    "live:7",
    "planned",
    ("wallet_balance", "margin", "net_profit", "leverage"),
    ("user_updates", "balance_updates", "admin_user_updates"),
)


@pytest.mark.parametrize("width", [80, 120, None])
def test_how_lines_look(width: int | None) -> None:
    lines = ["".join(text(line_of(*each, RULES), width)) for each in DECIDED]
    check_text(f"tail.{width or 'pipe'}.txt", "\n".join(lines) + "\n")
    assert width is None or max(map(len, lines)) <= width


@pytest.mark.parametrize(
    ("width", "rest"),
    [
        (200, " wallet_balance, margin, net_profit, leverage → user_updates, balance_updates, admin_user_updates"),
        (96, " wallet_balance +3 → user_updates, balance_updates +1"),
        (80, " wallet_balance +3 → user_updates +2"),
        (76, " wallet_balance +3 → 3 channels"),
        (20, " wallet_balance +3 → 3 channels"),  # no word is broken
    ],
)
def test_names_without_room_are_counted(width: int, rest: str) -> None:
    assert text(LONG, width)[2] == rest


def test_a_long_reason_ends_after_a_word() -> None:
    line = TailLine(
        **{**{name: getattr(LONG, name) for name in TailLine.__slots__}, "fields": ("a " * 60,), "channels": ()}
    )
    before, outcome, rest = text(line, 80)
    assert len(before + outcome + rest) <= 80
    assert rest.endswith(" a …")


def test_a_rejection_shows_the_field_and_no_value() -> None:
    record = poison(7, 0)
    line = line_of(record, decide(record, RULES), RULES)
    assert line.outcome == "rejected"
    assert "hunter2" not in "".join(text(line, None))
    record = deposit(7, 0, wallet_balance="hunter2")
    line = line_of(record, decide(record, RULES), RULES)
    assert (line.user, line.fields[0].partition(":")[0]) == ("live:7", "wallet_balance")
    assert "hunter2" not in "".join(text(line, None))


@pytest.mark.parametrize(
    ("wanted", "users"),
    [
        (Filter(users=frozenset({UserId("live", 42)})), {"live:42"}),
        (Filter(tables=frozenset({"demo_users"})), {"demo:7", "demo:42"}),
        (Filter(channels=frozenset({"group_updates"})), {"live:7"}),
        (Filter(outcomes=frozenset({Outcome.REJECTED})), set()),
    ],
)
def test_what_is_wanted(wanted: Filter, users: set[str]) -> None:
    shown = {line_of(*each, RULES).user for each in DECIDED if wanted.takes(each[1], RULES)}
    assert shown == users


def test_a_record_that_can_not_be_read_may_be_of_a_user() -> None:
    records = [deposit(7, 0), poison(7, 1)]  # the first shows which table the topic has
    _, rejected = decide_all(records, RULES)
    assert Filter(users=frozenset({UserId("live", 7)})).takes(rejected, RULES)
    assert not Filter(users=frozenset({UserId("live", 8)})).takes(rejected, RULES)


def test_a_change_that_was_sent_again_is_shown_with_its_user() -> None:
    records = [deposit(7, 0), structs.replace(deposit(7, 0), offset=1)]
    _, again = decide_all(records, RULES, history=Histories(None, 5000))
    line = line_of(records[1], again, RULES)
    assert (line.user, line.outcome) == ("live:7", "nothing")
    assert "sent before" in line.fields[0]


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("no_color", ["", "1"])
def test_colour_and_a_line_with_the_date_are_for_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool, no_color: str
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    say = printer(RULES, as_json=False)
    for each in DECIDED[:2]:
        say(*each)
    shown = capsys.readouterr().out
    assert ("\x1b[32mplanned" in shown) == (is_terminal and not no_color)
    assert ("\x1b" in shown) == (is_terminal and not no_color)
    assert shown.startswith("2026-11-23, times in UTC\n14:49:12 demo_users[5]@0" if is_terminal else "2026-11-23T14:")
    assert len(shown.splitlines()) == 2 + is_terminal
