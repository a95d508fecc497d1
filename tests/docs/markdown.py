"""The parts of Markdown that the tests look at: fenced blocks, and the first cells of table rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(file: Path, language: str) -> Iterator[str]:
    """The fenced blocks of one language."""
    for found, text in _FENCE.findall(file.read_text(encoding="utf-8")):
        if found == language:
            yield text


def rows(file: Path, cells: int) -> Iterator[tuple[str, ...]]:
    """The first ``cells`` cells of every table row, without the backquotes around them."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield tuple(cell.strip().strip("`") for cell in line.strip("|").split("|")[:cells])


def pages() -> list[Path]:
    """Every page of the project's documentation."""
    return sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "connect").glob("*.md")])
