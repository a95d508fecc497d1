"""What Redis holds, user by user, checked against the rows of the database."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Rules
from demo import verification
from demo.dump import Dump
from demo.expectation import Expected
from demo.screen import Screen
from demo.verification import Difference

_SHOWN = ("wallet_balance", "margin", "group", "account_number")


def show(screen: Screen, expected: Expected, found: Dump, rules: Rules) -> list[Difference]:
    """Print the table and what differs; answers the differences."""
    table = Table(box=box.SIMPLE_HEAD, border_style="dim", header_style="bold")
    for title in ("user", *_SHOWN, "fields", "balance string", "portfolio", "check"):
        table.add_column(title, no_wrap=title in ("user", "check"))
    for user in (*expected.users, *expected.gone):
        wrong = verification.of_user(user, expected, found, rules)
        mark = Text("✗ differs", "bold red") if wrong else Text("✓", "green")
        table.add_row(Text(user, "cyan"), *_cells(user, found, rules), mark)
    screen.table(table)
    differences = verification.differences(expected, found, rules)
    for each in differences:
        screen.bad(str(each))
    if not differences:
        count = sum(len(fields) for fields in expected.users.values())
        screen.good(
            f"all {count} fields of {len(expected.users)} users equal the database's rows, "
            f"and {len(expected.gone)} users who are gone left no key"
        )
    return differences


def _cells(user: str, found: Dump, rules: Rules) -> Sequence[Text]:
    who = UserId.from_text(user)
    config, balance, portfolio = (
        render(template, who) for template in (rules.names.config, rules.names.balance, rules.names.portfolio)
    )
    fields = found.hash(config)
    if not fields:
        return [Text("gone", "dim"), *(Text("") for _ in range(len(_SHOWN) + 2))]
    owned = len(fields.keys() - verification.STAMPS)
    string = f"{found.values.get(balance, 'none')}, {round(found.expiries.get(balance, 0) / 1000)} s"
    mirrored = found.hash(portfolio).get("wallet_balance", "none")
    shown = [Text(fields.get(name, "") or '""', "" if fields.get(name) else "dim") for name in _SHOWN]
    return [*shown, Text(str(owned)), Text(string), Text(mirrored)]
