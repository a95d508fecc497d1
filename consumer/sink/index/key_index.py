"""Finds the keys with a user's prefix (``financial_summary:live:123:``) without a scan for each change.

:class:`TrackedIndex` keeps the names of all such keys in this process. CLIENT TRACKING in broadcast mode reports every
write under the prefix on a separate connection. While the index is cold, lost or refused, one SCAN pass serves all
users of a batch.

A key that another program writes between the look-up and the script would be missed. So a look-up opens a window for
its prefixes, and :meth:`TrackedIndex.close_windows`, called after the script's answer, closes it. Keys that were
written inside the window are cleared too, unless the plan was refused.

The server reports writes before the script no later than it sends the script's answer. So the program then sends a PING
on the tracking connection, and the answer to the PING ends the window.

A name is removed from the index only if the server reported its key as touched and the key does not exist any more. So
a plan that failed finds its keys again.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import redis
import structlog

from consumer.sink.client import is_refusal
from consumer.sink.index.scan_index import ScanIndex, split
from consumer.sink.index.tracked_names import TrackedNames
from consumer.sink.index.tracking import READ_TIMEOUT_S, Tracking
from consumer.sink.keyspace import Keyspace, OneKeyspace

_log = structlog.get_logger(__name__)
_RECONNECT_PAUSE_S = 0.5
_ANSWER_LIMIT_S = 5.0
_CHECKED_AT_ONCE = 1000
_GATHERED_S = 0.005
"""The thread reads what arrives within this time together, unless a look-up reads it before. The pipeline can't run
while the thread reads: a thread that wakes for each batch doubles the time of a small one."""
_READ_AT_ONCE = 1000
"""After so many the thread lets go of the lock, as a look-up may wait for it."""
_FEWER = 0.9


class _TooMany(Exception):
    """There are more keys than the index may keep."""


class _Asked(NamedTuple):
    """A request without an answer yet: the PING that ends the windows of ``prefixes``, or EXISTS of ``key``."""

    at: float
    prefixes: Sequence[str] = ()
    accepted: Collection[str] = ()
    key: str = ""


class TrackedIndex:
    """The names of all keys under ``heads``, as the server of ``client`` reports them.

    With more than ``limit`` keys the index scans, and checks every ``again_s`` seconds whether there are fewer keys. So
    often it also asks a server again that refuses CLIENT TRACKING.
    ``keys``: for all commands except tracking. Every ``check_s`` seconds it asks whether touched keys still exist.
    """

    def __init__(
        self,
        client: redis.Redis,
        heads: Sequence[str],
        *,
        keys: Keyspace | None = None,
        limit: int = 1_000_000,
        check_s: float = 5.0,
        again_s: float = 30.0,
    ) -> None:
        self._client = client
        self._heads = heads
        self._keys = keys or OneKeyspace(client)
        self._limit = limit
        self._scan = ScanIndex(self._keys, heads)
        self._lock = threading.RLock()  # a read under the lock may be a push, which takes it again
        self._names = TrackedNames()
        self._awaited: deque[_Asked] = deque()
        self._check_s = check_s
        self._again_s = again_s
        self._checks: list[tuple[str, str]] = []
        self._check_at = 0.0
        self._prefixes_to_clear: set[str] = set()
        self._warm = False
        self._failure: redis.RedisError | None = None
        """What another thread found wrong with the connection: the index's thread has to connect again."""
        self._is_lost = False
        self._is_full = False
        self._tracking = Tracking(client, heads, self._told)
        self._stop = threading.Event()
        self._waker, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._follow, name="key-index", daemon=True)

    def start(self) -> None:
        """Start tracking the server's writes. Until the first SCAN pass is finished, look-ups scan."""
        if not self._thread.is_alive():
            self._thread.start()

    def close(self) -> None:
        """Stop tracking, and wait for the thread."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * READ_TIMEOUT_S)
        else:
            self._woken.close()

    def stop(self) -> None:
        """Tell the thread to stop, without waiting for it."""
        self._stop.set()
        self._waker.close()  # makes the other end readable, which wakes the thread

    def add_prefixes_to_clear(self, prefixes: Collection[str]) -> None:
        """Call this before :meth:`start`: the first pass clears the keys of these prefixes."""
        self._prefixes_to_clear.update(prefixes)

    def prefixes_to_clear(self) -> set[str]:
        """The prefixes that may still have keys that must be cleared."""
        with self._lock:
            return self._prefixes_to_clear | set(self._names.open) | self._scan.prefixes_to_clear

    @property
    def is_warm(self) -> bool:
        """Whether look-ups are answered without a scan."""
        return self._warm

    @property
    def state(self) -> str:
        return "warm" if self._warm else "full" if self._is_full else "cold"

    def connect_anew(self) -> None:
        """Give up the connection: the address may lead to another server now, and this one would not report its writes.

        Until the next SCAN pass is finished, look-ups scan.
        """
        with self._lock:
            self._forget()
            self._failure = redis.ConnectionError("given up, because the script's connection was lost")

    def matching(self, prefixes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        with self._lock:
            if self._warm:
                try:
                    self._read_arrived()  # the thread may not have read the last writes yet
                    return self._names.look_up(prefixes)
                except redis.RedisError as error:
                    self._forget()
                    self._failure = error
        return self._scan.matching(prefixes)

    def close_windows(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        with self._lock:
            if self._warm and self._names.is_open(prefixes):
                try:
                    self._ping(prefixes, accepted)
                    prefixes, accepted = (), ()
                except redis.RedisError as error:
                    self._forget()
                    self._failure = error
        # Also when the names are known: an earlier scan may have failed to clear something.
        self._scan.close_windows(prefixes, accepted)

    def _follow(self) -> None:
        while not self._stop.is_set():
            pause_s = _RECONNECT_PAUSE_S
            try:
                self._connect()
                while not self._stop.is_set():
                    self._read()
                    self._stay_within()
                    self._check()
                    self._clear_late()
            except _TooMany:
                self._give_up_for_now()
                pause_s = self._again_s
            except Exception as error:  # after any error, look-ups must not use the index
                if isinstance(error, redis.ResponseError) and is_refusal(error):
                    pause_s = self._again_s  # until somebody changes the account or the server
                with self._lock:
                    is_news = self._warm or not self._is_lost
                    self._is_lost = True
                    self._forget()
                if is_news:
                    _log.warning("key index lost, scanning instead", action="index.lost", error=type(error).__name__)
            finally:
                self._tracking.close()
            self._stop.wait(pause_s)
        self._woken.close()

    def _give_up_for_now(self) -> None:
        with self._lock:
            is_news = not self._is_full
            self._is_full = True
            self._forget()
            to_clear = set(self._prefixes_to_clear)
        if is_news:
            _log.warning(
                "more wildcard keys than are kept track of, scanning until they are fewer",
                action="index.full",
                keys=self._limit,
                advice="raise CDC_REDIS__TRACKED_KEYS; a million keys take up to 100 MB",
            )
        with suppress(redis.RedisError):  # the next pass tries it again
            ScanIndex(self._keys, self._heads).close_windows((), to_clear)
            self._clear_late()
            with self._lock:
                self._prefixes_to_clear -= to_clear

    def _connect(self) -> None:
        self._tracking = Tracking(self._client, self._heads, self._told)
        self._failure = None
        self._tracking.open()
        for prefix, key in split(self._scan.keys(), self._heads):
            with self._lock:
                if prefix in self._prefixes_to_clear:
                    self._names.late.append(key)
                else:
                    self._names.found(prefix, key)
            self._stay_within()
        self._clear_late()
        with self._lock:
            if self._failure is not None:  # the pass may be of another server
                raise self._failure
            self._prefixes_to_clear.clear()
            self._warm = True
            is_news, self._is_lost, self._is_full = self._is_lost or self._is_full, False, False
        tell = _log.info if is_news else _log.debug
        tell("wildcard keys are known, no more scans", action="index.ready", keys=len(self._names))

    def _read(self) -> None:
        """Read what arrived: pushes (handled by :meth:`_told`), and answers to the oldest requests."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            has_news = self._read_arrived()
        if has_news:
            return
        if self._tracking.wait(self._woken.fileno()):
            self._stop.wait(_GATHERED_S)
            return
        with self._lock:
            if self._awaited and time.monotonic() - self._awaited[0].at > _ANSWER_LIMIT_S:
                raise redis.TimeoutError("no answer")
            # Also when idle: else a dead connection is not noticed, and the index is out of date.
            self._ping((), ())

    def _read_arrived(self) -> bool:
        """Read what arrived, but not too much of it at once; whether there was something. The caller holds the lock."""
        for number in range(_READ_AT_ONCE):
            if not self._tracking.has_news():
                return number > 0
            if (answer := self._tracking.read()) is not None:
                self._answered(answer)
        return True

    def _ping(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        """Send a PING, whose answer ends the windows of ``prefixes``. The caller holds the lock."""
        self._awaited.append(_Asked(time.monotonic(), prefixes, accepted))
        self._tracking.ping()

    def _answered(self, answer: object) -> None:
        """Handle the answer to the oldest request. The caller holds the lock."""
        if not self._awaited:
            return
        asked = self._awaited.popleft()
        if not asked.key:
            if isinstance(answer, redis.ResponseError):
                raise answer
            if asked.prefixes:
                self._names.close(asked.prefixes, asked.accepted)
        elif answer == 0 or isinstance(answer, redis.exceptions.AskError):  # AskError: another node has it
            self._names.gone(asked.prefixes[0], asked.key)

    def _check(self) -> None:
        """Ask whether touched keys still exist: the server does not report whether one was written, removed or expired.

        The request goes over the tracking connection, so that a later write is reported after the answer.
        """
        now = time.monotonic()
        with self._lock:
            if not self._checks and now >= self._check_at:
                self._checks, self._check_at = self._names.doubtful(), now + self._check_s
            if not self._checks or any(each.key for each in self._awaited):
                return
            some, self._checks = self._checks[:_CHECKED_AT_ONCE], self._checks[_CHECKED_AT_ONCE:]
            self._awaited.extend(_Asked(now, (prefix,), (), key) for prefix, key in some)
            self._tracking.ask(*(("EXISTS", key) for _, key in some))

    def _told(self, keys: Sequence[str] | None) -> None:
        with self._lock:
            if keys is None:
                self._names.emptied()
            else:
                self._names.touched(split(keys, self._heads))

    def _stay_within(self) -> None:
        # After too many keys, there must be clearly fewer. Else the index would start and stop again and again.
        if len(self._names) > self._limit * (_FEWER if self._is_full else 1):
            raise _TooMany

    def _clear_late(self) -> None:
        """Clear the late keys; if that fails, they are cleared later."""
        late = tuple(self._names.late)
        if late:
            self._keys.unlink(late)
            del self._names.late[: len(late)]

    def _forget(self) -> None:
        """The connection is lost, so the names are not complete any more: drop them. The caller holds the lock.

        Prefixes with open windows may have keys that were not reported. The first pass of the next connection clears
        them.
        """
        self._prefixes_to_clear |= self._names.forget()
        self._warm = False
        self._awaited.clear()
        self._checks.clear()
