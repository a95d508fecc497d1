"""Key names by prefix, for millions of keys: what follows the prefix is stored once for all users who have it."""

from __future__ import annotations

from collections.abc import Iterable
from sys import intern

_FEW = 8
"""Up to this number a tuple is searched as fast as a set, and takes a quarter of its memory."""


class KeyNames:
    """The set of names that were added and not removed."""

    def __init__(self) -> None:
        self._ends: dict[str, tuple[str, ...] | set[str]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, prefix: str) -> tuple[str, ...]:
        """All names that were added under ``prefix``."""
        return tuple(prefix + end for end in self._ends.get(prefix, ()))

    def of_all(self, prefixes: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The names under each of ``prefixes``."""
        found: dict[str, tuple[str, ...]] = dict.fromkeys(prefixes, ())
        for prefix in self._ends.keys() & found.keys():
            found[prefix] = self.of(prefix)
        return found

    def add(self, prefix: str, name: str) -> None:
        """Add ``name``, which begins with ``prefix``."""
        end = name[len(prefix) :]
        known = self._ends.get(prefix, ())
        if end in known:
            return
        self._count += 1
        end = intern(end)
        if isinstance(known, set):
            known.add(end)
        elif len(known) < _FEW:
            self._ends[prefix] = (*known, end)
        else:
            self._ends[prefix] = {*known, end}

    def remove(self, prefix: str, names: Iterable[str]) -> None:
        """Remove ``names`` from those under ``prefix``; unknown names are ignored."""
        known = self._ends.get(prefix, ())
        left = set(known) - {name[len(prefix) :] for name in names}
        self._count -= len(known) - len(left)
        if not left:
            self._ends.pop(prefix, None)
        else:
            self._ends[prefix] = left if len(left) > _FEW else tuple(left)

    def clear(self) -> None:
        """Remove all names."""
        self._ends.clear()
        self._count = 0
