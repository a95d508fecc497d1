"""Points in time as text: UTC, milliseconds, years 1 to 9999.

The schema gives the unit of a number. Without a schema the size of the number gives the unit, but not always: the same
number may be milliseconds of a year after 5138, or microseconds of the 1970s.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from consumer.errors import InvalidValue
from consumer.events.event import UNREADABLE, ColumnSchema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS_PER_DAY = 86_400_000
_FIRST_MS = -62_135_596_800_000
"""The first millisecond of the year 1."""
_LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""
_SURELY_MS = 10**14
"""The year 5138. A number below it is milliseconds: as microseconds it would be a time before March 1973."""
_END_OF_TIME_MS = _LAST_MS - 2 * _MS_PER_DAY
"""From here on the time is 9999-12-31 in some time zone. Applications write this date for "never"."""
_UNITS_PER_MS = {"Timestamp": 1, "MicroTimestamp": 1_000, "NanoTimestamp": 1_000_000}
_PG_INFINITE = (9_223_372_036_825_200_000, 9_223_372_036_832_400_000)
_INFINITE = frozenset(
    number
    for positive in (*_PG_INFINITE, *(each // 1000 for each in _PG_INFINITE), 185_543_533_774_800_000, 2**63 - 1, 2**63)
    for number in (positive, -positive)
)
"""The numbers for ``infinity`` of PostgreSQL's JDBC driver, and so of Debezium: in full, or cut to milliseconds."""
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NO_UNIT = (
    "send the schema too (or Avro), or set time.precision.mode=isostring on the connector: without a schema this number"
    " may be milliseconds of a year after 5138 or microseconds of 1973 to 1978"
)


_NO_TIME = "????-??-??T??:??:??.???Z"
"""As long as a time, so that what stands below each other on the screen stays so."""


@lru_cache(maxsize=4096)
def timestamp(ms: int) -> str:
    """UTC milliseconds as ``2024-01-15T10:30:00.000Z``.

    Raises:
        InvalidValue: out of the years 1 to 9999.

    """
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


def shown_time(ms: int) -> str:
    """As :func:`timestamp`, for a number that may be no time: a record, a header or a key in Redis may have any."""
    try:
        return timestamp(ms)
    except InvalidValue:
        return _NO_TIME


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    try:
        return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    except OverflowError:
        raise InvalidValue("a time out of the years 1 to 9999") from None


def time_text(value: object, scale: int, schema: ColumnSchema) -> str:
    """The text of a time column, from epoch milli-, micro- or nanoseconds, or from ISO text.

    Parts of a millisecond are cut off.

    Raises:
        InvalidValue: not a point in time, or a number whose unit can't be known.
    """
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _number(value, schema.name.rpartition(".")[2])
    if isinstance(value, str):
        if value.lstrip("+-").lower() == "infinity":
            raise InvalidValue("infinity, which is no date")
        try:
            moment = datetime.fromisoformat(value) if _ISO.match(value) else None
        except ValueError:
            moment = None
        if moment is None:
            raise InvalidValue("not an ISO 8601 time of the years 1 to 9999")
        return _moment(moment)
    raise InvalidValue("the driver can't read it" if value is UNREADABLE else "should be a time")


def _moment(moment: datetime) -> str:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return timestamp((moment - _EPOCH) // timedelta(milliseconds=1))


def _number(value: int, name: str) -> str:
    if value in _INFINITE:
        raise InvalidValue("infinity, which is no date")
    if name == "Date":
        return timestamp(value * _MS_PER_DAY)
    if not name:
        return timestamp(value // _unit(value))
    if name not in _UNITS_PER_MS:
        raise InvalidValue(f"a number that the schema calls {name}, which is no point in time")
    return timestamp(value // _UNITS_PER_MS[name])


def _unit(value: int) -> int:
    """How many of the number's units are a millisecond, for a record without a schema."""
    for unit in (1, 1_000):
        if _FIRST_MS * unit <= value < _SURELY_MS * unit:
            return unit
        if _SURELY_MS * unit <= value <= _LAST_MS * unit + unit - 1:
            if value >= _END_OF_TIME_MS * unit:
                return unit
            raise InvalidValue("a time whose unit can't be known", advice=_NO_UNIT)
    return 1_000_000
