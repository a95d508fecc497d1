"""What a running ``up`` leaves for the other commands and for shells, in ``.stack/``."""

from __future__ import annotations

import json
import os
import shlex
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tests.support.stack.stack import STATE, Stack

CONNECT_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One server of a running stack. ``pid`` is null where the server is a container."""

    name: str
    host: str
    port: int
    pid: int | None
    log: str

    def describe(self) -> str:
        """In one word, how the server is now."""
        if self.pid is not None:
            if not psutil.pid_exists(self.pid):
                return "gone"
            if psutil.Process(self.pid).status() == psutil.STATUS_STOPPED:
                return "frozen"
        try:
            socket.create_connection((self.host, self.port), CONNECT_TIMEOUT_S).close()
        except OSError:
            return "silent"
        return "up"


@dataclass(frozen=True, slots=True)
class State:
    """The process that holds a stack, and its servers. ``born`` tells it from a later one with its pid."""

    pid: int
    born: float
    servers: tuple[Entry, ...]

    @classmethod
    def of(cls, stack: Stack) -> State:
        entries = tuple(
            Entry(each.name, each.host, each.port, getattr(each.runtime, "pid", None), each.runtime.log)
            for each in stack.servers.values()
        )
        return cls(os.getpid(), psutil.Process().create_time(), entries)

    @classmethod
    def load(cls, directory: Path = STATE) -> State | None:
        """The running stack, or None; what a killed one left is no stack."""
        try:
            raw = json.loads((directory / "state.json").read_text())
            state = cls(raw["pid"], raw["born"], tuple(Entry(**each) for each in raw["servers"]))
            alive = psutil.Process(state.pid).create_time() == state.born
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None
        return state if alive else None

    def save(self, exports: dict[str, str], directory: Path = STATE) -> Path:
        """Write the state, and the exports as a file to source; it holds passwords, so only for oneself."""
        directory.mkdir(exist_ok=True)
        _write(directory / "state.json", json.dumps(asdict(self)))
        lines = (f"export {name}={shlex.quote(value)}\n" for name, value in sorted(exports.items()))
        return _write(directory / "env", "".join(lines))


def forget(directory: Path = STATE) -> None:
    for name in ("state.json", "env"):
        (directory / name).unlink(missing_ok=True)


def _write(path: Path, text: str) -> Path:
    scratch = path.with_suffix(".new")
    scratch.touch(mode=0o600)
    scratch.write_text(text)
    return scratch.rename(path)
