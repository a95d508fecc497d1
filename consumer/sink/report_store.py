"""The reports of members and of the audit in Redis: under which keys, how they are written, found and removed.

A member's report has its own key, with a time to live. Its name is also a field of one hash for the group, so that
nobody has to look through all keys of a large server; the field stays when the report has expired, and so it shows
which member has ended without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from consumer.errors import ServerError
from consumer.pipeline.reports import AUDIT_TTL_S, MEMBER_TTL_S, AuditReport, MemberReport, decoded, encoded
from consumer.settings.sections import Redis
from consumer.sink.keyspace import Keyspace, within, write
from consumer.sink.replies import fields_of, raise_first_error
from consumer.sink.rights import AUDIT, MEMBERS

_log = structlog.get_logger(__name__)
_LONGEST_ANSWER_MS = 2000
_NAMED_S = 3600
"""A member is named so long after its last report."""


@dataclass(frozen=True, slots=True)
class Reports:
    """Everything that the group has left. ``gone``: members whose report has expired, each with the time
    of that report. ``unreadable``: members whose report is of another version of the program.
    """

    members: tuple[MemberReport, ...] = ()
    gone: Mapping[str, int] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    audit: AuditReport | None = None


class ReportStore:
    """Each call opens a connection and closes it, with a short timeout: a server that hangs must delay nobody.

    All methods raise ServerUnavailable if Redis can't serve now, another ServerError if it refuses.
    """

    def __init__(self, server: Redis, group: str) -> None:
        self._server = within(server, _LONGEST_ANSWER_MS)
        self._group = group

    def write_member(self, report: MemberReport) -> None:
        """Replace the member's report."""
        names, name = names_key(self._group), id_of(report)
        write(
            self._server,
            ("SET", member_key(self._group, name), encoded(report), "EX", MEMBER_TTL_S),
            ("HSET", names, name, report.written_ms),
            ("EXPIRE", names, _NAMED_S),
        )

    def remove_member(self, report: MemberReport) -> None:
        """The member ends: nobody needs to look for it."""
        name = id_of(report)
        write(self._server, ("UNLINK", member_key(self._group, name)), ("HDEL", names_key(self._group), name))

    def write_audit(self, report: AuditReport) -> None:
        """Replace the report of the audit before."""
        write(self._server, ("SET", audit_key(self._group), encoded(report), "EX", AUDIT_TTL_S))


def log_refusal(error: ServerError, whose: str) -> None:
    """Log that a report was refused. ``whose``: who or what ``status`` lacks now."""
    _log.warning(
        f"Redis refused the report of {whose}: `cdc-consumer status` lacks it",
        action="report.refused",
        error=str(error),
        advice="cdc-consumer check prints the rights that the account needs",
    )


def load(keys: Keyspace, group: str, now_ms: int) -> Reports:
    """Everything that the group has left.

    Raises:
        redis.RedisError: the server does not answer, or refuses.
    """
    told, audit = raise_first_error(keys.ask([("HGETALL", names_key(group)), ("GET", audit_key(group))]))
    names = _recent(told if isinstance(told, dict) else fields_of(told), now_ms)
    found = raise_first_error(keys.ask([("GET", member_key(group, name)) for name in names])) if names else ()
    texts = {name: text for name, text in zip(names, found, strict=True) if text is not None}
    members = {name: decoded(text, MemberReport) for name, text in texts.items()}
    return Reports(
        tuple(sorted((each for each in members.values() if each is not None), key=_order)),
        {name: at for name, at in names.items() if name not in texts},
        tuple(name for name, each in members.items() if each is None),
        None if audit is None else decoded(audit, AuditReport),
    )


def names_key(group: str) -> str:
    """The hash with the names of the group's members, and when each wrote last."""
    return f"{MEMBERS}{group}"


def member_key(group: str, name: str) -> str:
    """The report of one member."""
    return f"{MEMBERS}{group}:{name}"


def audit_key(group: str) -> str:
    """The report of the group's last audit."""
    return f"{AUDIT}{group}"


def id_of(report: MemberReport) -> str:
    """Tells members apart: in containers, process ids and even host names are equal."""
    return f"{report.name}:{report.started_ms}"


def _recent(told: Mapping[str, Any], now_ms: int) -> dict[str, int]:
    since = now_ms - _NAMED_S * 1000
    return {name: int(at) for name, at in sorted(told.items()) if str(at).isdecimal() and int(at) >= since}


def _order(report: MemberReport) -> tuple[str, int, int]:
    return report.host, -1 if report.worker is None else report.worker, report.pid
