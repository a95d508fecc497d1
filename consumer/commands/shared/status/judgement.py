"""Judges what ``status`` has found out: each thing is well or not, for one reason. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from consumer.commands.shared.finding import Finding, Level, failure, ok, warning
from consumer.commands.shared.status.facts import Connector, Facts, Kafka, Limits, Redis, RedisServer, Unknown
from consumer.commands.shared.status.group_judgement import of_group
from consumer.commands.shared.status.words import counted, listed, percent, size, span
from consumer.pipeline.reports import AuditReport
from consumer.source.connect.status import how_to_start

_RESTART = "remove the cause, then: cdc-consumer connect status --restart"
_FULL = 0.9


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the screen. ``facts``: what it says, for programs."""

    finding: Finding
    facts: Mapping[str, object]


def judged(facts: Facts, limits: Limits) -> list[Line]:
    """All lines, in the order in which a change passes them."""
    return [
        *_connectors(facts, limits),
        *_heartbeats(facts, limits),
        *(Line(finding, told) for finding, told in of_group(facts, limits)),
        _redis(facts),
        _letters(facts),
        _audit(facts),
        _versions(facts, limits),
    ]


def _unknown(subject: str, unknown: Unknown) -> Line:
    return Line(Finding(Level.FAILURE, subject, unknown.why, unknown.advice, unknown.is_setting), {})


def _connectors(facts: Facts, limits: Limits) -> Iterator[Line]:
    found = facts.connectors
    if found is None:
        yield Line(ok("connector", "not asked: CDC_CONNECT__URL is not set, and none answers at its default"), {})
    elif isinstance(found, Unknown):
        yield _unknown("connector", found)
    elif not found:
        say = failure if limits.has_connect else warning
        advice = "cdc-consumer connect apply, or correct CDC_KAFKA__TOPIC_PREFIX"
        yield Line(say("connector", f"Connect has none with topic.prefix={limits.prefix}", advice), {})
    else:
        yield from map(_connector, found)


def _connector(found: Connector) -> Line:
    told = {"name": found.name, "state": found.state, "tasks": list(found.tasks), "version": found.version}
    cause = f": {found.cause}" if found.cause else ""
    if found.state == "FAILED":
        finding = failure("connector", f"{found.name} FAILED{cause}", _RESTART)
    elif "FAILED" in found.tasks:
        number = list(found.tasks).index("FAILED")
        finding = failure("connector", f"{found.name}: task {number} FAILED{cause}", _RESTART)
    elif found.state != "RUNNING":
        text = f"{found.name} is {found.state}"
        finding = failure("connector", text, how_to_start(found.name, found.state))
    elif others := [each for each in found.tasks if each != "RUNNING"]:
        finding = failure("connector", f"{found.name}: a task is {others[0]}", how_to_start(found.name, others[0]))
    elif not found.tasks:
        finding = failure("connector", f"{found.name} has no task", how_to_start(found.name, ""))
    else:
        finding = ok("connector", f"{found.name} is RUNNING with {counted(len(found.tasks), 'task')}")
    return Line(finding, told)


def _heartbeats(facts: Facts, limits: Limits) -> Iterator[Line]:
    if isinstance(facts.kafka, Unknown):
        yield from _reported_heartbeat(facts)
        return
    found = facts.kafka.heartbeats
    if isinstance(found, Unknown):
        yield _unknown("heartbeat", found)
        return
    for topic in limits.heartbeat_topics:
        newest = found.get(topic)
        if newest is None:
            text = f"{topic} is empty" if topic in found else f"there is no topic {topic}"
            advice = "set heartbeat.interval.ms=5000 on the connector, or CDC_SOURCE__HEARTBEAT_TOPICS"
            yield Line(warning("heartbeat", f"{text}: a failed connector is not noticed", advice), {"topic": topic})
            continue
        age_s = max(0.0, facts.now_ms / 1000 - newest)
        told = {"topic": topic, "age_s": round(age_s, 1)}
        if limits.silence_s and age_s > limits.silence_s:
            text = f"the connector's last sign of life was {span(age_s)} ago, more than {limits.silence_s:g} s"
            yield Line(failure("heartbeat", text, "cdc-consumer connect status says whether it runs"), told)
        else:
            yield Line(ok("heartbeat", f"{span(age_s)} ago"), told)


def _reported_heartbeat(facts: Facts) -> Iterator[Line]:
    """Kafka could not be asked, which has its own line: what a member knew last, for the reader."""
    reports = facts.redis.reports.members if isinstance(facts.redis, Redis) else ()
    ages = [each.heartbeat_age_s for each in reports if each.heartbeat_age_s is not None]
    if ages:
        text = f"{span(min(ages))} ago, as a member reports; Kafka could not be asked"
        yield Line(warning("heartbeat", text), {"age_s": min(ages)})


def _redis(facts: Facts) -> Line:
    if isinstance(found := facts.redis, Unknown):
        return _unknown("redis", found)
    index = Counter(each.index for each in found.reports.members if each.index)
    told = {
        "kind": found.kind,
        "servers": [_server(each) for each in found.servers],
        "index": dict(index),
    }
    for server in found.servers:
        if (problem := _problem(server, len(found.servers) > 1)) is not None:
            return Line(problem, told)
    return Line(ok("redis", _redis_text(found, index)), told)


