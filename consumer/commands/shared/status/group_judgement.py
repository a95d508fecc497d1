"""Judges the consumer group and its members, by what they report and by what Kafka knows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from consumer.commands.shared.finding import Finding, failure, ok, warning
from consumer.commands.shared.status.facts import Facts, Kafka, Limits, Unknown
from consumer.commands.shared.status.words import counted, span
from consumer.events.record import Partition, first_partitions
from consumer.pipeline.reports import MemberReport
from consumer.sink.report_store import Reports

Judged: TypeAlias = tuple[Finding, Mapping[str, object]]
_SHOWN = 3
_SILENT = (
    "does it wait for Redis, as its log says, is it an older version, or may its account not write its report?"
    " cdc-consumer check prints the rights"
)
MEMBER = "member"


def of_group(facts: Facts, limits: Limits) -> Iterator[Judged]:
    """The line about the group, then one for each member."""
    if isinstance(facts.kafka, Unknown):
        unknown = facts.kafka
        finding = failure("kafka", unknown.why, unknown.advice, is_setting=unknown.is_setting)
        yield finding, {}
    kafka = facts.kafka if isinstance(facts.kafka, Kafka) else None
    if isinstance(facts.redis, Unknown):
        if kafka is not None:
            told = {"group": limits.group, "members": kafka.members, "lag_records": sum(kafka.left.values())}
            text = f"{counted(kafka.members, 'member')} in Kafka; their reports are in Redis; {_lag(told)}"
            yield (warning("group", text) if kafka.members else _nobody(told, None, facts)), told
        return
    reports = facts.redis.reports
    yield _group(reports, kafka, facts, limits)
    for member in reports.members:
        yield _member(member), _told(member)
    for name, at_ms in reports.gone.items():
        text = f"no report for {span((facts.now_ms - at_ms) / 1000)}: it was killed, or it can't reach Redis"
        yield warning(MEMBER, f"{_short(name)}: {text}"), {"name": _short(name), "reported_ms": at_ms}
    for name in reports.unreadable:
        yield warning(MEMBER, f"{_short(name)}: its report is of another version"), {"name": _short(name)}


def _group(reports: Reports, kafka: Kafka | None, facts: Facts, limits: Limits) -> Judged:
    members = reports.members
    held = frozenset[Partition]().union(*(each.held for each in members))
    free = [] if kafka is None else sorted(_existing(kafka, {each.topic for each in held}) - held)
    told: dict[str, object] = {
        "group": limits.group,
        "members": len(members),
        "members_in_kafka": None if kafka is None else kafka.members,
        "partitions": len(held),
        "partitions_without_member": [f"{each.topic}[{each.number}]" for each in free],
        "lag_records": _lag_records(members, kafka, free),
        "lag_s": max((each.lag_s for each in members), default=None),
    }
    in_kafka = 0 if kafka is None else kafka.members
    is_any_silent = in_kafka > len(members) + len(reports.unreadable)
    if not members and not is_any_silent:
        return _nobody(told, reports, facts), told
    if is_any_silent:
        reporting = f"only {len(members)} of them" if members else "none of them"
        text = f"{counted(in_kafka, 'member')} in Kafka, {reporting} with a report"
        if held and not free:
            return warning("group", f"{text}; {_lag(told)}", _SILENT), told
        # Nobody knows whether these partitions are read: a member that can't reach Redis stays in the group.
        missing = f"; no report has {first_partitions(free, _SHOWN) if free else 'a partition'}" if members else ""
        return failure("group", f"{text}{missing}; {_lag(told)}", _SILENT), told
    if not held:
        text = f"{counted(len(members), 'member')} without any partition; {_lag(told)}"
        return failure(
            "group", text, "wait a moment after a start; cdc-consumer check says which topics are missing"
        ), told
    if free:
        text = f"{counted(len(free), 'partition')} without a member: {first_partitions(free, _SHOWN)}; {_lag(told)}"
        return failure("group", text, "wait until the group has divided them again, or start more members"), told
    text = f"{counted(len(members), 'member')} with {counted(len(held), 'partition')}; {_lag(told)}"
    return ok("group", text), told


def _lag_records(members: Sequence[MemberReport], kafka: Kafka | None, free: Sequence[Partition]) -> int | None:
    """What the members have left, and what nobody reads; without members, what the group has left.

    None: it is not known, because no member says it and Kafka can't be asked.
    """
    if not members:
        return None if kafka is None else sum(kafka.left.values())
    left = {} if kafka is None else kafka.left
    return sum(each.lag_records for each in members) + sum(left.get(each, 0) for each in free)


def _nobody(told: Mapping[str, object], reports: Reports | None, facts: Facts) -> Finding:
    last = max(reports.gone.values(), default=0) if reports is not None else 0
    since = f", the last report was {span((facts.now_ms - last) / 1000)} ago" if last else ""
    return failure("group", f"no member runs{since}; {_lag(told)}", "start cdc-consumer run")


def _existing(kafka: Kafka, topics: set[str]) -> set[Partition]:
    return {Partition(topic, number) for topic in topics for number in range(kafka.topics.get(topic, 0))}


def _lag(told: Mapping[str, object]) -> str:
    records, seconds = told["lag_records"], told.get("lag_s")
    if records is None:
        return "lag not known"
    behind = f", {span(seconds)}" if isinstance(seconds, float) else ""
    return f"lag {records:,} record{'' if records == 1 else 's'}{behind}"


def _member(member: MemberReport) -> Finding:
    if member.waits_for:
        return failure(MEMBER, f"{member.name}: waits for {', '.join(member.waits_for)}")
    if not member.unready:
        return ok(MEMBER, f"{member.name}: ready")
    if not member.partitions:
        # More members than partitions: then this one takes over when another one ends. Or it has just started.
        return ok(MEMBER, f"{member.name}: ready, but has no partitions")
    return failure(MEMBER, f"{member.name}: {member.unready}")


def _told(member: MemberReport) -> dict[str, object]:
    return {
        "name": member.name,
        "host": member.host,
        "pid": member.pid,
        "worker": member.worker,
        "version": member.version,
        "started_ms": member.started_ms,
        "reported_ms": member.written_ms,
        "partitions": member.partitions,
        "per_minute": member.per_minute,
        "lag_records": member.lag_records,
        "lag_s": member.lag_s,
        "waits_for": member.waits_for,
        "index": member.index,
        "heartbeat_age_s": member.heartbeat_age_s,
    }


def _short(name: str) -> str:
    """Host and process id, from the name of a report's key."""
    return name.rpartition(":")[0]
