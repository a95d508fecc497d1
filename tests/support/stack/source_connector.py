"""What a test does to a running connector over Connect's REST API: stop, set its offsets, start it after it failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from consumer.errors import ServerError, ServerUnavailable
from tests.support.stack.connect import Connect

Offsets: TypeAlias = list[dict[str, Any]]
"""As Connect tells and takes them: the connector's own partition and offset."""
WITHIN_S = 60.0
EVERY_S = 0.2


class SourceConnector:
    """A connector of ``connect``, by name."""

    def __init__(self, connect: Connect, name: str) -> None:
        self._connect = connect
        self.name = name

    def offsets(self) -> Offsets:
        """What Connect has stored: from there the task goes on after it was killed."""
        found: Offsets = self._call("GET", "/offsets")["offsets"]
        return found

    def stop(self) -> None:
        """End the task, and return when it has ended; its offsets are stored."""
        self._call("PUT", "/stop")
        self._wait(lambda: self._states() == ("STOPPED",), "does not stop")

    def resume(self) -> None:
        self._call("PUT", "/resume")

    def restart(self) -> None:
        """End connector and task, and start them again from the stored offsets."""
        self._call("POST", "/restart?includeTasks=true")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The task does not run inside the block; nothing waits for it after the block."""
        self.stop()
        yield
        self.resume()

    def set_offsets(self, offsets: Offsets) -> None:
        """Let the task go on from other offsets, once it is resumed. Only for a stopped connector."""
        self._call("PATCH", "/offsets", {"offsets": offsets})

    def delete_offsets(self) -> None:
        """Let the connector begin as a new one. Only for a stopped connector."""
        self._call("DELETE", "/offsets")

    def go_on_until(self, holds: Callable[[], object], what: str, within_s: float = WITHIN_S) -> None:
        """Wait until ``holds`` answers something true; meanwhile start the task again whenever it failed."""
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, f"{what}; Connect says {self._states()}"
            self.restart_if_failed()
            time.sleep(EVERY_S)

    def restart_if_failed(self) -> None:
        """Start the connector and its task again if one of them failed, and Connect answers."""
        with self._connect.api() as api:
            try:
                if api.status(self.name).failed:
                    api.restart_failed(self.name)
            except ServerError:  # Connect is down, starts, or rebalances
                return

    def _states(self) -> tuple[str, ...]:
        with self._connect.api() as api:
            try:
                status = api.status(self.name)
            except ServerError as error:
                return (str(error),)
        return (status.connector, *status.tasks)

    def _wait(self, holds: Callable[[], bool], problem: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not holds():
            assert time.monotonic() < deadline, f"{self.name} {problem}: {self._states()}"
            time.sleep(EVERY_S)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """Again while Connect rebalances."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            with self._connect.api() as api:
                try:
                    return api._call(method, f"/connectors/{self.name}{path}", body)
                except ServerUnavailable:
                    if time.monotonic() > deadline:
                        raise
            time.sleep(EVERY_S)
