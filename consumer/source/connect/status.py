"""The state of a connector and its tasks, as Connect reports it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec

_CAUSES = 3
RUNNING, FAILED = "RUNNING", "FAILED"
_STOPPED = ("PAUSED", "STOPPED")


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """States with Connect's names (RUNNING, FAILED, ...), and the traces of the failed parts, the connector's first.

    A trace may contain secrets. ``version``: of the connector's plugin; "" if Connect is too old to say it.
    """

    connector: str
    tasks: tuple[str, ...]
    traces: tuple[str, ...] = field(default=(), repr=False)
    version: str = ""

    @property
    def state(self) -> str:
        """One state for all: FAILED if a part failed, else that of the first part that is not RUNNING, else RUNNING."""
        if self.failed:
            return FAILED
        return next((part for part in (self.connector, *self.tasks) if part != RUNNING), RUNNING)

    @property
    def running(self) -> bool:
        """Whether the connector and all its tasks are RUNNING."""
        return self.connector == RUNNING and bool(self.tasks) and set(self.tasks) == {RUNNING}

    @property
    def failed(self) -> bool:
        """Whether the connector or a task failed."""
        return FAILED in (self.connector, *self.tasks)

    @property
    def is_stopped(self) -> bool:
        """Whether somebody paused or stopped it; then it does not start by itself."""
        return self.connector in _STOPPED

    def causes(self, redact: Callable[[str], str]) -> list[str]:
        """The first causes in each trace, on one line, without secrets."""
        return [first_causes(trace, redact) for trace in self.traces]


def how_to_start(name: str, state: str) -> str:
    """What to do with a connector that is, or whose task is, in ``state``: not RUNNING, not FAILED, "" for no task."""
    if state in _STOPPED:
        path = f"/connectors/{quote(name, safe='')}/resume"
        return f"somebody did this; to resume it: curl --request PUT $CDC_CONNECT__URL{path}"
    return "wait until Connect has started it; if it does not: cdc-consumer connect status --restart"


class _Part(msgspec.Struct):
    state: str
    trace: str = ""
    version: str | None = None  # null if the connector could not be started


class _Status(msgspec.Struct):
    connector: _Part
    tasks: list[_Part]


def read_status(answer: object) -> ConnectorStatus:
    """Parse Connect's answer about one connector.

    Raises:
        msgspec.ValidationError: the answer is not a status.

    """
    return _status(msgspec.convert(answer, _Status))


def _status(found: _Status) -> ConnectorStatus:
    parts = [found.connector, *found.tasks]
    traces = tuple(part.trace for part in parts if part.trace and part.state == FAILED)
    return ConnectorStatus(
        found.connector.state, tuple(task.state for task in found.tasks), traces, found.connector.version or ""
    )


@dataclass(frozen=True, slots=True)
class Present:
    """A connector in Connect. ``repr`` omits the configuration, because it contains secrets."""

    name: str
    config: Mapping[str, str] = field(repr=False)
    status: ConnectorStatus


class _Info(msgspec.Struct):
    config: dict[str, str]


class _Both(msgspec.Struct):
    info: _Info | None = None
    status: _Status | None = None


def read_present(answer: object) -> list[Present]:
    """Parse Connect's answer about all connectors. A new connector without a status is left out.

    Raises:
        msgspec.ValidationError: the answer has another form.

    """
    found = msgspec.convert(answer, dict[str, _Both])
    return [
        Present(name, both.info.config, _status(both.status))
        for name, both in sorted(found.items())
        if both.info is not None and both.status is not None
    ]


def first_causes(trace: str, redact: Callable[[str], str], count: int = _CAUSES) -> str:
    """The first ``count`` causes in a trace, without stack frames and without secrets."""
    # Redact the whole text first: a secret may contain a line end.
    lines = [line.strip() for line in redact(trace).splitlines()]
    causes = [line for line in lines if line and not line.startswith(("at ", "... "))]
    return " / ".join(causes[:count])


def to_text(name: str, status: ConnectorStatus, causes: list[str]) -> str:
    """One line for the connector, and one for each cause."""
    tasks = ", ".join(f"task {number} {state}" for number, state in enumerate(status.tasks)) or "no task"
    return "\n".join([f"{name}: {status.connector}, {tasks}", *(f"  {cause}" for cause in causes)])


def to_json(name: str, status: ConnectorStatus, causes: list[str]) -> str:
    """One JSON object on one line."""
    body = {"connector": name, "state": status.connector, "tasks": status.tasks, "causes": causes}
    return msgspec.json.encode(body).decode()
