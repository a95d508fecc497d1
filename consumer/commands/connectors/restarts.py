"""Decides at each check whether to restart a failed connector.

A temporary cause is retried without a limit, an unknown cause some times, a permanent cause never. Times are seconds of
one clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from consumer.source.connect.failure import Failure, Kind, failure_of
from consumer.source.connect.status import ConnectorStatus

STEADY_S = 2.0
"""Seconds. A task that can't run may need this long to fail: before that it does not count as running."""
SOUND_S = 20.0
"""Seconds. After a run of this length, earlier failures do not count any more."""
MOST_TRIES = 5
"""Restarts for an unknown cause."""
LONGER = 6
"""Factor of the pauses for an unknown cause: if one record always fails, the records before it are sent again."""


class Step(StrEnum):
    """The decision of one check."""

    NOTHING = "nothing"
    WAIT = "wait"
    RESTART = "restart"
    REFUSE = "refuse"
    RUNS = "runs"


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is known of one connector from earlier checks. Times are seconds of the clock.

    ``restarts``: in a row. ``failed_at``: the time of the last failure that is not over. ``runs_since``: since when the
    connector has run after it. ``again_at``: the time of the next restart. ``refused``: the kind of a cause for which
    there is no restart.
    """

    restarts: int = 0
    failed_at: float | None = None
    runs_since: float | None = None
    again_at: float | None = None
    refused: Kind | None = None


def decide(
    before: Attempts, status: ConnectorStatus, now: float, pause_s: Callable[[int], float]
) -> tuple[Attempts, Step, Failure | None]:
    """The new state, the decision, and the failure if there is one.

    ``pause_s`` answers the pause before the n-th restart in a row, in seconds. WAIT: it failed, and is restarted at
    ``again_at``. REFUSE: it failed, and is not restarted. Each is answered once for a failure, and once more after a
    restart.
    """
    if not status.failed:
        return _alive(before, status, now)
    failure = failure_of("\n".join(status.traces))
    failed = replace(before, failed_at=now if before.failed_at is None else before.failed_at, runs_since=None)
    if failure.lasts or (failure.kind is Kind.UNKNOWN and before.restarts >= MOST_TRIES):
        step = Step.NOTHING if before.refused is failure.kind else Step.REFUSE
        return replace(failed, refused=failure.kind, again_at=None), step, failure
    failed = replace(failed, refused=None)
    if before.again_at is None:
        times = LONGER if failure.kind is Kind.UNKNOWN else 1
        return replace(failed, again_at=now + times * pause_s(before.restarts + 1)), Step.WAIT, failure
    if now < before.again_at:
        return failed, Step.NOTHING, failure
    return replace(failed, again_at=None, restarts=before.restarts + 1), Step.RESTART, failure


def _alive(before: Attempts, status: ConnectorStatus, now: float) -> tuple[Attempts, Step, None]:
    """The connector did not fail, but may not run yet, or may be paused or stopped."""
    if not status.running:
        return replace(before, runs_since=None, again_at=None), Step.NOTHING, None
    since = now if before.runs_since is None else before.runs_since
    if before.failed_at is not None and now - since >= STEADY_S:
        return Attempts(before.restarts, runs_since=since), Step.RUNS, None
    restarts = 0 if now - since >= SOUND_S else before.restarts
    return replace(before, restarts=restarts, runs_since=since, again_at=None), Step.NOTHING, None
