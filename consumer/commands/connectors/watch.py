"""``connect watch``: restarts failed connectors if the cause is temporary."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

import structlog

from consumer.commands.connectors.restarts import Attempts, Step, decide
from consumer.errors import ConfigError, ServerError
from consumer.observability.connect_log import ConnectLog, with_prefix
from consumer.observability.connector_metrics import WatchMetrics
from consumer.pipeline.retry import REPEAT_S, backoff_s
from consumer.source.connect.client import ConnectApi
from consumer.source.connect.failure import Failure, Kind
from consumer.source.connect.status import Present

_log = structlog.get_logger(__name__)
LOOK_S = 1.0
# A restart that fails costs Connect little, but the longest pause is added to every outage of the database.
_FIRST_S, _LONGEST_S = 1.0, 5.0


class ConnectorWatch:
    """Watches the connectors whose ``topic.prefix`` is ``prefix``, or those with these names.

    A problem with Connect that lasts is logged every ``repeat_s`` seconds.
    """

    def __init__(
        self,
        api: ConnectApi,
        prefix: str,
        names: Collection[str],
        metrics: WatchMetrics,
        repeat_s: float = REPEAT_S,
    ) -> None:
        self._api = api
        self._prefix = prefix
        self._names = frozenset(names)
        self._metrics = metrics
        self._attempts: dict[str, Attempts] = {}
        self.log = ConnectLog(repeat_s)

    def look(self, now: float, pause_s: Callable[[int], float]) -> None:
        """Ask Connect once, and act.

        Raises:
            ServerError: Connect can't be asked, or refuses a restart.
        """
        found = [each for each in self._api.present() if self._is_mine(each)]
        self._log_absent(found)
        self._attempts = {each.name: self._attempts.get(each.name, Attempts()) for each in found}
        for each in found:
            before = self._attempts[each.name]
            known, step, failure = decide(before, each.status, now, pause_s)
            self._act(each.name, step, failure, before, known, now)
            self._attempts[each.name] = known
        refused = {name: kind for name, known in self._attempts.items() if (kind := known.refused) is not None}
        self._metrics.looked(found, refused)

    def _is_mine(self, each: Present) -> bool:
        return each.name in self._names if self._names else each.config.get("topic.prefix") == self._prefix

    def _log_absent(self, found: Sequence[Present]) -> None:
        absent = sorted(self._names - {each.name for each in found})
        if not self._names and not found:
            absent = [with_prefix(self._prefix)]
        self.log.absent(", ".join(absent))

    def _act(
        self, name: str, step: Step, failure: Failure | None, before: Attempts, known: Attempts, now: float
    ) -> None:
        if step is Step.RUNS:
            failed_s = round(now - (before.failed_at or now), 1)
            _log.info("the connector runs again", action="connector.runs", connector=name, failed_s=failed_s)
        if failure is None:
            return
        cause = self._api.one_line(failure.line)
        if step is Step.WAIT and before.failed_at is None:
            _log.warning(
                "the connector failed, and will be restarted",
                action="connector.failed",
                connector=name,
                problem=failure.problem if failure.kind is Kind.PASSES else "the cause is unknown",
                cause=cause,
                again_in_s=round((known.again_at or now) - now, 1),
            )
        elif step is Step.REFUSE:
            _log.error(
                f"the connector is not restarted: {failure.problem}",
                action="connector.refused",
                connector=name,
                reason=failure.kind,
                cause=cause,
                restarts=known.restarts,
                advice=failure.advice,
            )
        elif step is Step.RESTART:
            self._api.restart_failed(name)
            self._metrics.restarts.labels(name).inc()
            _log.info(
                "the connector was restarted",
                action="connector.restarted",
                connector=name,
                cause=cause,
                in_a_row=known.restarts,
            )


def watch(
    watched: ConnectorWatch, metrics: WatchMetrics, sleep: Callable[[float], None], stop: Callable[[], bool]
) -> None:
    """Check repeatedly until told to stop. If Connect is away, log it and wait.

    Raises:
        ConfigError: a setting can't be used, and Connect has never answered; later this is waited for too.
    """
    failures, has_answered = 0, False
    while not stop():
        try:
            watched.look(time.monotonic(), pause_s)
        except (ServerError, ConfigError) as error:
            if isinstance(error, ConfigError) and not has_answered:
                raise
            failures += 1
            metrics.unanswered(str(error))
            watched.log.unanswered(error)
            sleep(backoff_s(failures, _FIRST_S, _LONGEST_S))
            continue
        watched.log.answered()
        failures, has_answered = 0, True
        sleep(LOOK_S)


def once(watched: ConnectorWatch) -> None:
    """Check once; restart without a pause what failed for a cause that may be temporary.

    Raises:
        ServerError, ConfigError: as :meth:`ConnectorWatch.look`.
    """
    for _ in range(2):  # the first check plans the restart, the second one does it
        watched.look(time.monotonic(), lambda _: 0.0)


def pause_s(restarts: int) -> float:
    """The pause before the n-th restart in a row, in seconds."""
    return backoff_s(restarts, _FIRST_S, _LONGEST_S)
