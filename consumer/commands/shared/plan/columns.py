"""Texts side by side in columns. No word is broken: if words are too long for columns, the texts follow each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

_GAP = "  "


def side_by_side(head: Sequence[str], rows: Sequence[Sequence[str]], width: int, indent: str = "  ") -> Iterator[str]:
    """Lines of at most ``width`` characters, unless a single word is longer.

    ``head``: the titles of the columns; that of the first one is not shown.
    """
    widths = _widths([*zip(head, *rows, strict=True)], width - len(indent) - len(_GAP) * (len(head) - 1))
    if widths is None:
        yield from _one_below_the_other(head, rows, width, indent)
        return
    for row in (("", *head[1:]), *rows):
        cells = [
            wrap(text, size, break_long_words=False, break_on_hyphens=False) or [""]
            for text, size in zip(row, widths, strict=True)
        ]
        for at in range(max(map(len, cells))):
            parts = [(cell[at] if at < len(cell) else "").ljust(size) for cell, size in zip(cells, widths, strict=True)]
            yield (indent + _GAP.join(parts)).rstrip()


def _widths(columns: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """A width for each column, at least that of its longest word; None if there is no room for that."""
    least = [max((len(word) for text in column for word in text.split()), default=0) for column in columns]
    wanted = [max(map(len, column)) for column in columns]
    left = room - sum(least)
    if left < 0:
        return None
    widths = list(least)
    for at in sorted(range(len(columns)), key=lambda at: wanted[at] - least[at]):
        more = min(left, wanted[at] - least[at])
        widths[at] += more
        left -= more
    return widths


def _one_below_the_other(head: Sequence[str], rows: Sequence[Sequence[str]], width: int, indent: str) -> Iterator[str]:
    titles = max(map(len, head[1:]))
    for row in rows:
        yield indent + row[0]
        for title, text in zip(head[1:], row[1:], strict=True):
            start = f"{indent}  {title:{titles}}  "
            yield from wrap(
                text or "–",
                width,
                initial_indent=start,
                subsequent_indent=" " * len(start),
                break_long_words=False,
                break_on_hyphens=False,
            )
