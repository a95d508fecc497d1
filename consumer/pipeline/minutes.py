"""What the members of a group did in each minute, for charts: records finished, and records left. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of the whole group, or what one member adds to it. ``number``: since 1970.

    ``done``: the records that were finished in it. ``lag_records``: the records that were left at its begin.
    """

    number: int
    done: int
    lag_records: int


class MinuteCounter:
    """Divides a total that only grows into minutes."""

    def __init__(self) -> None:
        self._number = -1
        self._done: int | None = None

    def take(self, done: int, lag_records: int, now_s: float) -> Minute:
        """What to add to the present minute. The lag is added once a minute, because members look more often.

        ``done``: the total since the member's start. ``now_s``: UTC seconds.
        """
        number = int(now_s // 60)
        is_first, self._number = number != self._number, number
        before, self._done = self._done, done
        return Minute(number, 0 if before is None else max(0, done - before), lag_records if is_first else 0)
