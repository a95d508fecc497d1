"""What an audit leaves in Redis for ``status``: its counts and causes, no users."""

from __future__ import annotations

from consumer.commands.audit.finding import AuditResult
from consumer.commands.audit.users import UserSelection
from consumer.errors import ServerError, ServerUnavailable
from consumer.pipeline.reports import AuditReport
from consumer.settings.sources import Settings
from consumer.sink.report_store import ReportStore, log_refusal


def report_of(result: AuditResult, selection: UserSelection, ended_ms: int) -> AuditReport | None:
    """The report; None after an audit of named users, which shows nothing about all others."""
    if selection.users:
        return None
    tables = ", ".join(selection.tables)
    sample = f"a sample of {selection.sample} of each table" if selection.sample else ""
    return AuditReport(
        ended_ms=ended_ms,
        users=result.users,
        wrong=result.wrong.total(),
        share_right=result.share_right,
        causes={str(cause): count for cause, count in result.wrong.most_common()},
        mended=result.mended,
        unusable=result.unusable,
        scope=", ".join(part for part in (tables, sample) if part),
    )


class LeftReport:
    """Leaves the reports of one audit, or of the rounds of ``--watch``. A refusal is logged once."""

    def __init__(self, settings: Settings) -> None:
        self._store = ReportStore(settings.redis, settings.kafka.group_id)
        self._is_refused = False

    def leave(self, report: AuditReport | None) -> None:
        """Write the report. The audit's own result does not depend on it."""
        if report is None:
            return
        try:
            self._store.write_audit(report)
        except ServerUnavailable:  # it was there a moment ago: the next audit leaves its report
            return
        except ServerError as error:
            if not self._is_refused:
                self._is_refused = True
                log_refusal(error, "this audit")
