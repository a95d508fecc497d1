"""``run --workers N``: N members of the group in processes on one machine, and a parent that supervises them.

A killed worker is started again, after growing pauses. A worker that ends by itself has a wrong setting or a record
that halts. Any other member with its partitions would end too, so all workers end, with its exit code. The parent has
no connections.
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
_POLL_S = 0.2
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
# After a run of this length, a worker's end was not caused by its start.
_SOUND_S = 60.0
# When told to end, a worker finishes the current step and commits. systemd and Kubernetes must wait longer than this
# before they kill the program.
_STOP_S = 30.0
_HIGHEST_PORT = 65_535
_SPAWN = multiprocessing.get_context("spawn")


class Ended(NamedTuple):
    """How a worker or all workers ended: the exit code, the problem and the advice."""

    code: int = 0
    problem: str = ""
    advice: str = ""


def of_worker(settings: Settings, number: int) -> Settings:
    """The settings of worker ``number``, from 0: with its own metrics port and its own name in the group.

    Raises:
        ConfigError: the port would be above 65535.

    """
    port = settings.metrics.port and settings.metrics.port + number
    if port > _HIGHEST_PORT:
        raise ConfigError(
            "CDC_METRICS__PORT",
            f"worker {number} would listen on {port}",
            fix="set a lower port, so that each worker has one, or 0",
        )
    name = settings.kafka.instance_id and f"{settings.kafka.instance_id}-{number}"
    kafka = settings.kafka.model_copy(update={"instance_id": name, "uneven": "refuse"})
    metrics = settings.metrics.model_copy(update={"port": port})
    # The settings' class is local to load(), and can't be pickled.
    return Settings.model_construct(**{**dict(settings), "kafka": kafka, "metrics": metrics})


def supervise(settings: Settings, rules: Rules, count: int, stop: Stop) -> Ended:
    """Keep ``count`` workers running until ``stop``, or until one ends by itself; then end all in good order.

    Raises:
        ConfigError: as :func:`of_worker`.

    """
    each = [of_worker(settings, number) for number in range(count)]
    workers: list[_Worker] = []
    ended = None
    try:
        for number, own in enumerate(each):
            workers.append(_Worker(number, own, rules))  # those that were started must be stopped
        while ended is None and not stop():
            ended = next((found for worker in workers if (found := worker.check()) is not None), None)
            stop.wait(_POLL_S)
    finally:
        last = _stop(workers)
    return ended or last


def _stop(workers: Sequence[_Worker]) -> Ended:
    until = time.monotonic() + _STOP_S
    for worker in workers:
        worker.terminate()
    while (left := [worker for worker in workers if worker.is_running]) and (now := time.monotonic()) < until:
        wait([worker.sentinel for worker in left], until - now)
    return max((worker.finish() for worker in workers), key=lambda ended: ended.code, default=Ended())


class _Worker:
    """One of the N workers, and its present process."""

    def __init__(self, number: int, settings: Settings, rules: Rules) -> None:
        self._number = number
        self._settings = settings
        self._rules = rules
        self._failures = 0
        self._again_at = 0.0
        self._start()

    def check(self) -> Ended | None:
        """Start the worker again if it was killed; answers how it ended if it ended by itself."""
        if self._process is None:
            if time.monotonic() >= self._again_at:
                self._start()
            return None
        if self._process.is_alive():
            return None
        ended = self._join()
        if ended.code in (1, 2):
            return ended
        now = time.monotonic()
        self._failures = 1 if now - self._began >= _SOUND_S else self._failures + 1
        pause_s = backoff_s(self._failures, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._again_at = now + pause_s
        _log.warning(
            "a worker was killed, and will be started again",
            action="workers.killed",
            worker=self._number,
            exit_code=ended.code,
            again_in_s=round(pause_s, 1),
        )
        return None

    @property
    def is_running(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.is_alive()

    @property
    def sentinel(self) -> int:
        """A handle that becomes ready when the process ends; only while the process runs."""
        assert self._process is not None  # noqa: S101  # the caller has checked is_running
        return self._process.sentinel

    def terminate(self) -> None:
        """Tell the process to finish the current step and end."""
        if self._process is not None:
            self._process.terminate()

    def finish(self) -> Ended:
        """How the process ended after :meth:`terminate`; if it still runs, it is killed."""
        if self._process is None:
            return Ended()
        if not self._process.is_alive():
            ended = self._join()
            return Ended() if ended.code == -signal.SIGTERM else ended  # it did not handle signals yet
        self._process.kill()
        self._join()
        problem = f"worker {self._number} did not end within {_STOP_S:g} s, and was killed"
        return Ended(1, problem, "no record is lost: what it had not committed is read again")

    def _start(self) -> None:
        self._report, theirs = _SPAWN.Pipe(duplex=False)
        self._process: multiprocessing.process.BaseProcess | None = _SPAWN.Process(
            target=_work, args=(theirs, self._settings, self._rules, self._number), name=f"worker-{self._number}"
        )
        self._process.start()
        self._began = time.monotonic()
        theirs.close()

    def _join(self) -> Ended:
        assert self._process is not None  # noqa: S101  # callers have checked
        self._process.join()
        code = self._process.exitcode or 0
        self._process = None
        with self._report as report:
            try:
                return Ended(*report.recv())
            except EOFError:
                return Ended(code, f"worker {self._number} ended with exit code {code}" if code else "")


def _work(report: Connection, settings: Settings, rules: Rules, number: int) -> None:
    """A worker process. It ends when it is told to, or when its parent has ended."""
    log.configure(settings.log, worker=number)
    stop = Stop()
    stop.listen(is_worker=True)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    try:
        service.run(settings, rules, stop, number)
    except CdcError as error:
        code = 2 if isinstance(error, ConfigError) else 1
        report.send((code, str(error), error.advice))
        sys.exit(code)


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
