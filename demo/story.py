"""Which step of the admin app a recorded change belongs to, by where the database's log stood after each step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Chapter:
    """A step of the admin app. ``until`` is the log's position after it, in the form of ``SourcePosition.order``."""

    title: str
    until: str


def save(chapters: Sequence[Chapter], path: Path) -> None:
    """Write the chapters, in their order, as JSON."""
    text = json.dumps([asdict(chapter) for chapter in chapters], indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def load(path: Path) -> tuple[Chapter, ...]:
    """The inverse of :func:`save`."""
    return tuple(Chapter(**raw) for raw in json.loads(path.read_text(encoding="utf-8")))


def number_of(order: str, chapters: Sequence[Chapter]) -> int:
    """The index of the chapter in which a change at ``order`` happened."""
    return next((at for at, chapter in enumerate(chapters) if order <= chapter.until), len(chapters) - 1)
