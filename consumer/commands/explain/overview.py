"""A user's values in a few lines: whether they are as in the database, the problems, and the last changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from consumer.commands.explain.report import NOBODY, NOT_ASKED, summary
from consumer.commands.explain.timeline_report import entries
from consumer.commands.shared.explain.explanation import Explanation
from consumer.commands.shared.explain.user_values import Value
from consumer.commands.shared.finding import Finding, Level, ok
from consumer.commands.shared.screen import Part
from consumer.sink.comparison import SPELLING

MORE = "each value, what set it, and the plans: --full"


def parts(known: Explanation, table: str, width: int | None) -> list[Part]:
    """Everything on the screen, from top to bottom. ``table``: the user's own. ``width``: None for a pipe."""
    title = Text.assemble((str(known.user), "bold"), f"  {table}, times in UTC")
    shown: list[Part] = [*([title] if width is not None else []), *_findings(known)]
    if known.steps:
        shown.append(Text(f"the last {len(known.steps)} of {len(known.history.changes)} changes"))
        shown += entries(known.steps, width, table, has_streams=known.has_streams)
    return [*shown, Text(MORE), summary(known)]


def _findings(known: Explanation) -> Iterator[Finding]:
    user = str(known.user)
    yield from (Finding(level, user, text) for level, text in known.graded())
    if known.is_nobody:
        yield ok(user, NOBODY)
    stored = known.stored_user
    yield _key("config hash", known.user_values.config, is_there=stored.config is not None)
    ttl = f"expires in {stored.ttl_s} s" if stored.ttl_s is not None else ""
    balance = known.user_values.balance
    yield _key("balance string", [] if balance is None else [balance], is_there=stored.balance is not None, more=ttl)
    yield _key("portfolio hash", known.user_values.portfolio, is_there=stored.portfolio is not None)
    if spelled := known.user_values.spelled():
        yield ok(f"the {SPELLING}", ", ".join(spelled))
    if not known.knows_database:
        yield ok("database", NOT_ASKED)


def _key(name: str, values: Sequence[Value], *, is_there: bool, more: str = "") -> Finding:
    """How many of a key's values are as in the database; which ones are not is among the problems."""
    if not is_there:
        return ok(name, "does not exist")
    compared = [each for each in values if each.is_compared]
    wrong = sum(each.is_wrong for each in compared)
    count = f"{len(values)} value{'s' if len(values) != 1 else ''}"
    said = [count, *([f"{len(compared) - wrong} of {len(compared)} as in the database"] if compared else []), more]
    text = ", ".join(each for each in said if each)
    return Finding(Level.FAILURE if wrong else Level.OK, name, text)
