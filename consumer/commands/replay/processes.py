"""Distributes partition numbers to worker processes, and receives their reports."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from consumer.commands.replay.summary import Summary
from consumer.commands.replay.work import Finished, Interrupted, Reached, Read, RedisReplaced, Report, Wanted
from consumer.commands.replay.worker import Worker
from consumer.commands.shared.stop import Stop
from consumer.errors import CdcError, ServerError
from consumer.mapping.rules import Rules
from consumer.observability import log
from consumer.settings.sources import Settings

_POLL_S = 0.2
_JOIN_S = 10.0


class Failed(NamedTuple):
    """The report of a worker that can't continue."""

    problem: str
    advice: str
    is_replaced: bool


Task = tuple[int, dict[str, int], Summary]
"""A partition number, its next offset by topic, and what was done before."""


def in_processes(
    count: int,
    settings: Settings,
    rules: Rules,
    wanted: Wanted,
    tasks: Iterable[Task],
    report: Report,
    should_stop: Callable[[], bool],
) -> None:
    """Replay ``tasks`` in ``count`` processes.

    Raises:
        Interrupted, RedisReplaced: as :meth:`consumer.commands.replay.worker.Worker.replay`.
        ServerError: a worker can't continue; the error of the first one.
    """
    left = list(tasks)[::-1]
    # The settings' class is local to load(), and can't be pickled.
    plain = Settings.model_construct(**dict(settings))
    context = multiprocessing.get_context("spawn")
    workers = []
    conns: list[Connection] = []
    try:
        for _ in range(min(count, len(left))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, plain, rules, wanted, os.getpid()), daemon=True)
            process.start()
            theirs.close()
            workers.append(process)
            conns.append(ours)
            ours.send(left.pop())
        _distribute(list(conns), left, report, should_stop)
    finally:
        for process in workers:
            process.terminate()
        for conn in conns:
            conn.close()  # else a worker that is sending a report would block
        until = time.monotonic() + _JOIN_S
        for process in workers:
            process.join(max(0.0, until - time.monotonic()))
        for process in workers:
            process.kill()
            process.join()


def _distribute(busy: list[Connection], left: list[Task], report: Report, should_stop: Callable[[], bool]) -> None:
    """Pass on the workers' reports, and give the next task to each worker that has finished."""
    while busy:
        if should_stop():
            raise Interrupted
        for conn in wait(busy, _POLL_S):
            assert isinstance(conn, Connection)  # noqa: S101  # for the type checker
            message = _received(conn)
            report(message)
            if not isinstance(message, Finished):
                continue
            if left:
                conn.send(left.pop())
            else:
                busy.remove(conn)


def _received(conn: Connection) -> Read | Reached | Finished:
    message: Read | Reached | Finished | Failed
    try:
        message = conn.recv()
    except EOFError:
        advice = "check the kernel's log: the worker may have been out of memory"
        raise ServerError("replay", "a worker process ended", advice) from None
    if isinstance(message, Failed):
        raise RedisReplaced if message.is_replaced else ServerError("replay", message.problem, message.advice)
    return message


def _serve(conn: Connection, settings: Settings, rules: Rules, wanted: Wanted, parent: int) -> None:
    """A worker process. It ends when it is told to, or when its parent has ended."""
    stop = Stop()
    stop.listen(is_worker=True)
    log.configure(settings.log)

    def should_stop() -> bool:
        return stop() or os.getppid() != parent

    worker = Worker(settings, rules, wanted, conn.send, should_stop)
    try:
        while not should_stop():
            if conn.poll(_POLL_S):
                worker.replay(*conn.recv())
    except (Interrupted, EOFError, BrokenPipeError):
        pass
    except RedisReplaced:
        _send(conn, Failed("", "", True))
    except CdcError as error:
        _send(conn, Failed(str(error), error.advice, False))
    finally:
        worker.close()


def _send(conn: Connection, failed: Failed) -> None:
    with suppress(BrokenPipeError):  # the parent has already closed the connection
        conn.send(failed)
