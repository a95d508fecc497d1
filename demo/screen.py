"""Where everything is printed: calm colours on a terminal, plain text of a fixed width in a log."""

from __future__ import annotations

import io
import shutil
import sys
import textwrap

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

_WIDTH = 120
_INDENT = 16


class Screen:
    """Headings, paragraphs, and lines with a label in front."""

    def __init__(self) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace", line_buffering=True)
        # Long lines are hard to read, so a wide terminal is not filled.
        is_terminal = sys.stdout.isatty()
        width = min(shutil.get_terminal_size().columns, _WIDTH) if is_terminal else _WIDTH
        self.console = Console(width=width, highlight=False, emoji=False)

    def part(self, title: str, text: str = "") -> None:
        """A part of the story begins."""
        self.console.print()
        self.console.print(Rule(Text(title, "bold"), align="left", style="dim"))
        if text:
            self.paragraph(text)

    def paragraph(self, text: str) -> None:
        """Text that explains."""
        self._print(text, style="dim")

    def heading(self, number: str, title: str) -> None:
        """A step within a part."""
        self.console.print()
        self._print(title, Text(f"{number:>3}  ", "cyan"), "bold")

    def line(self, label: str, text: str, style: str = "") -> None:
        """A label and its text, which goes on under itself where it is long."""
        self._print(text, Text(f"     {label}".ljust(_INDENT), "dim"), style)

    def good(self, text: str) -> None:
        """A finding that is as it should be."""
        self._print(text, Text("  ✓  ", "green"))

    def bad(self, text: str) -> None:
        """A finding that is not."""
        self._print(text, Text("  ✗  ", "bold red"), "red")

    def gap(self) -> None:
        """An empty line."""
        self.console.print()

    def _print(self, text: str, head: Text | None = None, style: str = "") -> None:
        """``text`` wrapped behind ``head``. Not by the console: it would pad each line to the full width."""
        head = head or Text("")
        width = max(40, self.console.width - head.cell_len)
        lines = textwrap.wrap(text.strip(), width, break_long_words=False, break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            lead = head if number == 0 else Text(" " * head.cell_len)
            self.console.print(Text.assemble(lead, (line, style)), soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table, set off by an empty line."""
        self.console.print()
        self.console.print(table)
