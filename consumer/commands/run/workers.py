"""``run --workers N``: as many members of the group on one machine, and a parent that sees to them.

A worker that is killed is started again, after pauses that grow. One that ends by itself has met a wrong setting or a
record that halts: so would whoever gets its partitions, so all end, with its exit code. The parent has no connections.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

import structlog

from consumer.commands.run import service
from consumer.commands.shared.stop import Stop
from consumer.errors import CdcError, ConfigError
from consumer.mapping.rules import Rules
from consumer.observability import log
from consumer.pipeline.retry import backoff_s
from consumer.settings.sources import Settings

_log = structlog.get_logger(__name__)
_LOOK_S = 0.2
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
# A worker that lived so long did not die of its start.
_SOUND_S = 60.0
# Told to leave, a worker finishes the step under way and commits. What ends all of them, systemd or Kubernetes, waits
# for longer than this.
_LEAVE_S = 30.0
_HIGHEST_PORT = 65_535
_SPAWN = multiprocessing.get_context("spawn")


class Ended(NamedTuple):
    """How it ended: the exit code, and what is to be said of it."""

    code: int = 0
    problem: str = ""
    advice: str = ""


def of_worker(settings: Settings, number: int) -> Settings:
    """The settings of worker ``number``, from 0: a port of metrics and a name in the group of its own.

    Raises:
        ConfigError: there is no such port.

    """
    port = settings.metrics.port and settings.metrics.port + number
    if port > _HIGHEST_PORT:
        raise ConfigError(
            "CDC_METRICS__PORT",
            f"worker {number} would listen on {port}",
            fix="a port that leaves one for each worker, or 0",
        )
    name = settings.kafka.instance_id and f"{settings.kafka.instance_id}-{number}"
    kafka = settings.kafka.model_copy(update={"instance_id": name, "uneven": "refuse"})
    metrics = settings.metrics.model_copy(update={"port": port})
    # The class that reads settings belongs to one call, and can't be sent.
    return Settings.model_construct(**{**dict(settings), "kafka": kafka, "metrics": metrics})


def supervise(settings: Settings, rules: Rules, count: int, stop: Stop) -> Ended:
    """Keep ``count`` workers running until ``stop``, or until one ends by itself; then they leave in good order.

    Raises:
        ConfigError: as :func:`of_worker`.

    """
    crew = [_Worker(number, of_worker(settings, number), rules) for number in range(count)]
    ended = None
    try:
        while ended is None and not stop():
            ended = next((found for worker in crew if (found := worker.look()) is not None), None)
            stop.wait(_LOOK_S)
    finally:
        last = _leave(crew)
    return ended or last


def _leave(crew: Sequence[_Worker]) -> Ended:
    until = time.monotonic() + _LEAVE_S
    for worker in crew:
        worker.tell()
    while (left := [worker for worker in crew if worker.is_there]) and (now := time.monotonic()) < until:
        wait([worker.sentinel for worker in left], until - now)
    return max((worker.leave() for worker in crew), key=lambda ended: ended.code)


class _Worker:
    """One place among the workers, and the process that fills it."""

    def __init__(self, number: int, settings: Settings, rules: Rules) -> None:
        self._number = number
        self._settings = settings
        self._rules = rules
        self._failures = 0
        self._again_at = 0.0
        self._start()

    def look(self) -> Ended | None:
        """Start it again if it was killed. How it ended, if it ended by itself."""
        if self._process is None:
            if time.monotonic() >= self._again_at:
                self._start()
            return None
        if self._process.is_alive():
            return None
        ended = self._ended()
        if ended.code in (1, 2):
            return ended
        now = time.monotonic()
        self._failures = 1 if now - self._began >= _SOUND_S else self._failures + 1
        pause_s = backoff_s(self._failures, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._again_at = now + pause_s
        _log.warning(
            "a worker was killed, and is started again",
            action="workers.killed",
            worker=self._number,
            exit_code=ended.code,
            again_in_s=round(pause_s, 1),
        )
        return None

    @property
    def is_there(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.is_alive()

    @property
    def sentinel(self) -> int:
        """What becomes readable when its process ends; only while it is there."""
        assert self._process is not None  # noqa: S101  # the caller has looked
        return self._process.sentinel

    def tell(self) -> None:
        """Finish what is under way, and leave."""
        if self._process is not None:
            self._process.terminate()

    def leave(self) -> Ended:
        """How it ended after it was told to; one that is still there is killed."""
        if self._process is None:
            return Ended()
        if not self._process.is_alive():
            ended = self._ended()
            return Ended() if ended.code == -signal.SIGTERM else ended  # it had not begun to listen
        self._process.kill()
        self._ended()
        problem = f"worker {self._number} did not end within {_LEAVE_S:g} s, and was killed"
        return Ended(1, problem, "nothing is lost: what it had not committed is read again")

    def _start(self) -> None:
        self._told, theirs = _SPAWN.Pipe(duplex=False)
        self._process: multiprocessing.process.BaseProcess | None = _SPAWN.Process(
            target=_work, args=(theirs, self._settings, self._rules, self._number), name=f"worker-{self._number}"
        )
        self._process.start()
        self._began = time.monotonic()
        theirs.close()

    def _ended(self) -> Ended:
        assert self._process is not None  # noqa: S101  # whoever asks has looked
        self._process.join()
        code = self._process.exitcode or 0
        self._process = None
        with self._told as told:
            try:
                return Ended(*told.recv())
            except EOFError:
                return Ended(code, f"worker {self._number} ended with exit code {code}" if code else "")


def _work(told: Connection, settings: Settings, rules: Rules, number: int) -> None:
    """A worker process: until it is told to stop, or nobody is there any more to tell it."""
    log.configure(settings.log, worker=number)
    stop = Stop()
    stop.listen(is_worker=True)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    try:
        service.run(settings, rules, stop)
    except CdcError as error:
        code = 2 if isinstance(error, ConfigError) else 1
        told.send((code, str(error), error.advice))
        sys.exit(code)


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
