"""A trial in a process of its own, with limits: a mapping is any text, and the API must outlive each of them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import signal
from multiprocessing.connection import Connection

import structlog

from consumer.commands.api.console.trial import Trial, Wish, trial
from consumer.commands.shared.options import schemas_of
from consumer.errors import CdcError, ConfigError
from consumer.mapping.rules import Rules
from consumer.observability import log
from consumer.settings.sources import Settings

_log = structlog.get_logger(__name__)
_MOST_BYTES = 1 << 30
_MOST_BYTES_OF_ANSWER = 8 << 20
_LONGEST_S = 30.0
"""To begin, to read the mapping, to ask Kafka, and to compare, which has its own limit."""


def trial_apart(settings: Settings, running: Rules, wish: Wish) -> Trial:
    """As :func:`consumer.commands.api.console.trial.trial`, in a process that is ended if it takes too much.

    Raises:
        As there; also ConfigError: the mapping or the range takes too much memory or time.
    """
    # The settings' class is local to load(), and can't be pickled.
    plain = Settings.model_construct(**dict(settings))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    arguments = (theirs, _MOST_BYTES, plain, running, wish)
    process = context.Process(target=_serve, args=arguments, daemon=True)
    process.start()
    theirs.close()
    try:
        answer = _received(ours)
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _received(conn: Connection) -> Trial | Exception:
    try:
        if conn.poll(_LONGEST_S):
            answer: Trial | Exception = pickle.loads(conn.recv_bytes(_MOST_BYTES_OF_ANSWER))  # noqa: S301  # our own
            return answer
    except (EOFError, OSError):  # it has died, or its answer is too large
        pass
    return _too_large()


def _too_large() -> ConfigError:
    fix = "a smaller one; cdc-consumer plan --against has no such limit"
    return ConfigError("mapping", "the mapping or the range is too large for a trial", fix=fix)


def _serve(conn: Connection, most_bytes: int, settings: Settings, running: Rules, wish: Wish) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the parent too, which ends this process
    log.configure(settings.log)
    _limit(resource.RLIMIT_AS, most_bytes)
    _limit(resource.RLIMIT_CPU, int(_LONGEST_S))  # the parent may have been killed
    answer: Trial | Exception
    try:
        answer = trial(settings, running, schemas_of(settings), wish)
    except CdcError as error:
        answer = error
    except (MemoryError, RecursionError):
        os._exit(1)  # no memory may be left for an answer
    except Exception as error:  # its text may contain anything
        _log.error("a bug in this program", action="console.failed", **log.bug_of(error))
        answer = RuntimeError("a trial failed")
    conn.send(answer)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
