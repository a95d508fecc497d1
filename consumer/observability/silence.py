"""Decides whether a connector is silent, by the age of its newest heartbeat. Times are UTC seconds."""

from __future__ import annotations

from enum import StrEnum


class SilenceChange(StrEnum):
    """The change of state at a check."""

    BEGAN = "began"
    ENDED = "ended"


class Silence:
    """The state of one heartbeat topic. ``limit_s``: silent after that many seconds without a heartbeat; 0: never.

    ``newest``: the time of the newest heartbeat; None until there is one.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._started_at: float | None = None
        self._is_unknown = False
        self.newest: float | None = None
        self.is_silent = False

    def looked(self, newest: float | None, now: float) -> SilenceChange | None:
        """Store the result of a check: the time of the newest heartbeat, if there is one."""
        if newest is not None:
            self.newest = newest if self.newest is None else max(self.newest, newest)
        if self._is_unknown or (self.newest is None and self._started_at is None):
            # Heartbeats from the time without a check may still be missing in Kafka, so the limit starts again.
            self._started_at, self._is_unknown = now, False
        was_silent, self.is_silent = self.is_silent, bool(self._limit_s) and self._quiet_s(now) > self._limit_s
        if was_silent == self.is_silent:
            return None
        return SilenceChange.BEGAN if self.is_silent else SilenceChange.ENDED

    def blind(self) -> None:
        """Kafka could not be asked, so the state is unknown. A silence lasts until a heartbeat is seen."""
        self._is_unknown = not self.is_silent

    def age_s(self, now: float) -> float:
        """The age of the newest heartbeat, in seconds; if there was none yet, the time since the first check."""
        known = self.newest if self.newest is not None else self._started_at
        return 0.0 if known is None else max(0.0, now - known)

    def _quiet_s(self, now: float) -> float:
        return now - max(known for known in (self.newest, self._started_at) if known is not None)
