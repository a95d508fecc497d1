"""The tracked keys of a server: their names, which were touched in a window, and which may be gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.mapping.key_names import KeyNames


@dataclass(slots=True, eq=False)
class _LookUp:
    """A look-up without an answer yet: the windows of its ``prefixes`` are open.

    ``touched``: the keys that were touched meanwhile, by prefix, also those that the script removed.
    """

    asked: Sequence[str]
    prefixes: frozenset[str]
    touched: dict[str, set[str]] = field(default_factory=dict)


class TrackedNames:
    """The names of keys by prefix.

    The server reports that a key was touched: written, removed or expired. It does not report which of the three.
    """

    def __init__(self) -> None:
        self._names = KeyNames()
        self._open: list[_LookUp] = []
        self._doubtful: dict[str, str] = {}
        self.late: list[str] = []
        """Keys that were written inside a window, and must be cleared."""

    def __len__(self) -> int:
        return len(self._names)

    @property
    def open(self) -> frozenset[str]:
        """The prefixes whose windows are open."""
        return frozenset().union(*(each.prefixes for each in self._open))

    def is_open(self, prefixes: Sequence[str]) -> bool:
        """Whether there is a look-up of ``prefixes`` without an answer."""
        return any(each.asked == prefixes for each in self._open)

    def found(self, prefix: str, key: str) -> None:
        """The key exists."""
        self._names.add(prefix, key)

    def look_up(self, prefixes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The names of each prefix. Opens a window for each prefix."""
        self._open.append(_LookUp(prefixes, frozenset(prefixes)))
        return self._names.of_all(prefixes)

    def touched(self, keys: Iterable[tuple[str, str]]) -> None:
        """The server reported these keys as touched, each with its prefix."""
        for prefix, key in keys:
            windows = [each for each in self._open if prefix in each.prefixes]
            for each in windows:
                each.touched.setdefault(prefix, set()).add(key)
            if not windows:
                self._doubt(prefix, key)

    def close(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        """End the windows of a look-up. Keys that were touched in those of ``accepted`` were cleared, or are late."""
        ended = next(each for each in self._open if each.asked == prefixes)
        self._open.remove(ended)
        for prefix, keys in ended.touched.items():
            if prefix in accepted:
                self._names.remove(prefix, keys)
                self.late += keys
            else:
                # A later look-up did not find the key, and its window was not open when the key was touched.
                self.touched((prefix, key) for key in keys)

    def doubtful(self) -> list[tuple[str, str]]:
        """The keys that were touched since the last call, with their prefixes: they may be gone."""
        found = [(prefix, key) for key, prefix in self._doubtful.items()]
        self._doubtful.clear()
        return found

    def gone(self, prefix: str, key: str) -> None:
        """The key does not exist, or is not on this server any more."""
        self._names.remove(prefix, (key,))

    def emptied(self) -> None:
        """The server has no keys any more."""
        self._names.clear()
        self._doubtful.clear()

    def forget(self) -> set[str]:
        """Drop everything. Answers the prefixes whose windows were open: keys in them may not be reported."""
        lost = set(self.open)
        self._open.clear()
        self.emptied()
        return lost

    def _doubt(self, prefix: str, key: str) -> None:
        self._names.add(prefix, key)
        self._doubtful[key] = prefix
