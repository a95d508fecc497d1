"""Which keys begin with a user's prefix (``financial_summary:live:123:``), without a scan for each change.

:class:`TrackedIndex` keeps the names of all such keys in this process: CLIENT TRACKING in broadcast mode tells of every
write under the prefix, on a connection of its own. While that index is cold, lost or refused, one SCAN pass serves all
users of a batch.

A key that somebody writes in the moment between the look-up and the script would be missed. So a look-up opens a window
for its prefixes, and :meth:`TrackedIndex.settle`, called when the script has answered, closes it: keys that turned up
inside it are cleared too, unless the plan was refused. The server sends what it has to tell of writes before the
script no later than the script's answer, so the end of the window is the answer to a PING sent after it, on the
tracking connection. Nothing is taken out of the index but what the server says was touched and is not there any more,
so that a plan that failed finds its keys again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import redis
import structlog

from consumer.sink.index.scan_index import ScanIndex, split
from consumer.sink.index.tracked_names import TrackedNames
from consumer.sink.index.tracking import READ_TIMEOUT_S, Tracking
from consumer.sink.keyspace import Keyspace, OneKeyspace

_log = structlog.get_logger(__name__)
_RECONNECT_PAUSE_S = 0.5
_ANSWER_LIMIT_S = 5.0
_CHECKED_AT_ONCE = 1000
_FEWER = 0.9


class _TooMany(Exception):
    """More keys than are to be kept."""


class _Asked(NamedTuple):
    """What an answer is awaited to: the PING that ends the windows of ``prefixes``, or whether ``key`` is there."""

    at: float
    prefixes: Sequence[str] = ()
    accepted: Collection[str] = ()
    key: str = ""


class TrackedIndex:
    """The names of all keys under ``heads``, told by the server of ``client``.

    With more than ``limit`` of them it scans, and looks every ``again_s`` seconds whether they have become fewer.
    ``keys`` is for everything but the telling. A key that was touched is asked after once in ``check_s`` seconds.
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
        self._lock = threading.RLock()  # what is read under it may be a push, which needs it again
        self._names = TrackedNames()
        self._awaited: deque[_Asked] = deque()
        self._check_s = check_s
        self._again_s = again_s
        self._checks: list[tuple[str, str]] = []
        self._check_at = 0.0
        self._unsettled: set[str] = set()
        self._warm = False
        self._is_lost = False
        self._is_full = False
        self._tracking = Tracking(client, heads, self._told)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="key-index", daemon=True)

    def start(self) -> None:
        """Begin to follow the server's writes; until the first pass is through, look-ups scan."""
        if not self._thread.is_alive():
            self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * READ_TIMEOUT_S)

    def stop(self) -> None:
        """Stop following, sooner or later."""
        self._stop.set()

    def owe(self, prefixes: Collection[str]) -> None:
        """Before the start: clear what the first pass finds of these."""
        self._unsettled.update(prefixes)

    def owed(self) -> set[str]:
        """The prefixes of which keys may be left that were to be cleared."""
        with self._lock:
            return self._unsettled | set(self._names.open)

    @property
    def is_warm(self) -> bool:
        """Whether look-ups are answered without a scan."""
        return self._warm

    @property
    def state(self) -> str:
        return "warm" if self._warm else "full" if self._is_full else "cold"

    def matching(self, prefixes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        with self._lock:
            if self._warm:
                return self._names.look_up(prefixes)
        return self._scan.matching(prefixes)

    def settle(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        with self._lock:
            if self._warm and all(prefix in self._names.open for prefix in prefixes):
                try:
                    self._ping(prefixes, accepted)
                    return
                except redis.RedisError:
                    self._forget()
        self._scan.settle(prefixes, accepted)

    def _follow(self) -> None:
        while not self._stop.is_set():
            pause_s = _RECONNECT_PAUSE_S
            try:
                self._connect()
                while not self._stop.is_set():
                    self._read_one()
                    self._stay_within()
                    self._check()
                    self._clear_late()
            except _TooMany:
                self._give_up_for_now()
                pause_s = self._again_s
            except Exception as error:  # whatever ends this loop, look-ups must not go on trusting it
                with self._lock:
                    is_news = self._warm or not self._is_lost
                    self._is_lost = True
                    self._forget()
                if is_news:
                    _log.warning("key index lost, scanning instead", action="index.lost", error=type(error).__name__)
            finally:
                self._tracking.close()
            self._stop.wait(pause_s)

    def _give_up_for_now(self) -> None:
        with self._lock:
            is_news = not self._is_full
            self._is_full = True
            self._forget()
            unsettled = set(self._unsettled)
        if is_news:
            _log.warning(
                "more wildcard keys than are kept track of, scanning until they are fewer",
                action="index.full",
                keys=self._limit,
                advice="raise CDC_REDIS__TRACKED_KEYS; a million keys take up to 100 MB",
            )
        with suppress(redis.RedisError):  # then with the next pass
            ScanIndex(self._keys, self._heads).settle((), unsettled)
            self._clear_late()
            with self._lock:
                self._unsettled -= unsettled

    def _connect(self) -> None:
        self._tracking = Tracking(self._client, self._heads, self._told)
        self._tracking.open()
        for prefix, key in split(self._scan.keys(), self._heads):
            with self._lock:
                if prefix in self._unsettled:
                    self._names.late.append(key)
                else:
                    self._names.found(prefix, key)
            self._stay_within()
        self._clear_late()
        with self._lock:
            self._unsettled.clear()
            self._warm = True
            is_news, self._is_lost, self._is_full = self._is_lost or self._is_full, False, False
        tell = _log.info if is_news else _log.debug
        tell("wildcard keys are known, no more scans", action="index.ready", keys=len(self._names))

    def _read_one(self) -> None:
        """One push (taken by :meth:`_told`), or the answer to what was asked first."""
        with self._lock:
            has_news = self._tracking.has_news()
        has_news = has_news or self._tracking.wait()
        with self._lock:
            if has_news:
                if (answer := self._tracking.read()) is not None:
                    self._answered(answer)
                return
            if self._awaited and time.monotonic() - self._awaited[0].at > _ANSWER_LIMIT_S:
                raise redis.TimeoutError("no answer")
            # Also when idle: a connection that died without a word would leave the index silently out of date.
            self._ping((), ())

    def _ping(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        """With the lock held. The answer ends the windows of ``prefixes``."""
        self._awaited.append(_Asked(time.monotonic(), prefixes, accepted))
        self._tracking.ask(("PING",))

    def _answered(self, answer: object) -> None:
        """With the lock held: what was asked first was answered."""
        if not self._awaited:
            return
        asked = self._awaited.popleft()
        if not asked.key:
            if isinstance(answer, redis.ResponseError):
                raise answer
            self._names.close(asked.prefixes, asked.accepted)
        elif answer == 0 or isinstance(answer, redis.exceptions.AskError):  # there, or on its way there: another tells
            self._names.gone(asked.prefixes[0], asked.key)

    def _check(self) -> None:
        """Whether keys that were touched are still there: nobody tells whether one was written, removed or expired.

        That is asked on the connection that tells, so that a later write is told later.
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
        # Once there were too many they have to be clearly fewer, or it would begin again and again.
        if len(self._names) > self._limit * (_FEWER if self._is_full else 1):
            raise _TooMany

    def _clear_late(self) -> None:
        """Keys that could not be cleared now stay due."""
        late = tuple(self._names.late)
        if late:
            self._keys.unlink(late)
            del self._names.late[: len(late)]

    def _forget(self) -> None:
        """With the lock held: the connection is gone, so nothing that was heard is complete any more. Users whose
        windows were open may have keys that nobody told of: those are cleared with the next first pass.
        """
        self._unsettled |= self._names.forget()
        self._warm = False
        self._awaited.clear()
        self._checks.clear()
