"""Log lines about Kafka Connect, for every command that asks it: it can't be asked, or a connector is missing."""

from __future__ import annotations

import structlog

from consumer.errors import CdcError
from consumer.pipeline.retry import Reminder

_log = structlog.get_logger(__name__)


class ConnectLog:
    """Logs each of the two problems when it begins or changes, and again every ``repeat_s`` seconds while it lasts."""

    def __init__(self, repeat_s: float) -> None:
        self._unanswered = Reminder(repeat_s)
        self._absent = Reminder(repeat_s)

    def unanswered(self, error: CdcError) -> None:
        """Connect can't be asked."""
        if self._unanswered.is_due(str(error)):
            _log.warning(
                "Kafka Connect can't be asked", action="connect.waiting", error=str(error), advice=error.advice
            )

    def answered(self) -> None:
        """Connect answered."""
        if self._unanswered.is_on:
            self._unanswered.is_over()
            _log.info("Kafka Connect answers again", action="connect.resumed")

    def absent(self, connectors: str) -> None:
        """Connect does not have these connectors; "" if none is missing."""
        if not connectors:
            self._absent.is_over()
        elif self._absent.is_due(connectors):
            _log.warning("there is no such connector", action="connector.absent", connector=connectors)


def with_prefix(prefix: str) -> str:
    """A connector that is known by its topic prefix alone, for :meth:`ConnectLog.absent`."""
    return f"one with topic.prefix={prefix}"
