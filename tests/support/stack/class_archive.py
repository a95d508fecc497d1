"""Archives of the classes that a broker and a Connect worker load: with them, both start in half the CPU time.

Java's name for them is application class data sharing (AppCDS). A Java that can't use an archive starts without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tests.support.stack import connect, kafka
from tests.support.stack.native import Place
from tests.support.stack.port import Ports
from tests.support.stack.server import Server

_WRITTEN_WITHIN_S = 60.0


def option_of(place: Place, server: str) -> Callable[[], Sequence[str]]:
    """The option of Java for ``server``, "kafka" or "connect". The first call on a machine makes the archives."""

    def option() -> Sequence[str]:
        found = place.cache.entry(f"kafka-{kafka.VERSION}-classes", lambda into: _fill(place, into))
        return (f"-XX:SharedArchiveFile={found / server}.jsa",)

    return option


def _fill(place: Place, into: Path) -> None:
    """Start both servers once. Each writes its archive when it ends."""
    data = place.directory("classes")
    apart = replace(place, data=data, logs=data, ports=Ports())

    def written(server: str) -> Callable[[], Sequence[str]]:
        return lambda: (f"-XX:ArchiveClassesAtExit={into / server}.jsa",)

    broker = kafka.native(apart, written("kafka"))
    servers: list[Server] = [broker, connect.native(apart, broker, (), option=written("connect"))]
    with place.announcer.step("archiving Java classes"):
        for server in servers:
            server.start()
        for server in reversed(servers):
            server.stop(_WRITTEN_WITHIN_S)
