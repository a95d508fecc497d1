"""How commands show what they found: the same on every screen, and plain text where the output is no terminal.

On a terminal: a symbol with a colour for each level, and lines that are wrapped between words. Elsewhere: the level as
a word, no colour, and one line for each thing however long it is, so that programs can split the output into lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from consumer.commands.shared.finding import Finding, Level

_SYMBOLS = {Level.OK: "✓", Level.WARNING: "!", Level.FAILURE: "✗"}
_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILURE: "bold red"}
_ADVICE = "what to do: "
_GAP = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing of a list. ``below``: lines below it. ``plain``: all of it as text, where the output is no terminal.

    ``level``: None for a thing that is neither well nor wrong; it has no symbol.
    """

    level: Level | None
    subject: str
    text: str
    below: Sequence[str]
    plain: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table. ``note``: a text of any length; on a terminal it is below the cells."""

    cells: Sequence[str]
    note: str = ""
    level: Level | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under the names of their columns. ``numbers``: the columns with numbers. ``note``: the name of the notes."""

    columns: Sequence[str]
    rows: Sequence[Row]
    numbers: frozenset[str] = frozenset()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """The last line: how all is."""

    level: Level
    text: str


Part: TypeAlias = Finding | Sequence[Finding] | Entry | Table | Summary | Text
"""What can be shown: a finding, findings below each other, an entry of a list, a table, a summary, a text."""


class Screen:
    """Standard output. ``console``: another one, for tests."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, emoji=False)

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees the output as it is printed."""
        return self.console.is_terminal

    @property
    def width(self) -> int | None:
        """The columns of the terminal; None if the output is no terminal."""
        return self.console.width if self.is_terminal else None

    def show(self, *parts: Part) -> None:
        """Print these parts, one after the other."""
        if self.is_terminal:
            self.console.print(self.drawn(*parts))
            return
        for part in parts:
            for line in _plain(part):
                typer.echo(line, file=self.console.file)

    def drawn(self, *parts: Part) -> RenderableType:
        """These parts as a terminal shows them."""
        return Group(*(self._drawn(part) for part in parts))

    def _drawn(self, part: Part) -> RenderableType:
        if isinstance(part, Text):
            return part
        if isinstance(part, Finding):
            below = [f"{_ADVICE}{part.advice}"] if part.advice else []
            return self._entry(part.level, Text.assemble((part.subject, "bold"), ": ", part.found), below)
        if isinstance(part, Entry):
            subject = ((part.subject, "bold"), ": ") if part.subject else ()
            return self._entry(part.level, Text.assemble(*subject, part.text), part.below)
        if isinstance(part, Summary):
            return self._entry(part.level, Text(part.text, _STYLES[part.level]), [])
        return self._table(part) if isinstance(part, Table) else self._findings(part)

    def _mark(self, level: Level | None) -> Text:
        if level is None:
            return Text("")
        is_able = self.console.encoding.lower().startswith("utf")
        return Text(_SYMBOLS[level] if is_able else level, _STYLES[level])

    def _entry(self, level: Level | None, text: Text, below: Sequence[str]) -> RenderableType:
        grid = Grid.grid(padding=(0, 1, 0, 0))
        mark = Text(" ") if level is None else self._mark(level)
        grid.add_row(mark, Group(text, *(Text(each, "dim") for each in below)))
        return grid

    def _findings(self, found: Sequence[Finding]) -> RenderableType:
        """Below each other, with equal indents."""
        grid = Grid.grid(padding=(0, 1, 0, 0))
        grid.add_column()
        grid.add_column(style="bold", no_wrap=True)
        for each in found:
            lines = [Text(each.found), *([Text(f"{_ADVICE}{each.advice}", "dim")] if each.advice else [])]
            grid.add_row(self._mark(each.level), each.subject, Group(*lines))
        return grid

    def _table(self, table: Table) -> RenderableType:
        widths = _widths([table.columns, *(row.cells for row in table.rows)])
        marks = [self._mark(row.level) for row in table.rows]
        widest = max(map(len, marks), default=0)
        indent = widest + 1 if widest else 0
        if indent + sum(widths) + _GAP * (len(widths) - 1) > self.console.width:
            return Group(*self._stacked(table, indent))
        lines: list[RenderableType] = [_indented(Text(_line(table, table.columns, widths), "dim"), indent)]
        for mark, row in zip(marks, table.rows, strict=True):
            cells = Text(_line(table, row.cells, widths))
            lines.append(Text.assemble(mark, " " * (indent - len(mark)), cells))
            if row.note:
                lines.append(_indented(Text(row.note, _STYLES[row.level] if row.level else ""), indent + _GAP))
        return Group(*lines)

    def _stacked(self, table: Table, indent: int) -> Iterator[RenderableType]:
        """For a screen that is too narrow for a line: the first cell, below it the others with their names."""
        for row in table.rows:
            first, *others = row.cells
            yield Text.assemble(self._mark(row.level), " " if indent else "", (first, "bold"))
            named = zip(table.columns[1:], others, strict=True)
            yield _indented(Text(", ".join(f"{name} {cell}" for name, cell in named if cell)), indent + _GAP)
            if row.note:
                yield _indented(Text(row.note, _STYLES[row.level] if row.level else ""), indent + _GAP)


def summary(found: Iterable[Finding], more: str = "") -> Summary:
    """One line for all: the first failure and the number of others, or that all is well, and ``more`` about it."""
    every = list(found)
    failures, warnings = ([each for each in every if each.level is level] for level in (Level.FAILURE, Level.WARNING))
    if failures:
        others = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        return Summary(Level.FAILURE, f"not ok: {failures[0].subject}: {failures[0].found}{others}")
    text = f"ok, with {len(warnings)} warning{'s' if len(warnings) > 1 else ''}" if warnings else "ok"
    return Summary(Level.WARNING if warnings else Level.OK, f"{text}: {more}" if more else text)


def finding_lines(finding: Finding) -> list[str]:
    """One line, and a second one if there is advice: for a pipe."""
    lines = [f"{finding.level:<8} {finding.subject}: {finding.found}"]
    return [*lines, f"{'':<8}   {_ADVICE}{finding.advice}"] if finding.advice else lines


def _plain(part: Part) -> Iterator[str]:
    if isinstance(part, Finding):
        yield from finding_lines(part)
    elif isinstance(part, Entry):
        yield part.plain
    elif isinstance(part, Table):
        has_levels, has_notes = any(row.level for row in part.rows), bool(part.note)
        head = [*([""] if has_levels else []), *part.columns, *([part.note] if has_notes else [])]
        rows = [
            [*([row.level or ""] if has_levels else []), *row.cells, *([row.note] if has_notes else [])]
            for row in part.rows
        ]
        lines = [[" ".join(cell.split()) for cell in cells] for cells in (head, *rows)]
        widths = _widths(lines)
        for cells in lines:
            yield (" " * _GAP).join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
    elif isinstance(part, Summary):
        yield part.text
    elif isinstance(part, Text):
        yield part.plain
    else:
        for each in part:
            yield from finding_lines(each)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _line(table: Table, cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.rjust(width) if name in table.numbers else cell.ljust(width)
        for name, cell, width in zip(table.columns, cells, widths, strict=True)
    )
    return (" " * _GAP).join(padded).rstrip()


def _indented(text: Text, by: int) -> RenderableType:
    return Padding(text, (0, 0, 0, by)) if by else text
