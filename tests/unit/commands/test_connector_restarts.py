"""When a failed connector is started again."""

from __future__ import annotations

from consumer.commands.connectors.restarts import MOST_TRIES, SOUND_S, STEADY_S, Attempts, Step, decide
from consumer.source.connect.failure import Kind
from consumer.source.connect.status import ConnectorStatus
from tests.unit.source.test_connector_failure import MYSQL_IS_AWAY, MYSQL_LOGIN

RUNS = ConnectorStatus("RUNNING", ("RUNNING",))
STARTS = ConnectorStatus("RUNNING", ("UNASSIGNED",))
AWAY = ConnectorStatus("RUNNING", ("FAILED",), (MYSQL_IS_AWAY,))
LOGIN = ConnectorStatus("RUNNING", ("FAILED",), (MYSQL_LOGIN,))
ODD = ConnectorStatus("FAILED", ("RUNNING",), ("java.lang.NullPointerException",))


class _Watched:
    """One connector, looked at once a second; the n-th pause is n seconds."""

    def __init__(self) -> None:
        self.known = Attempts()
        self.now = 1000.0

    def look(self, status: ConnectorStatus, seconds: float = 1.0) -> Step:
        self.now += seconds
        self.known, step, _ = decide(self.known, status, self.now, float)
        return step

    def steps(self, status: ConnectorStatus, count: int) -> list[Step]:
        return [self.look(status) for _ in range(count)]


def test_what_runs_is_left_alone() -> None:
    assert set(_Watched().steps(RUNS, 5)) == {Step.NOTHING}


def test_a_server_that_is_away_is_tried_again_with_growing_pauses() -> None:
    watched = _Watched()
    assert watched.steps(AWAY, 7) == [
        *(Step.WAIT, Step.RESTART),
        *(Step.WAIT, Step.NOTHING, Step.RESTART),
        *(Step.WAIT, Step.NOTHING),
    ]
    assert watched.known.restarts == 2
    watched.steps(AWAY, 1000)
    assert watched.known.restarts > MOST_TRIES, "it is tried for as long as it takes"


def test_it_runs_again_when_it_has_done_so_for_a_moment() -> None:
    watched = _Watched()
    watched.steps(AWAY, 2)
    assert watched.look(STARTS) is Step.NOTHING
    assert watched.look(RUNS) is Step.NOTHING
    assert watched.look(AWAY) is Step.WAIT, "it failed at its start"
    watched.look(AWAY, 5)
    assert watched.look(RUNS) is Step.NOTHING
    assert watched.look(RUNS, STEADY_S) is Step.RUNS
    assert watched.look(RUNS) is Step.NOTHING
    assert watched.known.restarts == 2, "should it fail soon, the pause goes on growing"
    watched.look(RUNS, SOUND_S)
    assert watched.known.restarts == 0


def test_a_refused_password_is_never_tried_and_told_once() -> None:
    watched = _Watched()
    assert watched.steps(LOGIN, 4) == [Step.REFUSE, *[Step.NOTHING] * 3]
    assert (watched.known.restarts, watched.known.refused) == (0, Kind.LOGIN)


def test_an_attempt_may_find_that_the_cause_lasts() -> None:
    watched = _Watched()
    assert watched.steps(AWAY, 2) == [Step.WAIT, Step.RESTART]
    assert watched.steps(LOGIN, 3) == [Step.REFUSE, Step.NOTHING, Step.NOTHING]


def test_once_people_have_restarted_it_all_begins_anew() -> None:
    watched = _Watched()
    watched.look(LOGIN)
    watched.look(RUNS)
    assert watched.look(RUNS, STEADY_S) is Step.RUNS
    assert watched.known.refused is None
    assert watched.look(LOGIN) is Step.REFUSE


def test_a_cause_that_nobody_knows_is_tried_some_times() -> None:
    watched = _Watched()
    steps = watched.steps(ODD, 200)
    assert steps.count(Step.RESTART) == MOST_TRIES
    assert steps.count(Step.REFUSE) == 1
    assert watched.known.refused is Kind.UNKNOWN


def test_what_is_paused_is_left_alone() -> None:
    watched = _Watched()
    watched.look(AWAY)
    assert set(watched.steps(ConnectorStatus("PAUSED", ("PAUSED",)), 5)) == {Step.NOTHING}
    assert watched.known.again_at is None
