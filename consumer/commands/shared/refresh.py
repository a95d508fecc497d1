"""Writes a user's row from the database again, through the guard, after the consumer has caught up with the read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consumer.commands.shared.catch_up import CatchUp, CatchUpLimits, wait_for_catch_up
from consumer.database.reader import Database
from consumer.errors import Place, Reconnected, ServerError, ServerUnavailable
from consumer.guard.version import Version
from consumer.mapping.rules import Rules, UserTable
from consumer.pipeline.protocols import Applied
from consumer.planning.database_row import DatabaseRow
from consumer.planning.effect import Plan
from consumer.planning.rebuild import rebuild_read
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from consumer.source.topic_ends import Topics


@dataclass(frozen=True, slots=True)
class SeenRow:
    """A row, and the plan that writes it, if the version in Redis is still the one from before the read."""

    row: DatabaseRow
    plan: Plan


class Refresher:
    """Reads rows, and waits until they may be written.

    A row may contain changes that the consumer has not reached yet. If the row were written first, the consumer would
    overwrite it with these older changes one by one. So they are waited for. A later change gives the user another
    version, and then nothing is written.
    """

    def __init__(
        self, database: Database, view: RedisView, topics: Topics, rules: Rules, limits: CatchUpLimits
    ) -> None:
        self._database = database
        self._view = view
        self._topics = topics
        self._rules = rules
        self._limits = limits

    def read(self, table: UserTable, number: int) -> SeenRow:
        """Read the version in Redis, then the row: so the row is at least as new as the version.

        Raises:
            ServerError: from the database or Redis; or a replica is behind what Redis has.
            RecordError: the row can't be used.
        """
        seen = self._view.version(table, number, self._rules)
        row = self._database.row(table, number)
        if self._database.is_replica and seen:
            self._refuse_older(row, seen)
        return SeenRow(row, rebuild_read(row, table, self._rules, seen))

    def wait(self, should_stop: Callable[[], bool] = lambda: False) -> CatchUp:
        """Wait until the consumer has reached the present position of the database, or until the limit is over.

        Raises:
            ServerError: from the database, or from Kafka.
        """
        return wait_for_catch_up(self._database, self._topics, self._limits, should_stop)

    def _refuse_older(self, row: DatabaseRow, seen: str) -> None:
        version = Version.known(seen)
        if version is None:
            return  # the script refuses to write beside an unreadable version
        place = Place(version.topic, version.partition, version.offset)
        change = self._topics.changes([place]).get(place)
        if change is None or change.position.server != row.position.server:
            return  # positions in the logs of two servers can't be compared
        if change.position.place >= row.position.place:
            raise ServerUnavailable("database", "the replica is behind what Redis has", "try again")


def write(sink: RedisSink, plan: Plan) -> Applied:
    """Apply one plan that does not depend on earlier acknowledged writes, and return Redis' answer.

    Raises:
        ServerError: Redis can't answer, or refuses.
    """
    try:
        ((_, answer),) = sink.apply([plan])
    except Reconnected:
        sink.accept_new_connection()
        ((_, answer),) = sink.apply([plan])
    if isinstance(answer, ServerError):
        raise answer
    return answer
