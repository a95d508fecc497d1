"""One input tried, within bounds of processor time and memory; and what a finding is known by."""

from __future__ import annotations

import resource
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from tests.fuzz.target import Broken, Plain, Target

MOST_S = 1.0
"""Processor time of one input. The slowest good ones take some 50 ms."""
_ENDED_S = 20.0
MOST_KB = 96 * 1024
"""By so much one input may raise the most memory that the process ever had."""


class TooLong(BaseException):
    """An input that took so long that it was ended. No `except Exception` of the program takes it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an input. ``signature``: "" if all is well; else what other inputs with this cause have too."""

    outcome: str
    took_s: float
    signature: str = ""
    told: str = ""


def tried(target: Target, given: Plain) -> Result:
    """Try an input."""
    memory, began = _peak_kb(), time.process_time()
    try:
        with _ended():
            outcome = target.attempt(given)
    except Broken as error:
        signature = str(error).partition(":")[0]
        return Result("broken", time.process_time() - began, signature, str(error))
    except (Exception, TooLong) as error:  # that there is none is the claim
        told = "".join(traceback.format_exception(error, limit=-8))
        return Result("exception", time.process_time() - began, _signature(error), told)
    took_s, grew = time.process_time() - began, _peak_kb() - memory
    if took_s > MOST_S:
        return Result(outcome, took_s, "slow", f"{took_s:.1f} s")
    if grew > MOST_KB:
        return Result(outcome, took_s, "memory", f"{grew // 1024} MB")
    return Result(outcome, took_s)


def _signature(error: BaseException) -> str:
    """The kind of an exception, and the innermost place in this program."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if "/consumer/" in each.filename] or list(frames)
    place = f" in {own[-1].filename.rpartition('/consumer/')[2]}:{own[-1].name}" if own else ""
    return f"{type(error).__name__}{place}"


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextmanager
def _ended() -> Iterator[None]:
    """End the block after some seconds of processor time; in the main thread only, where a signal arrives."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, _ENDED_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
