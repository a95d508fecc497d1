"""Partition numbers given out to worker processes, and what they report."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from consumer.commands.replay.summary import Summary
from consumer.commands.replay.worker import Finished, Interrupted, Reached, Read, RedisReplaced, Report, Wanted, Worker
from consumer.commands.shared.stop import Stop
from consumer.errors import CdcError, ServerError
from consumer.mapping.rules import Rules
from consumer.observability import log
from consumer.settings.sources import Settings

_PATIENCE_S = 0.2
_LEAVE_S = 10.0


class Failed(NamedTuple):
    """A worker could not go on."""

    problem: str
    advice: str
    is_replaced: bool


Task = tuple[int, dict[str, int], Summary]
"""A partition number, the offsets it is at, and what was done up to there."""


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
        ServerError: a worker could not go on; the first that said so.
    """
    left = list(tasks)[::-1]
    # The class that reads them belongs to one call, and can't be sent.
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
        _follow(list(conns), left, report, should_stop)
    finally:
        for process in workers:
            process.terminate()
        for conn in conns:
            conn.close()  # or one that has much to report would wait until somebody reads it
        until = time.monotonic() + _LEAVE_S
        for process in workers:
            process.join(max(0.0, until - time.monotonic()))
        for process in workers:
            process.kill()
            process.join()


def _follow(busy: list[Connection], left: list[Task], report: Report, should_stop: Callable[[], bool]) -> None:
    """Pass on what the workers say, and give each that is done the next task."""
    while busy:
        if should_stop():
            raise Interrupted
        for conn in wait(busy, _PATIENCE_S):
            assert isinstance(conn, Connection)  # noqa: S101  # that is what was asked for
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
        advice = "look at the kernel's log: it may have been out of memory"
        raise ServerError("replay", "a worker process ended", advice) from None
    if isinstance(message, Failed):
        raise RedisReplaced if message.is_replaced else ServerError("replay", message.problem, message.advice)
    return message


def _serve(conn: Connection, settings: Settings, rules: Rules, wanted: Wanted, parent: int) -> None:
    """A worker process: it ends when it is told to, and when nobody is there any more to tell it."""
    stop = Stop()
    stop.listen(is_worker=True)
    log.configure(settings.log)

    def should_stop() -> bool:
        return stop() or os.getppid() != parent

    worker = Worker(settings, rules, wanted, conn.send, should_stop)
    try:
        while not should_stop():
            if conn.poll(_PATIENCE_S):
                worker.replay(*conn.recv())
    except (Interrupted, EOFError, BrokenPipeError):
        pass
    except RedisReplaced:
        _tell(conn, Failed("", "", True))
    except CdcError as error:
        _tell(conn, Failed(str(error), error.advice, False))
    finally:
        worker.close()


def _tell(conn: Connection, failed: Failed) -> None:
    with suppress(BrokenPipeError):  # the parent has ended it already
        conn.send(failed)
