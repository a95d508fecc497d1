"""When a failed connector is started again, and when not: a decision each time that it is looked at.

A cause that passes is restarted for as long as it takes. One that nobody knows is tried some times. One that lasts is
left to people. Times are seconds of one clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from consumer.source.connect.failure import Failure, Kind, failure_of
from consumer.source.connect.status import ConnectorStatus

STEADY_S = 2.0
"""A task that can't go on may need so long to find out: until then it is not said to run."""
SOUND_S = 20.0
"""A connector that ran for so long has nothing to do with earlier failures."""
MOST_TRIES = 5
"""So often a cause that nobody knows is tried."""
LONGER = 6
"""So many times as long are the pauses then: with a record that fails each time those before it are sent again."""


class Step(StrEnum):
    """What follows from a look."""

    NOTHING = "nothing"
    WAIT = "wait"
    RESTART = "restart"
    REFUSE = "refuse"
    RUNS = "runs"


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is known of one connector from earlier looks.

    ``restarts`` in a row; ``failed_at`` and ``runs_since`` are the times of its last failure, not yet over, and since
    when it runs after that; ``again_at`` is when it is started again; ``refused`` what it is left to people for.
    """

    restarts: int = 0
    failed_at: float | None = None
    runs_since: float | None = None
    again_at: float | None = None
    refused: Kind | None = None


def decide(
    before: Attempts, status: ConnectorStatus, now: float, pause_s: Callable[[int], float]
) -> tuple[Attempts, Step, Failure | None]:
    """What to do, what is known after it, and the failure if it failed.

    ``pause_s`` answers the pause before the restart that is the n-th in a row. WAIT says that it failed and is started
    again at ``again_at``; REFUSE that it is not; each is answered once for a failure, and once more after a restart.
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
    """It did not fail, but may be about to start, or held by somebody."""
    if not status.running:
        return replace(before, runs_since=None, again_at=None), Step.NOTHING, None
    since = now if before.runs_since is None else before.runs_since
    if before.failed_at is not None and now - since >= STEADY_S:
        return Attempts(before.restarts, runs_since=since), Step.RUNS, None
    restarts = 0 if now - since >= SOUND_S else before.restarts
    return replace(before, restarts=restarts, runs_since=since, again_at=None), Step.NOTHING, None
