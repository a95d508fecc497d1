"""Times as a person writes them on a command line, the same in every option of every command."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from consumer.errors import ConfigError

FORMS = "a time such as 2024-01-15T10:30:00Z, or 10m for ten minutes ago (s, m, h, d)"

# RFC 3339, and its beginnings: without a zone it is UTC, without a time of day midnight.
_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)?)?")
_AGO = re.compile(r"(\d{1,9})([smhd])")
_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse(text: str, option: str, now_ms: int) -> int:
    """The time that ``text`` says, in UTC milliseconds; ``now_ms`` is the present, ``option`` what an error calls it.

    Raises:
        ConfigError: it says none; with an example.
    """
    found = read(text, now_ms)
    if found is None:
        raise ConfigError(option, f"can't be read: {text!r}", allowed=FORMS)
    return found


def read(text: str, now_ms: int) -> int | None:
    """The same, or None where it says none."""
    if (ago := _AGO.fullmatch(text)) is not None:
        return now_ms - int(ago[1]) * _UNITS_MS[ago[2]]
    if _TIME.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:  # a 13th month
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
