"""How many calls a minute are allowed."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque


class Limit:
    """Limits the calls per minute, of all callers together."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._calls: deque[float] = deque()

    def wait_s(self) -> int:
        """0 if the call is allowed, and count it; else the seconds until the next call is allowed."""
        with self._lock:
            now = time.monotonic()
            if wait_s := self._wait_s(now):
                return wait_s
            self._calls.append(now)
            return 0

    def ask_s(self) -> int:
        """As :meth:`wait_s`, but the call is not counted."""
        with self._lock:
            return self._wait_s(time.monotonic())

    def _wait_s(self, now: float) -> int:
        while self._calls and now - self._calls[0] >= 60:
            self._calls.popleft()
        return 0 if len(self._calls) < self._per_minute else max(1, round(60 - (now - self._calls[0])))


class Limits:
    """A limit for each caller. Of ``most`` callers at once; beyond it, the one that called first is forgotten."""

    def __init__(self, per_minute: int, most: int = 1000) -> None:
        self._per_minute = per_minute
        self._most = most
        self._lock = threading.Lock()
        self._of: OrderedDict[str, Limit] = OrderedDict()

    def of(self, caller: str) -> Limit:
        """The limit of one caller."""
        with self._lock:
            found = self._of.setdefault(caller, Limit(self._per_minute))
            self._of.move_to_end(caller)
            if len(self._of) > self._most:
                self._of.popitem(last=False)
            return found
