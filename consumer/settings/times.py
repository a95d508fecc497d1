"""Times on a command line, in the same form for every option of every command; and the longest time to live."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time

from consumer.errors import ConfigError

LONGEST_EXPIRY_S = 10 * 365 * 86_400
"""Ten years: the longest time to live of a key in Redis. Redis counts in ms, and refuses what its clock can't hold."""

FORMS = (
    "a time such as 2024-01-15T10:30:00Z, a time of day (UTC) such as 10:30, or 10m for ten minutes ago (s, m, h, d)"
)

# RFC 3339, or only its first part: without a zone it is UTC, without a time of day it is midnight.
_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)?)?")
_TIME_OF_DAY = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?[Zz]?")
_AGO = re.compile(r"(\d{1,9})([smhd])")
_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DAY_MS = _UNITS_MS["d"]
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999: later times have no text."""


def parse(text: str, option: str, now_ms: int) -> int:
    """Parse ``text`` to UTC milliseconds, 0 or more.

    ``now_ms``: the present time. ``option``: the option's name in an error.

    Raises:
        ConfigError: the text is no time; the error shows an example.
    """
    found = read(text, now_ms)
    if found is None:
        raise ConfigError(option, f"can't be read: {text!r}", allowed=FORMS)
    return found


def read(text: str, now_ms: int) -> int | None:
    """As :func:`parse`, but None if the text is no time."""
    if (ago := _AGO.fullmatch(text)) is not None:
        return max(0, now_ms - int(ago[1]) * _UNITS_MS[ago[2]])  # Kafka refuses a time before 1970
    if _TIME_OF_DAY.fullmatch(text) is not None:
        return _last_time_of_day(text, now_ms)
    if _TIME.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:  # a 13th month
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(_LAST_MS, max(0, round(moment.timestamp() * 1000)))


def is_relative(text: str) -> bool:
    """Whether the time that ``text`` means depends on the present time."""
    return _AGO.fullmatch(text) is not None or _TIME_OF_DAY.fullmatch(text) is not None


def _last_time_of_day(text: str, now_ms: int) -> int | None:
    """The last moment up to ``now_ms`` with this time of day, UTC: today's, or yesterday's if today's is to come."""
    try:
        at = time.fromisoformat(text.upper().removesuffix("Z"))
    except ValueError:  # a 25th hour
        return None
    of_day_ms = ((at.hour * 60 + at.minute) * 60 + at.second) * 1000 + at.microsecond // 1000
    today_ms = now_ms - now_ms % _DAY_MS + of_day_ms
    return today_ms if today_ms <= now_ms else today_ms - _DAY_MS
