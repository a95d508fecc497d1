"""The streams of the mapping: each published message is also an entry of a Redis Stream of its channel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from consumer.mapping.keys import pattern

_CHANNEL = "<channel>"
_OWN = ("cdc:offsets:", "cdc:replay:", "cdc:member:", "cdc:audit:", "cdc:health:")
"""The beginnings of this program's keys that belong to no user."""

_MOST_ENTRIES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Streams:
    """``key``: template of a stream's name; ``<channel>`` stands for the channel.

    ``maxlen``: how many entries a stream keeps. Redis removes the oldest ones, and may keep a few more. ``maxlen_of``:
    this number for single channels.
    """

    key: str = "cdc:stream:<channel>"
    maxlen: int = 100_000
    maxlen_of: Mapping[str, int] = field(default_factory=dict)

    def key_of(self, channel: str) -> str:
        """The stream of ``channel``."""
        return self.key.replace(_CHANNEL, channel)

    def limit_of(self, channel: str) -> int:
        """About how many entries the stream of ``channel`` keeps."""
        return self.maxlen_of.get(channel, self.maxlen)


class StreamFault(NamedTuple):
    """A fault of ``[streams]`` at ``path``, a path within it."""

    path: tuple[str, ...]
    problem: str
    allowed: str


def stream_faults(
    streams: Streams, channels: Iterable[str], templates: Iterable[str], user_types: Iterable[str]
) -> Iterator[StreamFault]:
    """All faults of ``streams``. ``templates``: of the users' keys."""
    known = list(channels)
    yield from _limits(streams, known)
    if streams.key.count(_CHANNEL) != 1 or "<" in streams.key.replace(_CHANNEL, ""):
        yield StreamFault(
            ("key",), f"{streams.key!r} does not name one stream for each channel", f"a name with {_CHANNEL} in it"
        )
        return
    every, types = list(templates), list(user_types)
    for channel in known:
        key = streams.key_of(channel)
        if "<" in channel:
            yield StreamFault(
                ("key",), f"the channel {channel} can't be part of a stream's name", "a channel without <"
            )
        if own := next((each for each in _OWN if key.startswith(each)), ""):
            yield StreamFault(("key",), f"the program's own keys begin with {own}", "another beginning")
        if same := next((each for each in every if _is_users_key(key, each, types)), ""):
            yield StreamFault(("key",), f"{key} is also a key of {same}", "another beginning")


def _limits(streams: Streams, channels: Iterable[str]) -> Iterator[StreamFault]:
    known = sorted(channels)
    limits: list[tuple[tuple[str, ...], int]] = [(("maxlen",), streams.maxlen)]
    limits += [(("maxlen_of", name), each) for name, each in streams.maxlen_of.items()]
    for path, limit in limits:
        if not 1 <= limit <= _MOST_ENTRIES:
            yield StreamFault(path, "not a number of entries that a stream can keep", f"1 to {_MOST_ENTRIES:,}")
    for name in streams.maxlen_of:
        if name not in known:
            yield StreamFault(("maxlen_of", name), f"nothing is published on {name}", ", ".join(known))


def _is_users_key(key: str, template: str, user_types: Iterable[str]) -> bool:
    """Whether ``key`` is a key of a user. For a template with ``*``, its fixed beginning counts: the index of wildcard
    keys tracks all names that begin with it.
    """
    if template.endswith("*"):
        return key.startswith(template.partition("<")[0])
    return pattern(template, user_types).fullmatch(key) is not None
