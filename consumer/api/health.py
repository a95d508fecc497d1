"""The four calls of the health API, over the database and Redis."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import redis
import structlog
from msgspec.structs import replace

from consumer.api.comparison import Held, consistency, typed
from consumer.api.nodes import NodeCounts
from consumer.config import Settings
from consumer.database.reader import Database
from consumer.database.row import ReadRow
from consumer.drift import Standing, differences, other_server
from consumer.effect import Plan, Publish
from consumer.errors import Reconnected, Refused, ServerError, ServerUnavailable
from consumer.keys import UserId
from consumer.keyspace import keyspace
from consumer.message import body
from consumer.position import Verdict, Version
from consumer.protocols import Applied
from consumer.rebuild import rebuild_read
from consumer.redis_client import translate
from consumer.rules import Rules, UserTable
from consumer.sink import RedisSink
from consumer.standing import RedisView
from consumer.value import timestamp

_log = structlog.get_logger(__name__)
_LONGEST_ANSWER_MS = 1000


class UnknownUser(Exception):
    """The database has no such user. ``was_removed``: Redis held keys of theirs, and does no longer."""

    def __init__(self, *, was_removed: bool = False) -> None:
        super().__init__()
        self.was_removed = was_removed


class Conflict(Exception):
    """What Redis holds can't be compared with the database's log, or can't be written over; the text says why."""


class Health:
    """Answers from several threads at once; what it can't reach now it can't tell, and tries again at the next call."""

    def __init__(self, settings: Settings, rules: Rules) -> None:
        """Connections are made when they are needed.

        Raises:
            ConfigError: a URL can't be used, or a driver is missing.

        """
        # Two waits for Redis, and 503 is still told within two seconds.
        server = settings.redis.model_copy(update={"timeout_ms": min(settings.redis.timeout_ms, _LONGEST_ANSWER_MS)})
        self._rules = rules
        self._tables = {table.user_type: table for table in rules.tables}
        self._database = Database(settings.database)
        self._keys = keyspace(server)
        self._view = RedisView(server)
        self._nodes = NodeCounts(self._keys, rules, settings.api.cluster_info_s)
        self._writer = _Writer(RedisSink(server, settings.guard, rules, settings.kafka.group_id))

    @property
    def user_types(self) -> tuple[str, ...]:
        """What ``userType`` may be."""
        return tuple(self._tables)

    def start(self) -> None:
        """Look at both servers once; those that are away are only told of.

        Raises:
            ConfigError: one of them refuses the account.
        """
        for look in (self._database.reach, self._view.run):
            try:
                look()
            except ServerUnavailable as error:
                _log.warning("a server is away; calls that need it say so", action="api.waiting", error=str(error))

    def close(self) -> None:
        """Let the connections go."""
        self._writer.close()
        self._view.close()
        self._keys.close()
        self._database.close()

    def status(self) -> dict[str, object]:
        """Whether Redis answers, and takes a write, a read and a delete."""
        key = f"cdc:health:{uuid.uuid4().hex}"
        try:
            replies = self._keys.ask([("SET", key, "ok", "EX", 10), ("GET", key), ("DEL", key)])
        except redis.RedisError as error:
            replies = [error]
        failures = [reply for reply in replies if isinstance(reply, redis.RedisError)]
        if failures:
            said = str(translate(failures[0], is_of_plan=False))
            _log.warning("Redis fails the probe", action="api.unhealthy", error=said)
        is_connected = not any(isinstance(each, redis.ConnectionError | redis.TimeoutError) for each in failures)
        is_working = replies[1:] == ["ok", 1]
        return {
            "status": "healthy" if is_working else "unhealthy",
            "redis_connected": is_connected,
            "cache_operations": "working" if is_working else "failed",
            "timestamp": timestamp(int(datetime.now(UTC).timestamp() * 1000)),
        }

    def consistency(self, user_type: str, user_id: int) -> dict[str, object]:
        """What both say of a user.

        Raises:
            UnknownUser: the database does not know them.
            ServerError: the database or Redis can't answer.
            RecordError: the row can't be used.
        """
        user, table = UserId(user_type, user_id), self._tables[user_type]
        read = self._database.glance(table, user_id)
        if read.image is None:
            raise UnknownUser
        plan = rebuild_read(read, table, self._rules)
        (standing,) = self._view.standings([plan])
        held = self._held(plan, standing)
        return consistency(user, read.image, held, list(differences(plan, standing)), table, self._rules)

    def refresh(self, user_type: str, user_id: int, *, publishes: bool) -> dict[str, object]:
        """Write what the database says of a user, unless Redis holds something newer.

        Raises:
            UnknownUser: the database does not know them; what Redis held of them was removed.
            Conflict: the version that stands there is of another server, or a key is of another type.
            ServerError, RecordError: as :meth:`consistency`.
        """
        user, table = UserId(user_type, user_id), self._tables[user_type]
        read = self._database.row(table, user_id)
        plan = rebuild_read(read, table, self._rules)
        (standing,) = self._view.standings([plan])
        _refuse_other_server(plan.version, standing)
        if standing.others:
            raise Conflict(f"{', '.join(standing.others)}: a key of another type, which somebody else made: remove it")
        if read.image is None:
            raise UnknownUser(was_removed=self._remove(plan, standing))
        whole = dict(plan.config.whole) if plan.config is not None else {}
        if publishes:
            plan = replace(plan, messages=self._messages(read, table, whole))
        applied = self._writer.apply(plan)
        is_refused = applied.verdict is Verdict.STALE
        _log.info(
            "refreshed from the database",
            action="api.refreshed",
            user=str(user),
            verdict=str(applied.verdict),
            differed=applied.differed,
        )
        fields = {} if is_refused else typed(whole, table)
        return {"user_id": user_id, "user_type": user_type, "refreshed_fields": fields}

    def cluster_info(self) -> dict[str, object]:
        """How many keys each node holds.

        Raises:
            ServerError: Redis can't answer.
        """
        return self._nodes.info()

    def _held(self, plan: Plan, standing: Standing) -> Held:
        assert plan.config is not None  # only rows that are there are compared
        asked: list[tuple[str, ...]] = [("HGET", plan.config.key, "last_updated")]
        asked += [("TTL", plan.balance.key)] if plan.balance is not None else []
        text, ttl = (*self._view.ask(asked), -2)[:2]
        # A key of another type has no such field.
        last_updated = text if isinstance(text, str) else None
        return Held(standing.config or {}, last_updated, standing.balance, ttl if isinstance(ttl, int) else -2)

    def _remove(self, plan: Plan, standing: Standing) -> bool:
        """Remove what Redis holds of somebody who is gone; of somebody who never was nothing is kept either."""
        if not standing.present:
            return False
        applied = self._writer.apply(plan)
        if not applied.is_accepted:
            return False
        _log.warning("removed a user whom the database does not know", action="api.removed", user=str(plan.user))
        return True

    def _messages(self, read: ReadRow, table: UserTable, whole: Mapping[str, str]) -> tuple[Publish, ...]:
        """What changed is known to the script alone, so the message tells every owned field."""
        user = UserId(table.user_type, read.key)
        fields = {column.field: whole[column.field] for column in table.columns if column.field in whole}
        told = body(read.event(table), user, "admin_user_update", fields)
        return (Publish(self._rules.names.lifecycle_channel, told),)


