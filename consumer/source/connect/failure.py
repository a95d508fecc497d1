"""The cause of a failed connector or task, found in its trace: whether to restart it, and what to do if not.

Debezium 3.5.0 ends its task also for temporary causes, such as a restart of MySQL (connect/README.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kind of a cause."""

    PASSES = "passes"
    LOGIN = "login"
    LOST = "lost"
    SETTING = "setting"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Failure:
    """A cause. ``line``: the line of the trace that shows it; it may contain secrets."""

    kind: Kind
    problem: str
    advice: str
    line: str

    @property
    def lasts(self) -> bool:
        """Whether the connector would fail again after a restart."""
        return self.kind in (Kind.LOGIN, Kind.LOST, Kind.SETTING)


@dataclass(frozen=True, slots=True)
class _Row:
    kind: Kind
    problem: str
    advice: str
    texts: tuple[str, ...]


RUNBOOK = "docs/runbooks.md, The connector failed"
_RESTART = "then: cdc-consumer connect status --restart"
# Permanent causes come first: a trace names several causes, and a refused password may follow a lost connection.
TABLE = (
    _Row(
        Kind.LOGIN,
        "the database refuses the connector's account or password",
        f"correct them in the database or in the connector: cdc-consumer connect apply ({RUNBOOK}, 1)",
        (
            r"access denied",
            r"failed to authenticate to the database",
            r"password authentication failed",
            r"no password was provided",
            r"role \"[^\"]*\" does not exist",
            r"role \"[^\"]*\" is not permitted to log in",
            r"no pg_hba\.conf entry",
            r"permission denied",
            r"must be superuser or replication role",
            r"account is locked",
            r"password has expired",
        ),
    ),
    _Row(
        Kind.LOST,
        "the database no longer has the log from the connector's position on",
        f"later changes are in no topic: take a new snapshot ({RUNBOOK}, 2)",
        (
            r"no longer available on the server",
            r"purged required binary logs",
            r"could not find first log file name in binary log index",
            r"client requested master to start replication from (?:impossible position|position > file size)",
            r"requested to start from gtid .*not in the master's binlog",
            r"replication slot \"[^\"]*\" does not exist",
            r"can no longer (?:get changes from|access) replication slot",
            r"slot has been invalidated",
            r"requested wal segment \S+ has already been removed",
            r"db history topic (?:or its content )?is (?:fully or partially )?missing",
        ),
    ),
    _Row(
        Kind.SETTING,
        "a setting of the connector, of Connect or of the database is wrong",
        f"correct it: cdc-consumer connect apply, or in the database, {_RESTART} ({RUNBOOK}, 3)",
        (
            r"org\.apache\.kafka\.common\.config\.configexception",
            r"unknown database",
            r"database \"[^\"]*\" does not exist",
            r"publication \"[^\"]*\" does not exist",
            r"publication autocreation is disabled",
            r"is not configured to use a (?:row binlog_format|full binlog_row_image)",
            r"requires wal_level",
            r"wal_level to be .?logical",
            r"could not access file \"[^\"]*\"",
            r"classnotfoundexception|noclassdeffounderror",
            r"org\.apache\.kafka\.common\.errors\.(?:topic|group|cluster|sasl)\w*(?:authorization|authentication)",
            r"recordtoolargeexception",
            r"invalidrecordexception",
            r"compacted topic cannot accept message without key",
        ),
    ),
    _Row(
        Kind.PASSES,
        "the database or Kafka was away for a while",
        "nothing, if the server comes back",
        (
            r"communications link failure",
            r"connection (?:to \S+ )?refused",
            r"connection (?:was )?(?:reset|closed|aborted)",
            r"connection has been closed",
            r"no route to host|network is unreachable|unknownhostexception",
            r"broken pipe",
            r"socket (?:is )?closed|socketexception|socket error",
            r"read timed out|connect timed out|sockettimeoutexception|timed out after .* connect",
            r"connection attempt (?:failed|timed out)",
            r"eofexception",
            r"failed to read (?:next byte|remaining)",
            r"can ?not read response from server|unexpected end of stream",
            r"server (?:shutdown in progress|is shutting down)|shutdown in progress",
            r"connection was killed|query execution was interrupted",
            r"wait_timeout",
            r"too many connections",
            r"too many clients already|remaining connection slots are reserved",
            r"running with the --(?:super-)?read-only option|cannot execute .* in a read-only transaction",
            r"the database system is (?:starting up|shutting down|in recovery mode|not yet accepting connections)",
            r"terminating (?:connection|walsender process|background worker)",
            r"an i/o error occurred while sending to the backend",
            r"database connection failed when (?:reading from|writing to) copy",
            r"replication slot \"[^\"]*\" is active for pid",
            r"connection attempt failed",
            r"org\.apache\.kafka\.common\.errors\.(?:timeout|disconnect|network|notleader|notenoughreplicas)\w*exception",
            r"the client hasn't received any response|node -?\d+ disconnected",
        ),
    ),
)
_TRIED = (
    "the cause is unknown, and some restarts did not help",
    f"remove the cause, {_RESTART} ({RUNBOOK}, 4)",
)
_CAUSED = "Caused by: "
_KNOWN = tuple((row, re.compile("|".join(row.texts), re.IGNORECASE)) for row in TABLE)


def failure_of(trace: str) -> Failure:
    """The cause in a trace of Connect."""
    lines = [line.strip() for line in trace.splitlines()]
    causes = [line for line in lines if line and not line.startswith(("at ", "... "))]
    for row, pattern in _KNOWN:
        # The last matching line is the nearest to the root cause.
        if line := next((line for line in reversed(causes) if pattern.search(line)), ""):
            return Failure(row.kind, row.problem, row.advice, line.removeprefix(_CAUSED))
    return Failure(Kind.UNKNOWN, *_TRIED, causes[-1].removeprefix(_CAUSED) if causes else "")
