"""The consumers of one group: started, killed, frozen, asked to leave."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from random import Random

import psutil

from tests.e2e.process import Process
from tests.support.redis_view import eventually

_STOP_S = 60.0
_ASSIGNED = re.compile(r'"action": "group\.assigned"[^\n{}]*"timestamp": "([^"]+)"')
"""A log line; a process that was killed may have left half of one before it."""


class Fleet:
    """Members by age, the oldest first. Whoever ends without being told to is a problem."""

    def __init__(self, environment: Mapping[str, str], folder: Path, arguments: Sequence[str] = ()) -> None:
        """``arguments`` are those of each ``cdc-consumer run``; with ``--workers`` it is several processes."""
        self._environment = dict(environment)
        self._folder = folder
        self._arguments = tuple(arguments)
        self._count = 0
        self.members: list[Process] = []
        self.problems: list[str] = []

    def start(self) -> Process:
        self._count += 1
        member = Process(self._environment, self._folder / f"consumer-{self._count}.log", *self._arguments)
        self.members.append(member)
        return member

    def kill(self, member: Process) -> None:
        """End it by kill -9."""
        if self._is_there(member):
            self.members.remove(member)
            member.close()

    def kill_worker(self, member: Process, chance: Random) -> bool:
        """End one of its workers by kill -9; false if it has none, or is about to start them."""
        workers = [each for each in _tree(member)[1:] if any("spawn_main" in word for word in _words(each))]
        if workers:
            chance.choice(workers).kill()
        return bool(workers)

    def freeze(self, member: Process) -> None:
        """All of its processes; the one that watches the others first."""
        for process in _tree(member):
            process.suspend()

    def thaw(self, member: Process) -> None:
        for process in _tree(member):
            process.resume()

    def stop(self, member: Process) -> None:
        """SIGTERM: it has to end in good order."""
        if not self._is_there(member):
            return
        # From its first word on it hears signals; several workers take long to start on a busy machine.
        eventually(lambda: member.said() or not member.running, _STOP_S, "a consumer that says nothing")
        self.members.remove(member)
        self.thaw(member)
        member.send(signal.SIGTERM)
        try:
            if code := member.wait(_STOP_S):
                self.problems.append(f"{member.log.name}: stopped with exit code {code}")
        except subprocess.TimeoutExpired:
            self.problems.append(f"{member.log.name}: does not stop")
            member.close()

    def settle(self, count: int) -> None:
        """So many members, no more and no less; the oldest go."""
        self.check()
        while len(self.members) > count:
            self.stop(self.members[0])
        while len(self.members) < count:
            self.start()

    def check(self) -> None:
        for member in list(self.members):
            self._is_there(member)

    def close(self) -> None:
        for member in self.members:
            member.close()

    def said(self) -> str:
        """Everything that any member ever wrote."""
        return "\n".join(file.read_text() for file in self.files())

    def assigned(self) -> list[float]:
        """When partitions were assigned to any member, in UTC seconds, the oldest first."""
        found = _ASSIGNED.findall(self.said())
        return sorted(datetime.fromisoformat(each).timestamp() for each in found)

    def files(self) -> list[Path]:
        """The logs of all members that ever were."""
        return list(self._folder.glob("consumer-*.log"))

    def logs(self) -> str:
        """The last words of each of the last members."""
        files = sorted(self.files(), key=lambda file: file.stat().st_mtime)[-4:]
        return "\n".join(f"--- {file.name}\n" + "\n".join(file.read_text().splitlines()[-15:]) for file in files)

    def _is_there(self, member: Process) -> bool:
        if member not in self.members:
            return False
        if member.running:
            return True
        self.members.remove(member)
        self.problems.append(f"{member.log.name}: ended by itself, exit code {member.wait()}: {_last(member)}")
        return False


def _tree(member: Process) -> list[psutil.Process]:
    """The member's processes, those that are there now; none if it ended."""
    try:
        first = psutil.Process(member.pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []


def _last(member: Process) -> str:
    """What it said last: an error of a library has several lines."""
    return "\n".join(member.said().strip().splitlines()[-12:] or ["no word"])
