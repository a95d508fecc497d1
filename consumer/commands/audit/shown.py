"""The results of an audit on a screen."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from consumer.commands.audit.cause import WHY
from consumer.commands.audit.differing_user import Shape
from consumer.commands.audit.finding import AuditResult, Finding, summary_json, summary_text, to_json, to_text, what
from consumer.commands.shared.finding import Level
from consumer.commands.shared.screen import Entry, Screen
from consumer.events.value import timestamp


def shown(finding: Finding) -> Entry:
    """The difference, and below it the cause."""
    level = Level.OK if finding.is_mended else Level.FAILURE
    if finding.difference.shape is Shape.SPELLING:
        level = Level.OK
    mended = ", mended" if finding.is_mended else ""
    detail = f" ({finding.detail})" if finding.detail else ""
    cause = f"{finding.cause}: {WHY[finding.cause]}{detail}; first seen {timestamp(finding.since_ms)}"
    return Entry(level, str(finding.user), f"{what(finding.difference)}{mended}", [cause], to_text(finding))


def shown_summary(result: AuditResult) -> Entry:
    """The share of users who are right, and below it the counts."""
    text = summary_text(result)
    first, *below = text.splitlines()
    level = Level.OK if result.is_clean else Level.FAILURE
    return Entry(level, "", first, [" ".join(line.split()) for line in below], text)


class Results:
    """Prints results as they are found: on the screen, or as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._screen = Screen()

    def say(self, found: Sequence[Finding]) -> None:
        """The findings about one user."""
        for each in found:
            if self._as_json:
                typer.echo(to_json(each))
            else:
                self._screen.show(shown(each))

    def end(self, result: AuditResult) -> None:
        """The summary."""
        if self._as_json:
            typer.echo(summary_json(result))
        else:
            self._screen.show(shown_summary(result))
