"""The guard of a user: a version for each table, marks of changes that could not be applied, and kept fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consumer.errors import Place
from consumer.guard.version import Version, is_of_deleted


@dataclass(frozen=True, slots=True)
class GuardState:
    """The parsed guard of a user.

    ``versions``: by table. ``deleted``: the tables whose version is that of the user's delete. ``marks``: by table,
    the record since which the user is not whole in Redis. ``kept``: fields of linked tables, for a config hash that is
    created later.
    """

    versions: Mapping[str, Version] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()
    marks: Mapping[str, Place] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, found: Mapping[str, str]) -> GuardState:
        """Parse the guard's hash. An unreadable value is left out; the next change of its table reports the error."""
        versions, marks, kept = {}, {}, {}
        for name, text in found.items():
            kind, rest = name[:1], name[1:]
            try:
                if kind == "+":
                    kept[rest] = text
                elif kind == "!":
                    topic, partition, offset = text.rsplit("|", 2)
                    marks[rest] = Place(topic, int(partition), int(offset))
                elif kind != ">":
                    versions[name] = Version.from_text(text)
            except ValueError:
                continue
        deleted = frozenset(name for name in versions if is_of_deleted(found[name]))
        return cls(versions, deleted, marks, kept)
