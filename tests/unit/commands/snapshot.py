"""What a command prints, compared with a file. ``UPDATE_SCREENS=1`` writes the files anew."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path

from rich.console import Console

from consumer.commands.shared.screen import Part, Screen

FOLDER = Path(__file__).parent / "screens"
WIDTHS = (80, 100, 120)
ONLY_IN_A_PIPE = {"ok", "warning", "failure", "place", "why", "state"}
"""Words of the output for a pipe that a terminal shows in another way, or not."""


def printed(*parts: Part, width: int, is_terminal: bool = True) -> str:
    """The text of these parts, without colours."""
    out = StringIO()
    console = Console(
        file=out, width=width, force_terminal=is_terminal, color_system=None, highlight=False, emoji=False
    )
    Screen(console).show(*parts)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def check_text(file: str, text: str) -> None:
    """Compare a text with a file."""
    if os.environ.get("UPDATE_SCREENS"):
        (FOLDER / file).write_text(text, encoding="utf-8")
    assert text == (FOLDER / file).read_text(encoding="utf-8"), f"{file}: UPDATE_SCREENS=1 writes it anew"


def check(name: str, *parts: Part) -> None:
    """Compare the screens of each width, and the output for a pipe, with the files."""
    texts = {f"{name}.{width}.txt": printed(*parts, width=width) for width in WIDTHS}
    texts[f"{name}.pipe.txt"] = printed(*parts, width=WIDTHS[0], is_terminal=False)
    for file, text in texts.items():
        check_text(file, text)
    for width in WIDTHS:
        screen = texts[f"{name}.{width}.txt"]
        assert max(map(len, screen.splitlines())) <= width
        broken = {word for word in texts[f"{name}.pipe.txt"].split() if word.rstrip(":") not in screen}
        assert broken <= ONLY_IN_A_PIPE
