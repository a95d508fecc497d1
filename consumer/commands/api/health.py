"""The four calls of the health API, over the database and Redis."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import redis
import structlog
from msgspec.structs import replace

from consumer.commands.api.comparison import StoredFields, consistency, typed
from consumer.commands.api.nodes import NodeCounts
from consumer.commands.shared.catch_up import CatchUpLimits
from consumer.commands.shared.refresh import Refresher, SeenRow, write
from consumer.database.reader import Database
from consumer.errors import Refused, ServerError, ServerUnavailable
from consumer.events.avro import NO_SCHEMAS, Schemas
from consumer.events.value import timestamp
from consumer.guard.version import Verdict
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan, Publish
from consumer.planning.message import body
from consumer.planning.read_row import ReadRow
from consumer.planning.rebuild import rebuild_read
from consumer.settings.sources import Settings
from consumer.sink.client import translate
from consumer.sink.drift import StoredKeys, compared
from consumer.sink.group_memory import recall
from consumer.sink.keyspace import keyspace
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from consumer.source.followed_topics import selected
from consumer.source.registry import Registry
from consumer.source.topic_ends import Topics

_log = structlog.get_logger(__name__)
_LONGEST_ANSWER_MS = 1000
_READS = 3
"""So often a row is read again that changed while it was waited for."""


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
        self._passed = _Passed(settings, rules, self._database, self._view)

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
        self._passed.close()
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
        read = self._database.look_up(table, user_id)
        if read.image is None:
            raise UnknownUser
        plan = rebuild_read(read, table, self._rules)
        (stored,) = self._view.stored_keys([plan])
        held = self._held(plan, stored)
        found = list(compared(plan, stored, table, self._rules))
        return consistency(user, read.image, held, found, table, self._rules)

    def refresh(self, user_type: str, user_id: int, *, publishes: bool) -> dict[str, object]:
        """Write what the database says of a user, once the consumer has passed that.

        Raises:
            UnknownUser: the database does not know them; what Redis held of them was removed.
            Conflict: a key is of another type.
            ServerUnavailable: the consumer is behind, or a server is away.
            ServerError, RecordError: as :meth:`consistency`.
        """
        user, table = UserId(user_type, user_id), self._tables[user_type]
        for _ in range(_READS):
            seen = self._passed.read(table, user_id)
            (stored,) = self._view.stored_keys([seen.plan])
            if stored.others:
                others = ", ".join(stored.others)
                raise Conflict(f"{others}: a key of another type, which somebody else made: remove it")
            if seen.row.image is None and not stored.present:
                raise UnknownUser
            whole = dict(seen.plan.config.whole) if seen.plan.config is not None else {}
            plan = seen.plan
            if publishes and seen.row.image is not None:
                plan = replace(plan, messages=self._messages(seen.row, table, whole))
            applied = self._writer.apply(plan)
            if applied.is_accepted or applied.verdict is Verdict.DUPLICATE:
                return self._refreshed(user, table, seen, whole, applied)
        raise ServerUnavailable("Redis", f"{user} changes faster than the row can be read", "try again")

    def cluster_info(self) -> dict[str, object]:
        """How many keys each node holds.

        Raises:
            ServerError: Redis can't answer.
        """
        return self._nodes.info()

    def _held(self, plan: Plan, stored: StoredKeys) -> StoredFields:
        assert plan.config is not None  # only rows that are there are compared
        asked: list[tuple[str, ...]] = [("HGET", plan.config.key, "last_updated")]
        asked += [("TTL", plan.balance.key)] if plan.balance is not None else []
        text, ttl = (*self._view.ask(asked), -2)[:2]
        # A key of another type has no such field.
        last_updated = text if isinstance(text, str) else None
        return StoredFields(stored.config or {}, last_updated, stored.balance, ttl if isinstance(ttl, int) else -2)

    def _refreshed(
        self, user: UserId, table: UserTable, seen: SeenRow, whole: Mapping[str, str], applied: Applied
    ) -> dict[str, object]:
        if seen.row.image is None:
            _log.warning("removed a user whom the database does not know", action="api.removed", user=str(user))
            raise UnknownUser(was_removed=True)
        _log.info(
            "refreshed from the database",
            action="api.refreshed",
            user=str(user),
            verdict=str(applied.verdict),
            differed=applied.differed,
        )
        return {"user_id": user.id, "user_type": user.user_type, "refreshed_fields": typed(whole, table)}

    def _messages(self, read: ReadRow, table: UserTable, whole: Mapping[str, str]) -> tuple[Publish, ...]:
        """What changed is known to the script alone, so the message tells every owned field."""
        user = UserId(table.user_type, read.key)
        fields = {column.field: whole[column.field] for column in table.columns if column.field in whole}
        told = body(read.event(table), user, "admin_user_update", fields)
        return (Publish(self._rules.names.lifecycle_channel, told),)


class _Passed:
    """Rows that the consumer has passed, for several threads one after the other.

    Kafka is connected to when the first row is asked for, and again after it was away.
    """

    def __init__(self, settings: Settings, rules: Rules, database: Database, view: RedisView) -> None:
        self._settings = settings
        self._rules = rules
        self._database = database
        self._view = view
        wait_s = settings.api.refresh_wait_s
        self._limits = CatchUpLimits(min(settings.audit.settle_s, wait_s / 2), wait_s, look_s=0.05)
        self._lock = threading.Lock()
        self._topics: Topics | None = None
        self._is_lacking = False
        self._registry = Registry(settings.registry) if settings.registry.url is not None else None

    def read(self, table: UserTable, number: int) -> SeenRow:
        """The row of one user, once the consumer has applied all that it holds.

        Raises:
            ServerUnavailable: a server is away, or the consumer is behind.
            ServerError, RecordError: as :meth:`consumer.commands.shared.refresh.Refresher.read`.
        """
        if not self._lock.acquire(timeout=self._limits.limit_s):
            raise ServerUnavailable("Kafka", "other refreshes wait for it")
        try:
            refresher = Refresher(self._database, self._view, self._opened(), self._rules, self._limits)
            seen = refresher.read(table, number)
            behind = refresher.wait().behind
        except ServerError:
            self._close()
            raise
        finally:
            self._lock.release()
        if behind:
            raise ServerUnavailable(
                "the consumer",
                f"it is behind in {len(behind)} partitions, and what it has yet to apply may be of this user",
                "the user will be right when it has caught up; see cdc-consumer check",
            )
        return seen

    def close(self) -> None:
        """Let the connections go."""
        self._close()
        if self._registry is not None:
            self._registry.close()

    def _opened(self) -> Topics:
        if self._is_lacking:  # what is followed is decided when there is something
            self._close()
        if self._topics is None:
            schemas: Schemas = self._registry or NO_SCHEMAS
            selection = selected(self._settings, self._rules, schemas, recall)
            self._is_lacking = bool(selection.lacking)
            self._topics = Topics(self._settings.kafka, selection, schemas)
        return self._topics

    def _close(self) -> None:
        topics, self._topics = self._topics, None
        if topics is not None:
            topics.close()


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
            return write(self._sink, plan)
        except Refused as error:
            raise Conflict(f"Redis refuses: {error.problem}") from None
