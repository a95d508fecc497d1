"""Finds the keys with a user's prefix: the interface of an index, and an index that scans the server each time."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from consumer.mapping.keys import glob_of_text
from consumer.settings.sections import Redis
from consumer.sink.keyspace import Keyspace


class KeyIndex(Protocol):
    """Finds keys by prefix."""

    @property
    def state(self) -> str:
        """``warm``: the keys are known. ``cold``: look-ups scan until the keys are known.

        ``full``: look-ups scan, because there are too many keys. ``off``: look-ups always scan.
        """
        ...

    def matching(self, prefixes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The existing keys of each prefix. Opens a window for each prefix.

        Raises:
            redis.RedisError: a server had to be asked, and did not answer.

        """
        ...

    def close_windows(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        """Close the windows of ``prefixes``, the same as in the look-up, after the script has answered or failed.

        Keys that were written inside the windows of ``accepted`` are cleared. The plans of the other prefixes changed
        nothing.
        """
        ...

    def start(self) -> None:
        """The server answers: begin to collect its keys."""
        ...

    def close(self) -> None:
        """Stop collecting."""
        ...


class ScanIndex:
    """Makes one SCAN pass for all prefixes of a batch, and one more for keys that were written meanwhile.

    ``heads``: the first part of the prefixes, which is the same for all users (``financial_summary:``).
    """

    def __init__(self, keys: Keyspace, heads: Sequence[str]) -> None:
        self._keys = keys
        self._heads = heads
        self.prefixes_to_clear: set[str] = set()
        """Prefixes that still have to be cleared, because a pass failed."""

    @property
    def state(self) -> str:
        return "off"

    def matching(self, prefixes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {prefix: [] for prefix in prefixes}
        for prefix, key in split(self.keys(), self._heads):
            if prefix in found:
                found[prefix].append(key)
        return found

    def close_windows(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        self.prefixes_to_clear.update(accepted)
        if not self.prefixes_to_clear:
            return
        late = [key for keys in self.matching(sorted(self.prefixes_to_clear)).values() for key in keys]
        if late:
            self._keys.unlink(late)
        self.prefixes_to_clear.clear()

    def start(self) -> None:
        """Does nothing: each look-up scans."""

    def close(self) -> None:
        """Does nothing."""

    def keys(self) -> Iterator[str]:
        """Every key under the heads, by SCAN."""
        for head in self._heads:
            yield from self._keys.scan(f"{glob_of_text(head)}*")


def is_tracked(server: Redis, heads: Sequence[str]) -> bool:
    """Whether the server is asked to report writes under ``heads``."""
    return server.tracking and bool(heads)


def split(keys: Iterable[str], heads: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each key with its user's prefix; keys that belong to no user are left out."""
    patterns = [re.compile(rf"{re.escape(head)}[a-z][a-z0-9_]*:\d+:") for head in heads]
    for key in keys:
        for pattern in patterns:
            if found := pattern.match(key):
                yield found.group(), key
