"""The bounds of a replay, as an operator writes them: offsets, a time, the beginning or the end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from consumer.errors import ConfigError
from consumer.events.record import Partition
from consumer.events.value import timestamp
from consumer.settings import times as moment

_OFFSET = re.compile(r"(.+):([0-9]{1,9}):([0-9]{1,18})")
_ALLOWED = f"beginning, end, topic:partition:offset, comma separated, or {moment.FORMS}"


@dataclass(frozen=True, slots=True)
class Beginning:
    """The oldest record that Kafka still has."""

    def __str__(self) -> str:
        return "beginning"


@dataclass(frozen=True, slots=True)
class End:
    """After the last record that exists when the command starts."""

    def __str__(self) -> str:
        return "end"


@dataclass(frozen=True, slots=True)
class At:
    """The first record with this Kafka timestamp or a later one, UTC milliseconds."""

    ms: int

    def __str__(self) -> str:
        return timestamp(self.ms)


@dataclass(frozen=True, slots=True)
class Offsets:
    """An offset for each partition; other partitions are not read."""

    of: Mapping[Partition, int]

    def __str__(self) -> str:
        return ",".join(f"{part.topic}:{part.number}:{offset}" for part, offset in sorted(self.of.items()))


Bound: TypeAlias = Beginning | End | At | Offsets


@dataclass(frozen=True, slots=True)
class Span:
    """The records of one partition from offset ``begin`` (inclusive) to ``end`` (exclusive)."""

    topic: str
    partition: int
    begin: int
    end: int

    @property
    def size(self) -> int:
        """The number of offsets; some may have no record."""
        return max(0, self.end - self.begin)


def parse_bound(text: str, option: str, now_ms: int) -> Bound:
    """Parse a bound; ``now_ms``: the present time in UTC milliseconds, ``option``: the option's name in an error.

    Raises:
        ConfigError: the text is no bound.
    """
    if text == "beginning":
        return Beginning()
    if text == "end":
        return End()
    ms = moment.read(text, now_ms)
    return _parse_offsets(text, option) if ms is None else At(ms)


def check_order(begin: Bound, end: Bound) -> None:
    """Refuse bounds that can never have a record between them.

    Raises:
        ConfigError: ``end`` is before ``begin``.
    """
    match begin, end:
        case (At(first), At(last)) if first > last:
            pass
        case (Offsets(first), Offsets(last)) if any(last.get(part, at) < at for part, at in first.items()):
            pass
        case (End(), At() | Offsets() | Beginning()) | (At() | Offsets(), Beginning()):
            pass
        case _:
            return
    raise ConfigError("--from, --to", f"{end} is before {begin}", fix="give the earlier one as --from")


def parse_size(text: str, option: str) -> int:
    """Parse a number of bytes such as ``512M``.

    Raises:
        ConfigError: the text is no size.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,8})([KMG]?)", text.upper())
    if found is None:
        raise ConfigError(option, f"can't be read: {text!r}", allowed="a number of bytes, or a number with K, M or G")
    return int(found[1]) << 10 * " KMG".index(found[2] or " ")


def _parse_offsets(text: str, option: str) -> Offsets:
    try:
        pairs = [_offset(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(option, f"can't be read: {text!r}", allowed=_ALLOWED) from None
    of = dict(pairs)
    if len(of) < len(pairs):
        raise ConfigError(option, f"the same partition twice: {text!r}", fix="name each partition once")
    return Offsets(of)


def _offset(text: str) -> tuple[Partition, int]:
    found = _OFFSET.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    return Partition(found[1], int(found[2])), int(found[3])
