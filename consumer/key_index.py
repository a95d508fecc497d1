"""Which keys begin with a user's prefix (``financial_summary:live:123:``), without a scan for each change.

:class:`TrackedIndex` keeps the names of all such keys in this process: CLIENT TRACKING in broadcast mode tells of every
write under the prefix, on a connection of its own. While that index is cold, lost or refused, one SCAN pass serves all
users of a batch.

A key that somebody writes in the moment between the look-up and the script would be missed. So a look-up opens a window
for its prefixes, and :meth:`TrackedIndex.settle`, called when the script has answered, closes it: keys that turned up
inside it are cleared too, unless the plan was refused. The server sends what it has to tell of writes before the
script no later than the script's answer, so the end of the window is the answer to a PING sent after it, on the
tracking connection. Nothing is taken out of the index but what the server says was touched, so that a plan that
failed finds its keys again.
"""

from __future__ import annotations

import select
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import redis
import structlog

from consumer.key_names import KeyNames
from consumer.keyspace import Keyspace, OneKeyspace
from consumer.scan_index import ScanIndex, split

_log = structlog.get_logger(__name__)
_READ_TIMEOUT_S = 1.0
_REST_S = 0.1  # for the rest of a message
_RECONNECT_PAUSE_S = 0.5
_ANSWER_LIMIT_S = 5.0


class _TooMany(Exception):
    """More keys than are to be kept."""


@dataclass(slots=True)
class _Window:
    """A prefix between look-up and answer: how many look-ups are open, and the keys that were touched meanwhile.

    That includes the keys that the script removed. ``is_cleared``: a plan was accepted, or may have been.
    """

    open: int = 0
    touched: set[str] = field(default_factory=set)
    is_cleared: bool = False


