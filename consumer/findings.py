"""What `check` found: lines of ok, warning or failure, and the judgement of topics, settings and writer schemas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import msgspec

from consumer.errors import CdcError, ConfigError
from consumer.row_schema import incompatibilities, reader_schemas
from consumer.rules import Rules

# Versions of Redis before this lack what the script and the index need.
_OLDEST_REDIS = 6


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


def of_redis(version: str, policy: str) -> Iterator[Finding]:
    """A server that answers."""
    if int(version.partition(".")[0] or 0) < _OLDEST_REDIS:
        yield failure("redis", f"version {version}", f"Redis {_OLDEST_REDIS} or later")
    elif policy.startswith("allkeys"):
        yield warning(
            "redis",
            f"version {version}; maxmemory-policy {policy}: a user's version may be evicted, and a duplicate is then "
            "taken for new",
            "set maxmemory-policy to a volatile one or to noeviction",
        )
    else:
        yield ok("redis", f"version {version} answers" + (f"; maxmemory-policy {policy}" if policy else ""))


def of_topics(present: Mapping[str, int], named: Sequence[str], prefix: str, rules: Rules) -> Iterator[Finding]:
    """Topics that are there, with their partitions, against what should be.

    ``named`` are the topics that the settings name, if they name any; else each captured table has one.
    """
    linked = {table.table for table in rules.linked}
    of_table: dict[str, list[str]] = {}
    for topic in sorted(present):
        of_table.setdefault(table_of(topic), []).append(topic)
        yield ok(f"topic {topic}", f"{present[topic]} partitions")
    wanted = {topic: table_of(topic) for topic in named}
    wanted = wanted or {f"{prefix}.<db or schema>.{table}": table for table in rules.captured()}
    for topic, table in wanted.items():
        if topic in present or (not named and table in of_table):
            continue
        say = warning if table in linked else failure
        advice = "does the connector run, and capture the table? Debezium makes a topic with the table's first row"
        yield say(f"topic {topic}", f"there is none, so nothing is known of {table}", advice)
    for table, topics in of_table.items():
        if len(topics) > 1:
            yield Finding(
                Level.FAILURE,
                f"table {table}",
                f"more than one topic carries it: {', '.join(topics)}",
                "name the topics to follow in CDC_KAFKA__TOPICS",
                is_setting=True,
            )
    if len(set(present.values())) > 1:
        yield warning(
            "topics",
            "they differ in their number of partitions: a user's tables may be on different members, and one database "
            "transaction be told as several messages",
            "create the topics anew with one number (connect/README.md)",
        )


def table_of(topic: str) -> str:
    """The table that a topic carries, by Debezium's naming."""
    return topic.rpartition(".")[2]


def of_writer(topic: str, schema: str, rules: Rules) -> Iterator[Finding]:
    """The newest schema of a topic's values in the registry, against what is needed of the table."""
    reader = reader_schemas(rules).get(table_of(topic))
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
