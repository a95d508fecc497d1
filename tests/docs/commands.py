"""Every command with its options as Markdown. ``python -m tests.docs.commands`` writes them into their page anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import typer

from consumer.commands.cli import app
from tests.docs.markdown import PROJECT

PAGE = PROJECT / "docs" / "commands.md"
_HEAD = "| option | | commands |\n|---|---|---|\n"


class Parameter(NamedTuple):
    """An option or argument of a command."""

    command: str
    name: str
    help: str
    is_option: bool


def parameters() -> list[Parameter]:
    """Those of all commands, in the commands' order."""
    return list(_below(typer.main.get_command(app), ""))


def table() -> str:
    """From its head to its last line: each option once for each meaning that it has."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in sorted(parameters(), key=lambda each: (each.name, each.command)):
        if each.is_option:
            found.setdefault((each.name, each.help), []).append(each.command)
    lines = (
        f"| `{name}` | {text.replace('|', ',')} | {', '.join(f'`{command}`' for command in commands)} |\n"
        for (name, text), commands in found.items()
    )
    return _HEAD + "".join(lines)


def _below(command: Any, path: str) -> Iterator[Parameter]:
    below: dict[str, Any] = getattr(command, "commands", {})
    for name in sorted(below):
        yield from _below(below[name], f"{path} {name}".strip())
    if not below:
        for each in command.params:
            is_option = each.param_type_name == "option"
            name = (
                next((opt for opt in each.opts if opt.startswith("--")), each.name) if is_option else each.name.upper()
            )
            if name != "--help":
                yield Parameter(path, name, each.help or "", is_option)


if __name__ == "__main__":
    before, _, _ = PAGE.read_text(encoding="utf-8").partition(_HEAD)
    PAGE.write_text(before + table(), encoding="utf-8")
