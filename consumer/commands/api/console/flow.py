"""The picture of the flow: database, connector, Kafka, consumers, Redis; each well or not, for one reason. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consumer.commands.shared.finding import WORST_FIRST, Finding, Level, failure, ok
from consumer.commands.shared.status.facts import Facts, Kafka, Unknown
from consumer.commands.shared.status.group_judgement import MEMBER
from consumer.commands.shared.status.judgement import Line


@dataclass(frozen=True, slots=True)
class Box:
    """One part of the flow. ``reason``: why it is not well, or what is known of it. ``advice``: what to do, or ""."""

    name: str
    level: Level
    reason: str
    advice: str = ""


def boxes(facts: Facts, lines: Sequence[Line], database: Finding) -> list[Box]:
    """The parts in the order in which a change passes them. ``database``: whether it answers."""
    found = [line.finding for line in lines]
    return [
        _box("Database", [database]),
        _box("Connector", _of(found, "connector", "heartbeat")),
        _box("Kafka", _of(found, "kafka") or [_kafka(facts)]),
        _box("Consumers", _of(found, "group", MEMBER)),
        _box("Redis", _of(found, "redis")),
    ]


def database_finding(answer: Unknown | bool | None) -> Finding:
    """Whether the database answers; None: its address is not set."""
    if answer is None:
        return ok("database", "not asked: CDC_DATABASE__URL is not set")
    if isinstance(answer, Unknown):
        return failure("database", answer.why, answer.advice, is_setting=answer.is_setting)
    return ok("database", "answers")


def _of(found: Sequence[Finding], *subjects: str) -> list[Finding]:
    return [each for each in found if each.subject in subjects]


def _box(name: str, found: Sequence[Finding]) -> Box:
    """The worst of what is known; the first of equally bad ones, because causes come first."""
    if not found:
        return Box(name, Level.WARNING, "not known: what it would be asked through does not answer")
    worst = min(found, key=lambda each: WORST_FIRST.index(each.level))
    return Box(name, worst.level, worst.found, worst.advice)


def _kafka(facts: Facts) -> Finding:
    version = facts.kafka.version if isinstance(facts.kafka, Kafka) else ""
    return ok("kafka", f"answers, version {version}" if version else "answers")
