"""``cdc-consumer run`` as an operator starts it: an own process that knows three settings and its metrics port."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.settings.variables import PREFIX
from demo.lifeline import child
from demo.redis_server import free_port

_TAIL_LINES = 15


class ConsumerEnded(Exception):
    """The process ended by itself, or did not do its work in time; the text ends with its last lines."""


class ConsumerProcess:
    """A running consumer."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, metrics_port: int) -> None:
        self._process = process
        self._log = log
        self.metrics_port = metrics_port

    def wait_until(self, is_done: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
        """Return when ``is_done`` says so.

        Raises:
            ConsumerEnded: it did not come to that.

        """
        deadline = time.monotonic() + timeout_s
        while not is_done():
            if self._process.poll() is not None:
                raise ConsumerEnded(
                    f"cdc-consumer ended with {self._process.returncode} before {what}:\n{self._tail()}"
                )
            if time.monotonic() > deadline:
                raise ConsumerEnded(f"after {timeout_s:g} s cdc-consumer has not {what}:\n{self._tail()}")
            time.sleep(0.05)

    @property
    def is_running(self) -> bool:
        """Whether it still is."""
        return self._process.poll() is None

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


@contextmanager
def running(bootstrap_servers: str, topic_prefix: str, redis_url: str, log: Path) -> Iterator[ConsumerProcess]:
    """The consumer, for as long as the block runs; at the end it is asked to stop, and commits what is done."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
        "CDC_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "CDC_KAFKA__TOPIC_PREFIX": topic_prefix,
        "CDC_REDIS__URL": redis_url,
        "CDC_METRICS__HOST": "127.0.0.1",
        "CDC_METRICS__PORT": str(port),
    }
    script = Path(sys.executable).with_name("cdc-consumer")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "consumer.commands.cli"]
    with log.open("wb") as output, child([*command, "run"], output, environment) as process:
        yield ConsumerProcess(process, log, port)
