"""Text that fits into a line: names that are counted where there is no room for all, and no word that is broken."""

from __future__ import annotations

from collections.abc import Sequence

_MORE = " …"


def names(every: Sequence[str], shown: int) -> str:
    """The first ``shown`` names, and the number of the others."""
    more = f" +{len(every) - shown}" if shown < len(every) else ""
    return ", ".join(every[:shown]) + more


def whole_words(text: str, room: int) -> str:
    """As many words as ``room`` columns hold, at least one, and ``…`` for the others."""
    words = text.split(" ")
    if len(text) <= room or len(words) == 1:
        return text
    shown = words[:-1]
    while len(shown) > 1 and len(" ".join(shown)) + len(_MORE) > room:
        shown.pop()
    return " ".join(shown) + _MORE