class TrackedIndex:
    """The names of all keys under ``heads``, told by the server of ``client``; with more than ``limit`` it scans.

    ``keys`` is for everything but the telling.
    """

    def __init__(
        self, client: redis.Redis, heads: Sequence[str], *, keys: Keyspace | None = None, limit: int = 1_000_000
    ) -> None:
        self._client = client
        self._heads = heads
        self._keys = keys or OneKeyspace(client)
        self._limit = limit
        self._scan = ScanIndex(self._keys, heads)
        self._lock = threading.RLock()  # what is read under it may be a push, which needs it again
        self._names = KeyNames()
        self._windows: dict[str, _Window] = {}
        self._closing: deque[tuple[float, Sequence[str], Collection[str]]] = deque()
        self._unsettled: set[str] = set()
        self._late: list[str] = []
        self._warm = False
        self._is_lost = False
        self._connection: Any = None
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
            self._thread.join(timeout=2 * _READ_TIMEOUT_S)

    def stop(self) -> None:
        """Stop following, sooner or later."""
        self._stop.set()

    def owe(self, prefixes: Collection[str]) -> None:
        """Before the start: clear what the first pass finds of these."""
        self._unsettled.update(prefixes)

    def owed(self) -> set[str]:
        """The prefixes of which keys may be left that were to be cleared."""
        with self._lock:
            return self._unsettled | self._windows.keys()

    @property
    def is_warm(self) -> bool:
        """Whether look-ups are answered without a scan."""
        return self._warm

    def matching(self, prefixes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        with self._lock:
            if self._warm:
                for prefix in prefixes:
                    self._windows.setdefault(prefix, _Window()).open += 1
                return {prefix: self._names.of(prefix) for prefix in prefixes}
        return self._scan.matching(prefixes)

    def settle(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        with self._lock:
            if self._warm and all(prefix in self._windows for prefix in prefixes):
                try:
                    self._ping(prefixes, accepted)
                    return
                except redis.RedisError:
                    self._forget()
        self._scan.settle(prefixes, accepted)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self._connect()
                while not self._stop.is_set():
                    self._read_one()
                    self._stay_within()
                    self._clear_late()
            except _TooMany:
                with self._lock:
                    self._forget()
                _log.warning(
                    "more wildcard keys than are kept track of, scanning instead",
                    action="index.full",
                    keys=self._limit,
                    advice="raise CDC_REDIS__TRACKED_KEYS; a million keys take up to 100 MB",
                )
                return
            except Exception as error:  # whatever ends this loop, look-ups must not go on trusting it
                with self._lock:
                    is_news = self._warm or not self._is_lost
                    self._is_lost = True
                    self._forget()
                if is_news:
                    _log.warning("key index lost, scanning instead", action="index.lost", error=type(error).__name__)
                self._stop.wait(_RECONNECT_PAUSE_S)
            finally:
                if self._connection is not None:
                    self._connection.disconnect()

    def _connect(self) -> None:
        pool = self._client.connection_pool
        self._connection = pool.connection_class(**{**pool.connection_kwargs, "protocol": 3})
        self._connection.connect()
        # The client's own client-side cache hooks in at the same place; there is no public one.
        self._connection._parser.set_invalidation_push_handler(self._told)  # noqa: SLF001
        self._command("CLIENT", "TRACKING", "ON", "BCAST", *(p for head in self._heads for p in ("PREFIX", head)))
        for prefix, key in split(self._scan.keys(), self._heads):
            with self._lock:
                if prefix in self._unsettled:
                    self._late.append(key)
                else:
                    self._names.add(prefix, key)
            self._stay_within()
        self._clear_late()
        with self._lock:
            self._unsettled.clear()
            self._warm = True
            self._is_lost = False
        _log.debug("key index ready", action="index.ready")

    def _command(self, *parts: str) -> None:
        self._connection.send_command(*parts)
        self._connection.read_response()

    def _read_one(self) -> None:
        """One push (taken by :meth:`_told`), or the answer to a PING, which closes the oldest window."""
        has_news = self._has_news()
        with self._lock:
            if has_news:
                with suppress(redis.TimeoutError):  # of a message that has not arrived whole
                    answer = self._connection.read_response(
                        push_request=True, timeout=_REST_S, disconnect_on_error=False
                    )
                    if answer in ("PONG", b"PONG"):
                        self._close_windows()
                    return
            if self._closing and time.monotonic() - self._closing[0][0] > _ANSWER_LIMIT_S:
                raise redis.TimeoutError("no answer")
            # Also when idle: a connection that died without a word would leave the index silently out of date.
            self._ping((), ())

    def _has_news(self) -> bool:
        """Wait a while for something to read. Only that is done without the lock: a TLS connection bears one thread."""
        with self._lock:
            if self._connection.can_read(timeout=0):
                return True
        waiting = select.poll()
        waiting.register(self._connection._sock, select.POLLIN)  # noqa: SLF001  # the client's own wait reads, too
        return bool(waiting.poll(_READ_TIMEOUT_S * 1000))

    def _ping(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        """With the lock held. The answer ends the windows of ``prefixes``."""
        self._closing.append((time.monotonic(), prefixes, accepted))
        self._connection.send_command("PING", check_health=False)

    def _close_windows(self) -> None:
        """With the lock held: the oldest PING was answered."""
        if not self._closing:
            return
        _, prefixes, accepted = self._closing.popleft()
        for prefix in prefixes:
            window = self._windows[prefix]
            window.open -= 1
            window.is_cleared |= prefix in accepted
            if window.open:
                continue
            del self._windows[prefix]
            if window.is_cleared:
                self._names.remove(prefix, window.touched)
                self._late += window.touched
            else:
                for key in window.touched:
                    self._names.add(prefix, key)

    def _told(self, push: list[Any]) -> None:
        """Called by the client for each invalidation: ``["invalidate", keys]``, keys None after a FLUSHALL."""
        keys = push[1]
        with self._lock:
            if keys is None:
                self._names.clear()
                return
            names = (key.decode(errors="surrogateescape") if isinstance(key, bytes) else key for key in keys)
            for prefix, key in split(names, self._heads):
                if prefix in self._windows:
                    self._windows[prefix].touched.add(key)
                else:
                    self._names.add(prefix, key)

    def _stay_within(self) -> None:
        if len(self._names) > self._limit:
            raise _TooMany

    def _clear_late(self) -> None:
        """Keys that could not be cleared now stay due."""
        late = tuple(self._late)
        if late:
            self._keys.unlink(late)
            del self._late[: len(late)]

    def _forget(self) -> None:
        """With the lock held: the connection is gone, so nothing that was heard is complete any more. Users whose
        windows were open may have keys that nobody told of: those are cleared with the next first pass.
        """
        self._unsettled.update(self._windows)
        self._warm = False
        self._names.clear()
        self._windows.clear()
        self._closing.clear()
