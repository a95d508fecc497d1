"""The states of the connectors in ``run``: metrics, a reason for not ready, and log lines."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from consumer.errors import CdcError
from consumer.observability.connect_log import ConnectLog, with_prefix
from consumer.observability.connector_metrics import ConnectorMetrics
from consumer.pipeline.retry import REPEAT_S
from consumer.source.connect.client import ConnectApi
from consumer.source.connect.failure import failure_of
from consumer.source.connect.status import FAILED, RUNNING, Present, how_to_start

_log = structlog.get_logger(__name__)
LOOK_S = 2.0
TIMEOUT_S = 5.0
_DOWN = (FAILED, "PAUSED", "STOPPED")


class ConnectorReadiness:
    """Watches the connectors of Connect whose ``topic.prefix`` is ``prefix``.

    If Connect can't be asked, that is logged and is no reason for not ready: heartbeats show whether changes
    arrive. A problem that lasts is logged every ``repeat_s`` seconds.
    """

    def __init__(
        self, api: ConnectApi, prefix: str, clock: Callable[[], float] = time.time, repeat_s: float = REPEAT_S
    ) -> None:
        self._api = api
        self._prefix = prefix
        self._clock = clock
        self._down: dict[str, tuple[str, float]] = {}
        self._connect_log = ConnectLog(repeat_s)
        self.states = ConnectorMetrics()

    def look(self) -> None:
        """Ask Connect once."""
        try:
            found = [each for each in self._api.present() if each.config.get("topic.prefix") == self._prefix]
        except CdcError as error:
            self._connect_log.unanswered(error)
            return
        self._connect_log.answered()
        self.states.looked(found)
        self._connect_log.absent("" if found else with_prefix(self._prefix))
        for each in found:
            self._log_change(each)
        gone = self._down.keys() - {each.name for each in found}
        self._down = {name: down for name, down in self._down.items() if name not in gone}

    def unready(self) -> str:
        """Which connector failed, or is paused or stopped; "" if none."""
        return next((f"the connector {name} is {state}" for name, (state, _) in self._down.items()), "")

    def close(self) -> None:
        self._api.close()

    def _log_change(self, each: Present) -> None:
        name, state, now = each.name, each.status.state, self._clock()
        known = self._down.get(name)
        if state in _DOWN:
            if known is None or known[0] != state:
                self._down = {**self._down, name: (state, now if known is None else known[1])}
                failure = failure_of("\n".join(each.status.traces))
                _log.warning(
                    "the connector does not run: changes do not arrive",
                    action="connector.down",
                    connector=name,
                    state=state,
                    cause=self._api.one_line(failure.line),
                    advice=failure.advice if state == FAILED else how_to_start(name, state),
                )
        elif state == RUNNING and known is not None:
            self._down = {other: down for other, down in self._down.items() if other != name}
            _log.info(
                "the connector runs again", action="connector.up", connector=name, down_s=round(now - known[1], 1)
            )
