"""What `check`, `dead-letters` and `audit` print on a terminal and in a pipe: one look for all."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from io import StringIO

import pytest
from msgspec import structs
from rich.console import Console

from consumer.commands.audit.cause import Cause
from consumer.commands.audit.finding import AuditResult
from consumer.commands.audit.shown import shown, shown_summary
from consumer.commands.dead_letters.report import shown_result, table
from consumer.commands.shared.check.redis_findings import of_persistence, of_rights
from consumer.commands.shared.finding import Finding, Level, failure, ok, warning
from consumer.commands.shared.screen import Row, Screen, Summary, Table, summary
from consumer.errors import InvalidValue
from consumer.mapping.reference import reference
from consumer.pipeline.letter_state import LetterResult, Outcome
from consumer.sink.rights import TRACKING, needs, wanted
from tests.unit.commands.snapshot import check, printed
from tests.unit.commands.test_audit_findings import LEFT, MISSING, finding
from tests.unit.commands.test_letter import RECORD, box, written

RULES = reference()
FINDINGS: list[Finding] = [
    ok("redis", "version 7.2.4 answers; maxmemory-policy volatile-lru"),
    of_persistence(is_logged=False),
    *of_rights("cdc", [*[*needs(RULES, "g")][:3], TRACKING], wanted(RULES, "g", has_functions=True)),
    ok("topic trading.trading.live_users", "8 partitions"),
    failure("connector trading-mysql", "task 0 FAILED: java.net.ConnectException", "remove the cause"),
]
TOPIC = "trading.trading.live_users"
LETTERS = box(
    [
        written(0, structs.replace(RECORD, topic=TOPIC)),
        written(1, structs.replace(RECORD, topic=TOPIC, offset=1234), InvalidValue("is no number", field="margin")),
    ]
).open()


def test_check() -> None:
    check("check", *FINDINGS, summary(FINDINGS))


def test_dead_letters() -> None:
    check("dead_letters_list", table(LETTERS))
    results = [
        LetterResult(LETTERS[0], Outcome.APPLIED),
        LetterResult(LETTERS[1], Outcome.STAYS, "margin: is no number", "correct the row, then take a snapshot of it"),
    ]
    check("dead_letters_replay", *map(shown_result, results))


def test_audit() -> None:
    result = AuditResult(users=12_000, mended=1, orphans=1, wrong=Counter({Cause.OVERWRITTEN: 2, Cause.FOREIGN: 1}))
    found = [finding(), finding(MISSING), replace(finding(LEFT), cause=Cause.FOREIGN, is_mended=True)]
    check("audit", *map(shown, found), shown_summary(result))


def test_the_last_line_says_how_all_is() -> None:
    fine, doubt, bad = ok("a", "is"), warning("b", "may be"), failure("c", "is not")
    assert summary([fine]) == Summary(Level.OK, "ok")
    assert summary([fine], "1 finding") == Summary(Level.OK, "ok: 1 finding")
    assert summary([fine, doubt]) == Summary(Level.WARNING, "ok, with 1 warning")
    assert summary([doubt, doubt], "2 findings") == Summary(Level.WARNING, "ok, with 2 warnings: 2 findings")
    assert summary([doubt, bad]) == Summary(Level.FAILURE, "not ok: c: is not")
    assert summary([bad, doubt, bad]) == Summary(Level.FAILURE, "not ok: c: is not (and 1 more)")


def test_a_table_that_is_too_wide_has_its_cells_below_each_other() -> None:
    wide = Table(("name", "count"), [Row(("x" * 70, "12345678901"), "why")], frozenset(("count",)), "state")
    assert printed(wide, width=80).splitlines() == ["x" * 70, "  count 12345678901", "  why"]
    assert len(printed(wide, width=120).splitlines()[0]) > 80
    plain = printed(wide, width=80, is_terminal=False).splitlines()
    assert [line.split() for line in plain] == [["name", "count", "state"], ["x" * 70, "12345678901", "why"]]


def test_text_is_no_markup() -> None:
    """Places and patterns have brackets."""
    assert printed(ok("[red]a[/red]", "t[0]@5 :smile:"), width=80) == "✓ [red]a[/red]: t[0]@5 :smile:\n"


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "✓"), ("latin-1", "ok")])
def test_a_terminal_without_these_symbols_gets_words(encoding: str, mark: str) -> None:
    class Out(StringIO):
        @property
        def encoding(self) -> str:  # type: ignore[override]
            return encoding

    out = Out()
    Screen(Console(file=out, width=80, force_terminal=True, color_system=None)).show(ok("a", "b"))
    assert out.getvalue().rstrip() == f"{mark} a: b"


def test_columns_are_below_their_names_also_with_words_for_symbols() -> None:
    class Out(StringIO):
        encoding = "latin-1"

    out = Out()
    rows = [Row(["a", "1"], level=Level.OK), Row(["b", "2"], level=Level.WARNING)]
    Screen(Console(file=out, width=80, force_terminal=True, color_system=None)).show(Table(["x", "y"], rows))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines == ["        x  y", "ok      a  1", "warning b  2"]


def test_colours_only_on_a_terminal() -> None:
    for is_terminal in (True, False):
        out = StringIO()
        console = Console(file=out, width=80, force_terminal=is_terminal, color_system="standard", _environ={})
        Screen(console).show(failure("a", "b", "c"), [ok("a", "b")], summary([ok("a", "b")]))
        assert ("\x1b[" in out.getvalue()) == is_terminal
