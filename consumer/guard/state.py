"""What stands in a user's guard: a version for each table, marks of changes that were lost, and fields kept aside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consumer.errors import Place
from consumer.guard.version import Version, is_of_deleted


@dataclass(frozen=True, slots=True)
class GuardState:
    """``versions`` are by table, and those in ``deleted`` are of the user's end. ``marks`` say since which record a
    table's changes are not whole, ``kept`` are fields of linked tables for a hash that is made later.
    """

    versions: Mapping[str, Version] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()
    marks: Mapping[str, Place] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, found: Mapping[str, str]) -> GuardState:
        """The guard from its hash. What can't be read there is left out: the next change of its table will say so."""
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
