"""What a command found out about one thing: ok, warning or failure, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

import msgspec

from consumer.errors import CdcError, ConfigError


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


WORST_FIRST = (Level.FAILURE, Level.WARNING, Level.OK)
"""The order in which findings are shown to somebody who has little time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``subject``: what was checked; ``found``: the result; ``advice``: what to do.

    ``is_setting``: the cause is a setting of this program.
    """

    level: Level
    subject: str
    found: str
    advice: str = ""
    is_setting: bool = False


def ok(subject: str, found: str) -> Finding:
    """A finding with nothing to do."""
    return Finding(Level.OK, subject, found)


def warning(subject: str, found: str, advice: str = "") -> Finding:
    """The program works, but not correctly in every case."""
    return Finding(Level.WARNING, subject, found, advice)


def failure(subject: str, found: str, advice: str = "", *, is_setting: bool = False) -> Finding:
    """The program can't work, or its results would be wrong."""
    return Finding(Level.FAILURE, subject, found, advice, is_setting)


def of_error(subject: str, error: CdcError, advice: str = "") -> Finding:
    """A failure from an exception. ``advice``: what to do about a server; an error of a setting says it itself."""
    is_setting = isinstance(error, ConfigError)
    return Finding(Level.FAILURE, subject, str(error), error.advice or ("" if is_setting else advice), is_setting)


def exit_code(findings: Iterable[Finding]) -> int:
    """The exit code: 0 without failures, 1 for a failure of a server, 2 for a wrong setting."""
    failures = [each.is_setting for each in findings if each.level is Level.FAILURE]
    return (2 if any(failures) else 1) if failures else 0


def to_json(finding: Finding) -> str:
    """One JSON object on one line."""
    return msgspec.json.encode(
        {name: value for name, value in asdict(finding).items() if name != "is_setting"}
    ).decode()
