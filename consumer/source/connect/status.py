"""The state of a connector and of its tasks, as Connect tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

_CAUSES = 3
RUNNING, FAILED = "RUNNING", "FAILED"
_HELD = ("PAUSED", "STOPPED")


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """States as Connect names them (RUNNING, FAILED, ...), and the traces of the failed parts, the connector's first.

    A trace may quote secrets.
    """

    connector: str
    tasks: tuple[str, ...]
    traces: tuple[str, ...] = field(default=(), repr=False)

    @property
    def running(self) -> bool:
        """Whether all of it runs."""
        return self.connector == RUNNING and bool(self.tasks) and set(self.tasks) == {RUNNING}

    @property
    def failed(self) -> bool:
        """Whether the connector or a task failed."""
        return FAILED in (self.connector, *self.tasks)

    @property
    def held(self) -> bool:
        """Whether somebody paused or stopped it, so that it will not run by itself."""
        return self.connector in _HELD

    def causes(self, redact: Callable[[str], str]) -> list[str]:
        """The first causes that each trace names, in one line, without secrets."""
        return [first_causes(trace, redact) for trace in self.traces]


class _Part(msgspec.Struct):
    state: str
    trace: str = ""


class _Status(msgspec.Struct):
    connector: _Part
    tasks: list[_Part]


def read_status(answer: object) -> ConnectorStatus:
    """From Connect's answer.

    Raises:
        msgspec.ValidationError: it is no status.

    """
    found = msgspec.convert(answer, _Status)
    parts = [found.connector, *found.tasks]
    traces = tuple(part.trace for part in parts if part.trace and part.state == FAILED)
    return ConnectorStatus(found.connector.state, tuple(task.state for task in found.tasks), traces)


def first_causes(trace: str, redact: Callable[[str], str], count: int = _CAUSES) -> str:
    """The first ``count`` causes that a trace names, without the stack's frames and without secrets."""
    # Redacted as a whole: a secret may hold a line's end.
    lines = [line.strip() for line in redact(trace).splitlines()]
    causes = [line for line in lines if line and not line.startswith(("at ", "... "))]
    return " / ".join(causes[:count])


def to_text(name: str, status: ConnectorStatus, causes: list[str]) -> str:
    """One line, and one for each cause."""
    tasks = ", ".join(f"task {number} {state}" for number, state in enumerate(status.tasks)) or "no task"
    return "\n".join([f"{name}: {status.connector}, {tasks}", *(f"  {cause}" for cause in causes)])


def to_json(name: str, status: ConnectorStatus, causes: list[str]) -> str:
    """One JSON object in one line."""
    body = {"connector": name, "state": status.connector, "tasks": status.tasks, "causes": causes}
    return msgspec.json.encode(body).decode()
