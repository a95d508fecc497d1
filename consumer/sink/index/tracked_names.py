"""What is known of keys that a server tells of: their names, which were touched in a window, which may be gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.mapping.key_names import KeyNames


@dataclass(slots=True)
class _Window:
    """A prefix between look-up and answer: how many look-ups are open, and the keys that were touched meanwhile.

    That includes the keys that the script removed. ``is_cleared``: a plan was accepted, or may have been.
    """

    open: int = 0
    touched: set[str] = field(default_factory=set)
    is_cleared: bool = False


class TrackedNames:
    """The names of keys by their prefix. A key is told of when it is written, removed or expires, and not which."""

    def __init__(self) -> None:
        self._names = KeyNames()
        self._windows: dict[str, _Window] = {}
        self._doubtful: dict[str, str] = {}
        self.late: list[str] = []
        """Keys that were written inside a window, and have to be cleared."""

    def __len__(self) -> int:
        return len(self._names)

    @property
    def open(self) -> Collection[str]:
        """The prefixes whose windows are open."""
        return self._windows.keys()

    def found(self, prefix: str, key: str) -> None:
        """The key is there."""
        self._names.add(prefix, key)

    def look_up(self, prefixes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The names of each prefix, and a window opened for each."""
        for prefix in prefixes:
            self._windows.setdefault(prefix, _Window()).open += 1
        return {prefix: self._names.of(prefix) for prefix in prefixes}

    def touched(self, keys: Iterable[tuple[str, str]]) -> None:
        """The server told of these, each with its prefix."""
        for prefix, key in keys:
            if prefix in self._windows:
                self._windows[prefix].touched.add(key)
            else:
                self._doubt(prefix, key)

    def close(self, prefixes: Sequence[str], accepted: Collection[str]) -> None:
        """The windows of a look-up end; what was touched in those of ``accepted`` was cleared, or is late."""
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
        """Those that were touched since this was asked last, with their prefixes: they may be gone."""
        found = [(prefix, key) for key, prefix in self._doubtful.items()]
        self._doubtful.clear()
        return found

    def gone(self, prefix: str, key: str) -> None:
        """The key is not there, or not on this server any more."""
        self._names.remove(prefix, (key,))

    def emptied(self) -> None:
        """The server has no keys any more."""
        self._names.clear()
        self._doubtful.clear()

    def forget(self) -> set[str]:
        """Nothing is known any more. Answers the prefixes whose windows were open: nobody tells what was in them."""
        lost = set(self._windows)
        self._windows.clear()
        self.emptied()
        return lost

    def _doubt(self, prefix: str, key: str) -> None:
        self._names.add(prefix, key)
        self._doubtful[key] = prefix
