"""How old the newest sign of life of a connector is, and when it counts as silent. Times are UTC seconds."""

from __future__ import annotations

from enum import StrEnum


class SilenceChange(StrEnum):
    """What changed with a look."""

    BEGAN = "began"
    ENDED = "ended"


class Silence:
    """Of one heartbeat topic. ``limit_s``: silent after so long without a sign; 0: never.

    ``newest`` is the time of the newest sign that was ever seen; None until there is one.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._counted_from: float | None = None
        self._is_blind = False
        self.newest: float | None = None
        self.is_silent = False

    def looked(self, newest: float | None, now: float) -> SilenceChange | None:
        """Kafka was asked: its newest sign, if there is one."""
        if newest is not None:
            self.newest = newest if self.newest is None else max(self.newest, newest)
        if self._is_blind or (self.newest is None and self._counted_from is None):
            # What came while nobody could look may not lie in Kafka yet.
            self._counted_from, self._is_blind = now, False
        was_silent, self.is_silent = self.is_silent, bool(self._limit_s) and self._quiet_s(now) > self._limit_s
        if was_silent == self.is_silent:
            return None
        return SilenceChange.BEGAN if self.is_silent else SilenceChange.ENDED

    def blind(self) -> None:
        """Kafka could not be asked: nobody knows. A silence goes on until a sign is seen."""
        self._is_blind = not self.is_silent

    def age_s(self, now: float) -> float:
        """The age of the newest sign; where there was none yet, since when it is looked for."""
        known = self.newest if self.newest is not None else self._counted_from
        return 0.0 if known is None else max(0.0, now - known)

    def _quiet_s(self, now: float) -> float:
        return now - max(known for known in (self.newest, self._counted_from) if known is not None)
