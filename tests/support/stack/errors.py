"""What can go wrong while the stack starts, in words that say what to do.

StackError
├── MissingTool     the machine lacks a program or library: names the command that installs it
└── StartFailed     a server died or never answered: names it, its log and the log's last lines
"""

from __future__ import annotations

from dataclasses import dataclass

from consumer.errors import CdcError


class StackError(CdcError):
    """Base of what the stack raises on purpose."""


@dataclass(eq=False)
class MissingTool(StackError):
    """The machine lacks something; a test run skips with this text, CI fails with it."""

    tool: str
    install: str

    def __str__(self) -> str:
        return f"{self.tool} is missing; install it with: {self.install}"


@dataclass(eq=False)
class StartFailed(StackError):
    """A program of the stack ended or stayed silent. ``tail`` holds the last lines of its log."""

    server: str
    problem: str
    log: str
    tail: str

    def __str__(self) -> str:
        shown = self.tail or "(the log is empty)"
        return f"{self.server}: {self.problem}; its log is {self.log}, which ends with:\n{shown}"