def _problem(server: RedisServer, is_one_of_many: bool) -> Finding | None:
    at = f"{server.address}: " if is_one_of_many else ""
    if not server.version:
        return warning("redis", f"{at}answers, but refuses INFO: version and memory are not known", "allow it +info")
    if server.role != "master":
        return failure("redis", f"{at}is a replica, which accepts no writes", "set CDC_REDIS__URL to its master")
    if server.policy.startswith("allkeys"):
        text = f"{at}maxmemory-policy {server.policy} evicts users' versions, {server.evicted:,} keys so far"
        return warning("redis", text, "set maxmemory-policy to a volatile one or to noeviction")
    if server.limit and server.used >= _FULL * server.limit and server.policy == "noeviction":
        text = f"{at}{size(server.used)} of {size(server.limit)} memory are used: soon it accepts no writes"
        return warning("redis", text, "raise maxmemory")
    return None


def _redis_text(found: Redis, index: Counter[str]) -> str:
    servers = found.servers
    kind = f"{found.kind} of {len(servers)} masters" if len(servers) > 1 else found.kind
    limit = sum(each.limit for each in servers)
    memory = size(sum(each.used for each in servers)) + (f" of {size(limit)}" if limit else "")
    policy = ", ".join(sorted({each.policy for each in servers if each.policy}))
    evicted = sum(each.evicted for each in servers)
    parts = [
        f"{kind}, {memory} memory",
        f"{policy}, {evicted:,} evicted" if policy else f"{evicted:,} evicted",
        *([f"index {' '.join(index)}" if len(index) == 1 else f"index {listed(index)}"] if index else []),
    ]
    return "; ".join(parts)


def _server(server: RedisServer) -> dict[str, object]:
    return {
        "address": server.address,
        "version": server.version,
        "role": server.role,
        "memory_bytes": server.used,
        "maxmemory_bytes": server.limit,
        "policy": server.policy,
        "evicted": server.evicted,
    }


def _letters(facts: Facts) -> Line:
    if isinstance(facts.letters, Unknown):
        if isinstance(facts.kafka, Unknown):  # its line says why
            return Line(warning("dead letters", "not known: they are in Kafka"), {})
        return _unknown("dead letters", facts.letters)
    count = sum(facts.letters.values())
    told = {"count": count, "reasons": dict(facts.letters)}
    if not count:
        return Line(ok("dead letters", "none waits"), told)
    waits = "waits" if count == 1 else "wait"
    text = f"{count:,} {waits}: {listed(dict(facts.letters))}"
    return Line(failure("dead letters", text, "cdc-consumer dead-letters list"), told)


def _audit(facts: Facts) -> Line:
    if isinstance(facts.redis, Unknown):
        return Line(warning("audit", "not known: its result is in Redis"), {})
    found = facts.redis.reports.audit
    if found is None:
        return Line(ok("audit", "none in the last 30 days"), {})
    told = {
        "ended_ms": found.ended_ms,
        "users": found.users,
        "wrong": found.wrong,
        "mended": found.mended,
        "unusable": found.unusable,
        "share_right": found.share_right,
        "causes": found.causes,
        "scope": found.scope,
    }
    text = _audit_text(found, facts.now_ms)
    if not found.left:
        return Line(ok("audit", text), told)
    return Line(failure("audit", text, "cdc-consumer audit names the users; with --repair it corrects them"), told)


def _audit_text(found: AuditReport, now_ms: int) -> str:
    ago = f"{span((now_ms - found.ended_ms) / 1000)} ago"
    scope = f" ({found.scope})" if found.scope else ""
    text = f"{percent(found.share_right)} of {counted(found.users, 'user')}{scope} right {ago}"
    if found.wrong:
        text += f"; {found.wrong:,} wrong: {listed(found.causes)}"
    text += f"; {found.mended:,} corrected" if found.mended else ""
    return text + (f"; {found.unusable:,} can't be compared" if found.unusable else "")


def _versions(facts: Facts, limits: Limits) -> Line:
    known: dict[str, list[str]] = {"cdc-consumer": [limits.version]}
    if isinstance(facts.redis, Redis):
        known["cdc-consumer"] += [each.version for each in facts.redis.reports.members]
        known["Redis"] = [each.version for each in facts.redis.servers]
    if isinstance(facts.kafka, Kafka):
        known["Kafka"] = [facts.kafka.version]
    if not isinstance(facts.connectors, Unknown):
        known["connector"] = [each.version for each in facts.connectors or ()]
    told = {name: sorted({each for each in versions if each}) for name, versions in known.items()}
    text = ", ".join(f"{name} {' and '.join(versions)}" for name, versions in told.items() if versions)
    if len(told["cdc-consumer"]) > 1:
        return Line(warning("versions", text, "run one version of cdc-consumer in the group"), told)
    return Line(ok("versions", text), told)
