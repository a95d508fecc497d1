"""Text that fits into a line: names that are counted where there is no room for all, and no word that is broken."""

from __future__ import annotations

from collections.abc import Sequence


def names(every: Sequence[str], shown: int) -> str:
    """The first ``shown`` names, and the number of the others."""
    more = f" +{len(every) - shown}" if shown < len(every) else ""
    return ", ".join(every[:shown]) + more


def whole_words(text: str, room: int) -> str:
    """As many words as ``room`` columns hold, at least one, and ``…`` for the others."""
    words = text.split(" ")
    while len(words) > 1 and len(" ".join(words)) + 2 > room and len(text) > room:
        words.pop()
    shown = " ".join(words)
    return shown if shown == text else f"{shown} …"
