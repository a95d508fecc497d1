"""What every server of the stack is: something that runs, has an address, and answers a ping.

A ``Server`` knows its protocol. How it is run (a process, a container) is its ``Runtime``, so that
the native and the Docker stack share everything a test sees.
"""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from typing import Protocol

from tests.support.stack.errors import StartFailed

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
PING_EVERY_S = 0.05


class Runtime(Protocol):
    """How a server is run. Stopping keeps its data; the next start goes on with them on the same port."""

    @property
    def running(self) -> bool: ...

    @property
    def log(self) -> str:
        """Where the log is, for a person."""
        ...

    def tail(self) -> str: ...

    def start(self) -> None: ...

    def stop(self, timeout_s: float) -> None: ...

    def kill(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def discard(self) -> None:
        """Give up what would outlive the stack."""
        ...


class Server(ABC):
    """A real server. The faults (``kill``, ``freeze``, ...) are part of it: tests need them."""

    name: str

    def __init__(self, runtime: Runtime, host: str, port: int) -> None:
        self.runtime = runtime
        self.host = host
        self.port = port
        self._set_up_done = False

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @abstractmethod
    def ping(self) -> None:
        """Speak the server's protocol once; any exception means that it does not answer yet."""

    def listens(self) -> None:
        """Raise unless somebody listens. Clients leak sockets or log errors for each refused attempt."""
        socket.create_connection((self.host, self.port), timeout=1.0).close()

    @abstractmethod
    def exports(self) -> dict[str, str]:
        """What a shell needs in order to reach the server, as environment variables."""

    def set_up(self) -> None:  # noqa: B027 - most servers need nothing
        """What a fresh server needs once, after its first ping (accounts, schema)."""

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start, and return when the server answers; after a stop or kill, again with its data and port."""
        self.runtime.start()
        self.wait_until_answers(timeout_s)
        if not self._set_up_done:
            self.set_up()
            self._set_up_done = True

    def wait_until_answers(self, timeout_s: float = START_TIMEOUT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            silent: Exception | None = None
            try:
                self.ping()
            except Exception as error:  # each client has its own; the last one is reported
                silent = error
            if not self.runtime.running:  # whoever answered is another
                raise self._failed("ended while it started") from silent
            if silent is None:
                return
            if time.monotonic() > deadline:
                raise self._failed(f"did not answer within {timeout_s:g} s ({silent})") from silent
            time.sleep(PING_EVERY_S)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        self.runtime.stop(timeout_s)

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, no connection is closed politely."""
        self.runtime.kill()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        self.runtime.freeze()

    def thaw(self) -> None:
        self.runtime.thaw()

    def _failed(self, problem: str) -> StartFailed:
        return StartFailed(self.name, problem, self.runtime.log, self.runtime.tail())
