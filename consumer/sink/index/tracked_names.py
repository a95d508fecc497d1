"""The tracked keys of a server: their names, which were touched in a window, and which may be gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.mapping.key_names import KeyNames


@dataclass(slots=True)
class _Window:
    """A prefix between look-up and answer. ``open``: the number of look-ups without an answer.

    ``touched``: the keys that were touched meanwhile, also those that the script removed. ``is_cleared``: a plan was
    accepted, or may have been.
    """

    open: int = 0
    touched: set[str] = field(default_factory=set)
    is_cleared: bool = False


class TrackedNames:
    """The names of keys by prefix.

    The server reports that a key was touched: written, removed or expired. It does not report which of the three.
    """

    def __init__(self) -> None:
        self._names = KeyNames()
        self._windows: dict[str, _Window] = {}
        self._doubtful: dict[str, str] = {}
        self.late: list[str] = []
        """Keys that were written inside a window, and must be cleared."""

    def __len__(self) -> int:
        return len(self._names)

    @property
    def open(self) -> Collection[str]:
        """The prefixes whose windows are open."""
        return self._windows.keys()

    def found(self, prefix: str, key: str) -> None:
        """The key exists."""
        self._names.add(prefix, key)

    def look_up(self, prefixes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The names of each prefix. Opens a window for each prefix."""
        for prefix in prefixes:
            self._windows.setdefault(prefix, _Window()).open += 1
        return {prefix: self._names.of(prefix) for prefix in prefixes}

    def touched(self, keys: Iterable[tuple[str, str]]) -> None:
        """The server reported these keys as touched, each with its prefix."""
        for prefix, key in keys:
            if prefix in self._windows:
                self._windows[prefix].touched.add(key)
            else:
                self._doubt(prefix, key)

    def close(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        """End the windows of a look-up. Keys that were touched in those of ``accepted`` were cleared, or are late."""
        for prefix in prefixes:
            window = self._windows[prefix]
            window.open -= 1
            window.is_cleared |= prefix in accepted
            if window.open:
                continue
            del self._windows[prefix]
            if window.is_cleared:
                self._names.remove(prefix, window.touched)
                self.late += window.touched
            else:
                for key in window.touched:
                    self._doubt(prefix, key)

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
        lost = set(self._windows)
        self._windows.clear()
        self.emptied()
        return lost

    def _doubt(self, prefix: str, key: str) -> None:
        self._names.add(prefix, key)
        self._doubtful[key] = prefix
