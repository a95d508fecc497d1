"""Which keys begin with a user's prefix: what is asked of an index, and the index that asks the server each time."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from consumer.mapping.keys import glob_of_text
from consumer.settings.sections import Redis
from consumer.sink.keyspace import Keyspace


class KeyIndex(Protocol):
    """Keys by prefix."""

    @property
    def state(self) -> str:
        """``warm``, ``cold`` (look-ups scan until the keys are known), ``full`` (they scan: there are too many keys to
        know), ``off`` (they always scan).
        """
        ...

    def matching(self, prefixes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The keys that begin with each prefix, and a window opened for each.

        Raises:
            redis.RedisError: the server had to be asked, and could not be.

        """
        ...

    def settle(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        """The script has answered, or failed: close the windows of ``prefixes``, as they were looked up.

        What was written inside those of ``accepted`` is cleared. The plans of the others changed nothing.
        """
        ...

    def start(self) -> None:
        """The server is there: begin to learn its keys."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class ScanIndex:
    """One SCAN pass for all prefixes of a batch, and one more for what was written meanwhile.

    ``heads`` are what all prefixes of a kind begin with (``financial_summary:``).
    """

    def __init__(self, keys: Keyspace, heads: Sequence[str]) -> None:
        self._keys = keys
        self._heads = heads
        self._owed: set[str] = set()
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

    def settle(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        self._owed.update(accepted)
        if not self._owed:
            return
        late = [key for keys in self.matching(sorted(self._owed)).values() for key in keys]
        if late:
            self._keys.unlink(late)
        self._owed.clear()

    def start(self) -> None:
        """There is nothing to learn ahead."""

    def close(self) -> None:
        """There is nothing to stop."""

    def keys(self) -> Iterator[str]:
        """Every key under the heads, by SCAN."""
        for head in self._heads:
            yield from self._keys.scan(f"{glob_of_text(head)}*")


def is_tracked(server: Redis, heads: Sequence[str]) -> bool:
    """Whether the server is asked to tell of writes under ``heads``."""
    return server.tracking and bool(heads)


def split(keys: Iterable[str], heads: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each key with the user's prefix it begins with; keys that belong to no user are left out."""
    patterns = [re.compile(rf"{re.escape(head)}[a-z][a-z0-9_]*:\d+:") for head in heads]
    for key in keys:
        for pattern in patterns:
            if found := pattern.match(key):
                yield found.group(), key