def _refuse_other_server(version: Version, standing: Standing) -> None:
    if lineage := other_server(version, standing):
        raise Conflict(
            f"Redis holds a version of {lineage}, the database is {version.lineage}: set CDC_DATABASE__REPLICA"
            " or the URL of the server that Debezium reads; after a failover raise CDC_GUARD__EPOCH"
        )


class _Writer:
    """The sink, which is for one thread at a time and tells of lost connections, for several that need not know."""

    def __init__(self, sink: RedisSink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._is_reached = False

    def apply(self, plan: Plan) -> Applied:
        """What Redis answered.

        Raises:
            ServerUnavailable: it does not answer, or others are before us for too long.
            Conflict: it refuses this plan.
            ServerError: it refuses.
        """
        if not self._lock.acquire(timeout=_LONGEST_ANSWER_MS / 1000):
            raise ServerUnavailable("Redis", "other refreshes wait for it")
        try:
            return self._applied(plan)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Let the connections go."""
        self._sink.close()

    def _applied(self, plan: Plan) -> Applied:
        if not self._is_reached:
            self._sink.reach()
            self._is_reached = True
        try:
            ((_, answer),) = self._sink.apply([plan])
        except Reconnected:
            # Nothing here depends on what was acknowledged before.
            self._sink.go_on()
            ((_, answer),) = self._sink.apply([plan])
        if isinstance(answer, Refused):
            raise Conflict(f"Redis refuses: {answer.problem}")
        if isinstance(answer, ServerError):
            raise answer
        return answer
