"""Servers as processes of this machine."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.stack.account import Account, own, unprivileged
from tests.support.stack.announce import Announcer
from tests.support.stack.cache import Cache
from tests.support.stack.child import Child, Children, tail
from tests.support.stack.machine import Apt
from tests.support.stack.maven import Maven
from tests.support.stack.port import HOST, Ports


@dataclass(frozen=True)
class Place:
    """Where one stack lives, and what it takes things from. ``data`` is short: sockets lie in it."""

    data: Path
    logs: Path
    cache: Cache
    children: Children
    announcer: Announcer
    ports: Ports
    account: Account | None = field(default_factory=unprivileged)
    host: str = HOST

    @property
    def maven(self) -> Maven:
        return Maven(self.cache, self.children, self.logs)

    @property
    def apt(self) -> Apt:
        return Apt(self.cache, self.children, self.logs)

    def installation(self, name: str, fill: Callable[[Path], None]) -> Path:
        """An entry of the cache, downloaded with a word to the person who waits for it."""

        def announced(scratch: Path) -> None:
            with self.announcer.step(f"downloading {name}"):
                fill(scratch)

        return self.cache.entry(name, announced)

    def directory(self, name: str, account: Account | None = None) -> Path:
        return own(self.data / name, account)

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


@dataclass(frozen=True)
class Launch:
    """The command of a server, ready to run again and again on the same data."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None


class Process:
    """A ``Runtime`` on this machine; ``prepare`` (downloads, data directory) runs before the first start."""

    def __init__(self, place: Place, name: str, prepare: Callable[[], Launch]) -> None:
        self._place = place
        self._name = name
        self._prepare = prepare
        self._launch: Launch | None = None
        self._child: Child | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def log(self) -> str:
        return str(self._place.log(self._name))

    def tail(self) -> str:
        return tail(self._place.log(self._name))

    def start(self) -> None:
        if self.running:
            return
        if self._launch is None:
            self._launch = self._prepare()
        launch, place = self._launch, self._place
        self._child = place.children.spawn(
            launch.command,
            place.log(self._name),
            cwd=place.directory(self._name),
            environment=launch.environment,
            account=launch.account,
            remove=place.data,
        )

    def stop(self, timeout_s: float) -> None:
        if self._child:
            self._child.stop(timeout_s)

    def kill(self) -> None:
        if self._child:
            self._child.kill()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def discard(self) -> None:
        """Nothing: the stack ends all its processes at once."""

    def _signal(self, number: signal.Signals) -> None:
        if self._child:
            self._child.signal(number)
