"""A run in a process of its own: an input may hang in a library's C code, or end the process.

Such an input is a finding, and the run goes on with the next input in another process.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import resource
import time
from collections.abc import Callable
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from random import Random
from typing import Any

import psutil

from tests.fuzz.run import Finding, Report, input_of, run
from tests.fuzz.target import Plain, Target

_HANGS_S = 60.0
"""Processor time without the end of an input; Python code is ended after a third of it."""
_MOST_BYTES = 6 << 30
_POLL_S = 0.5
_MOST_LOST = 5


class _Watched:
    """A target whose progress another process sees. ``number``: of the present input; ``beats``: grows at each step."""

    def __init__(self, target: Target, number: Any, beats: Any) -> None:
        self._target = target
        self._number = number
        self._beats = beats
        self.name = target.name

    def make(self, chance: Random) -> Plain:
        self._number.value += 1
        self._beats.value += 1
        return self._target.make(chance)

    def attempt(self, given: Plain) -> str:
        self._beats.value += 1
        return self._target.attempt(given)

    def close(self) -> None:
        self._target.close()


def run_apart(
    make: Callable[[], Target], seed: int, *, seconds: float | None = None, inputs: int | None = None
) -> Report:
    """As :func:`tests.fuzz.run.run`, and an input that hangs or ends the process is a finding too.

    ``make``: a class or a function of a module, which the other process imports.
    """
    with closing(make()) as target:
        whole, began, first = Report(target.name, seed), time.monotonic(), 0
        while True:
            left = None if seconds is None else seconds - (time.monotonic() - began)
            found, number, how = _one_process(make, seed, left, None if inputs is None else inputs - first, first)
            if found is not None:
                whole.add(found)
                return whole
            first = number + 1
            whole.inputs = first
            whole.outcomes["lost"] += 1
            whole.findings.append(Finding(how, number, repr(input_of(target, seed, number)), how))
            is_over = (left is not None and left <= 0) or first == inputs
            if is_over or len(whole.findings) >= _MOST_LOST:
                whole.seconds = time.monotonic() - began
                return whole


def _one_process(
    make: Callable[[], Target], seed: int, seconds: float | None, inputs: int | None, first: int
) -> tuple[Report | None, int, str]:
    """The report; or without one the input's number, and what happened."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    number: Any = context.Value(ctypes.c_longlong, first - 1, lock=False)
    beats: Any = context.Value(ctypes.c_longlong, 0, lock=False)
    process = context.Process(target=_serve, args=(theirs, make, seed, seconds, inputs, first, number, beats))
    process.start()
    theirs.close()
    watched, beat, since_s = psutil.Process(process.pid), -1, 0.0
    try:
        while not ours.poll(_POLL_S):
            with suppress(psutil.NoSuchProcess):
                used_s = sum(watched.cpu_times()[:2])
                if beats.value != beat:
                    beat, since_s = beats.value, used_s
                elif used_s - since_s > _HANGS_S:
                    return None, number.value, f"hangs: no end after {_HANGS_S:.0f} s of processor time"
        report: Report = ours.recv()
        return report, number.value, ""
    except EOFError:
        process.join()
        return None, number.value, f"the process ended: exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()
        ours.close()


def _serve(
    conn: Connection,
    make: Callable[[], Target],
    seed: int,
    seconds: float | None,
    inputs: int | None,
    first: int,
    number: Any,
    beats: Any,
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES if hard == resource.RLIM_INFINITY else hard, hard))
    logging.disable(logging.CRITICAL)  # as in the program: libraries log what they can't read
    conn.send(run(lambda: _Watched(make(), number, beats), seed, seconds=seconds, inputs=inputs, first=first))
