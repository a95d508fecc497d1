"""What `check` found: lines of ok, warning or failure, and the judgement of writer schemas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

import msgspec

from consumer.errors import CdcError, ConfigError
from consumer.mapping.row_schema import incompatibilities, reader_schemas
from consumer.mapping.rules import Rules


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """``subject`` is what was looked at, ``found`` what was seen, ``advice`` what to do about it.

    ``is_setting``: the fault lies in this program's own settings.
    """

    level: Level
    subject: str
    found: str
    advice: str = ""
    is_setting: bool = False


def ok(subject: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.OK, subject, found)


def warning(subject: str, found: str, advice: str = "") -> Finding:
    """The program works, but not in every case as it should."""
    return Finding(Level.WARNING, subject, found, advice)


def failure(subject: str, found: str, advice: str = "") -> Finding:
    """The program can't work, or would be wrong."""
    return Finding(Level.FAILURE, subject, found, advice)


def of_error(subject: str, error: CdcError, advice: str = "") -> Finding:
    """A failure that an exception told of."""
    return Finding(Level.FAILURE, subject, str(error), error.advice or advice, isinstance(error, ConfigError))


def exit_code(findings: Iterable[Finding]) -> int:
    """By the worst: 0 without failures, 1 for a failure found in a server, 2 for a wrong setting."""
    failures = [each.is_setting for each in findings if each.level is Level.FAILURE]
    return (2 if any(failures) else 1) if failures else 0


def to_text(finding: Finding) -> str:
    """One line, and one more where there is something to do."""
    line = f"{finding.level:<8} {finding.subject}: {finding.found}"
    return line + (f"\n{'':<8}   what to do: {finding.advice}" if finding.advice else "")


def to_json(finding: Finding) -> str:
    """One JSON object in one line."""
    return msgspec.json.encode(
        {name: value for name, value in asdict(finding).items() if name != "is_setting"}
    ).decode()


def of_writer(topic: str, schema: str, table: str, rules: Rules) -> Iterator[Finding]:
    """The newest schema of a topic's values in the registry, against what is needed of the table that it carries.

    Of a topic that carries several tables it is the schema of one of them, and nobody knows of which: ``table`` is "".
    """
    reader = reader_schemas(rules).get(table)
    if reader is None:
        return
    subject = f"schema {topic}-value"
    try:
        writer: object = msgspec.json.decode(schema)
    except msgspec.DecodeError:
        yield failure(subject, "it is not JSON, so not Avro", "use an Avro or JSON converter")
        return
    problems = incompatibilities(writer, reader)
    for problem in problems:
        yield failure(subject, problem, "correct the connector, or the mapping")
    if not problems:
        yield ok(subject, "its rows can be read")
