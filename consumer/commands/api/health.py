"""The four calls of the health API, over the database and Redis."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import redis
import structlog

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
from consumer.planning.database_row import DatabaseRow
from consumer.planning.effect import Plan, Publish
from consumer.planning.message import body
from consumer.planning.rebuild import rebuild_read
from consumer.planning.user_shapes import channel_of
from consumer.settings.sources import Settings
from consumer.sink import group_databases
from consumer.sink.client import translate
from consumer.sink.comparison import StoredKeys, differences_from_database
from consumer.sink.keyspace import keyspace, within
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from consumer.source.consumed_topics import selected
from consumer.source.registry import Registry
from consumer.source.topic_ends import Topics

_log = structlog.get_logger(__name__)
_OTHERS, _SOON = "other refreshes are waiting for it", "try again in a moment: other refreshes go first"
_LONGEST_ANSWER_MS = 1000
_READS = 3
"""How often a row is read again if it changes during the wait for the consumer."""


class UnknownUser(Exception):
    """The database has no such user. ``was_removed``: Redis had keys of the user, and they were removed."""

    def __init__(self, *, was_removed: bool = False) -> None:
        super().__init__()
        self.was_removed = was_removed


class Conflict(Exception):
    """The values in Redis can't be compared with the database's log, or can't be overwritten; the text says why."""


class Health:
    """Answers calls from several threads. If a server is away, a call fails, and the next call tries again."""

    def __init__(self, settings: Settings, rules: Rules) -> None:
        """Does not connect yet.

        Raises:
            ConfigError: a URL can't be used, or a driver is not installed.

        """
        # Even after two waits for Redis, 503 is answered within two seconds.
        server = within(settings.redis, _LONGEST_ANSWER_MS)
        self._rules = rules
        self._tables = {table.user_type: table for table in rules.tables}
        self._database = Database(settings.database)
        self._keys = keyspace(server)
        self._view = RedisView(server)
        self._nodes = NodeCounts(self._keys, rules, settings.api.cluster_info_s)
        self._writer = _Writer(RedisSink(server, settings.guard, rules, settings.kafka.group_id))
        self._rows = _CaughtUpRows(settings, rules, self._database, self._view)

    @property
    def user_types(self) -> tuple[str, ...]:
        """The possible values of ``userType``."""
        return tuple(self._tables)

    def start(self) -> None:
        """Connect to both servers once; log those that are away.

        Raises:
            ConfigError: a server refuses the account.
        """
        for connect in (self._database.reach, self._view.run):
            try:
                connect()
            except ServerUnavailable as error:
                _log.warning("a server is away; calls that need it fail", action="api.waiting", error=str(error))

    def reach_database(self) -> bool:
        """Whether the database answers.

        Raises:
            ServerUnavailable: it does not.
            ConfigError: it refuses the account.
        """
        self._database.reach()
        return True

    def close(self) -> None:
        """Close the connections."""
        self._writer.close()
        self._rows.close()
        self._view.close()
        self._keys.close()
        self._database.close()

    def status(self) -> dict[str, object]:
        """Whether Redis answers, and whether a write, a read and a delete work."""
        key = f"cdc:health:{uuid.uuid4().hex}"
        try:
            replies = self._keys.ask([("SET", key, "ok", "EX", 10), ("GET", key), ("DEL", key)])
        except redis.RedisError as error:
            replies = [error]
        failures = [reply for reply in replies if isinstance(reply, redis.RedisError)]
        if failures:
            problem = str(translate(failures[0], is_of_plan=False))
            _log.warning("the probe of Redis failed", action="api.unhealthy", error=problem)
        is_connected = not any(isinstance(each, redis.ConnectionError | redis.TimeoutError) for each in failures)
        is_working = replies[1:] == ["ok", 1]
        return {
            "status": "healthy" if is_working else "unhealthy",
            "redis_connected": is_connected,
            "cache_operations": "working" if is_working else "failed",
            "timestamp": timestamp(int(datetime.now(UTC).timestamp() * 1000)),
        }

    def consistency(self, user_type: str, user_id: int) -> dict[str, object]:
        """The values of a user in the database and in Redis.

        Raises:
            UnknownUser: the database has no such user.
            ServerError: the database or Redis can't answer.
            RecordError: the row can't be used.
        """
        user, table = UserId(user_type, user_id), self._tables[user_type]
        row = self._database.look_up(table, user_id)
        if row.image is None:
            raise UnknownUser
        plan = rebuild_read(row, table, self._rules)
        (stored,) = self._view.stored_keys([plan])
        fields = self._stored_fields(plan, stored)
        found = list(differences_from_database(plan, stored, table, self._rules))
        return consistency(user, row.image, fields, found, table, self._rules)

    def refresh(self, user_type: str, user_id: int, *, publishes: bool) -> dict[str, object]:
        """Write the database's row of a user, after the consumer has reached the position of the read.

        Raises:
            UnknownUser: the database has no such user; the user's keys were removed from Redis.
            Conflict: a key has another type.
            ServerUnavailable: the consumer is behind, or a server is away.
            ServerError, RecordError: as :meth:`consistency`.
        """
        user, table = UserId(user_type, user_id), self._tables[user_type]
        for _ in range(_READS):
            seen = self._rows.read(table, user_id)
            (stored,) = self._view.stored_keys([seen.plan])
            if stored.others:
                others = ", ".join(stored.others)
                raise Conflict(f"{others}: a key of another type, which another program created: delete it")
            if seen.row.image is None and not stored.present:
                raise UnknownUser
            whole = dict(seen.plan.config.whole) if seen.plan.config is not None else {}
            plan = seen.plan
            if publishes and seen.row.image is not None:
                plan = plan.publishing(self._messages(seen.row, table, whole))
            applied = self._writer.apply(plan)
            if applied.is_accepted or applied.verdict is Verdict.DUPLICATE:
                return self._refreshed(user, table, seen, whole, applied)
        raise ServerUnavailable("Redis", f"{user} changes faster than the row can be read", "try again")

    def cluster_info(self) -> dict[str, object]:
        """The number of keys on each node.

        Raises:
            ServerError: Redis can't answer.
        """
        return self._nodes.info()

    def _stored_fields(self, plan: Plan, stored: StoredKeys) -> StoredFields:
        assert plan.config is not None  # only existing rows are compared
        commands: list[tuple[str, ...]] = [("HGET", plan.config.key, "last_updated")]
        commands += [("TTL", plan.balance.key)] if plan.balance is not None else []
        text, ttl = (*self._view.ask(commands), -2)[:2]
        # A key of another type has no such field.
        last_updated = text if isinstance(text, str) else None
        return StoredFields(stored.config or {}, last_updated, stored.balance, ttl if isinstance(ttl, int) else -2)

    def _refreshed(
        self, user: UserId, table: UserTable, seen: SeenRow, whole: Mapping[str, str], applied: Applied
    ) -> dict[str, object]:
        if seen.row.image is None:
            _log.warning("removed a user who is not in the database", action="api.removed", user=str(user))
            raise UnknownUser(was_removed=True)
        _log.info(
            "refreshed from the database",
            action="api.refreshed",
            user=str(user),
            verdict=str(applied.verdict),
            differed=applied.differed,
        )
        return {"user_id": user.id, "user_type": user.user_type, "refreshed_fields": typed(whole, table)}

    def _messages(self, row: DatabaseRow, table: UserTable, whole: Mapping[str, str]) -> tuple[Publish, ...]:
        """Only the script knows which fields changed, so the message contains every mapped field."""
        user = UserId(table.user_type, row.key)
        fields = {column.field: whole[column.field] for column in table.columns if column.field in whole}
        message = body(row.event(table), user, "admin_user_update", fields)
        return (Publish.of(channel_of(self._rules, self._rules.names.lifecycle_channel), message),)


class _CaughtUpRows:
    """Reads rows up to which the consumer has caught up; several threads may call, one is served at a time.

    Connects to Kafka at the first call, and again after an outage.
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
        self._has_no_topics = False
        self._registry = Registry(settings.registry) if settings.registry.url is not None else None

    def read(self, table: UserTable, number: int) -> SeenRow:
        """The row of one user, after the consumer has applied all changes that it contains.

        Raises:
            ServerUnavailable: a server is away, or the consumer is behind.
            ServerError, RecordError: as :meth:`consumer.commands.shared.refresh.Refresher.read`.
        """
        if not self._lock.acquire(timeout=self._limits.limit_s):
            raise ServerUnavailable("Kafka", _OTHERS, _SOON)
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
                f"it is behind in {len(behind)} partitions, and the records there may be about this user",
                "the user is corrected when the consumer has caught up; see cdc-consumer check",
            )
        return seen

    def close(self) -> None:
        """Close the connections."""
        self._close()
        if self._registry is not None:
            self._registry.close()

    def _opened(self) -> Topics:
        if self._has_no_topics:  # select again, because topics may exist now
            self._close()
        if self._topics is None:
            schemas: Schemas = self._registry or NO_SCHEMAS
            selection = selected(self._settings, self._rules, schemas, group_databases.load)
            self._has_no_topics = bool(selection.lacking)
            self._topics = Topics(self._settings.kafka, selection, schemas)
        return self._topics

    def _close(self) -> None:
        topics, self._topics = self._topics, None
        if topics is not None:
            topics.close()


class _Writer:
    """Lets several threads use the sink, one at a time, and hides lost connections from them."""

    def __init__(self, sink: RedisSink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._is_reached = False

    def apply(self, plan: Plan) -> Applied:
        """Apply one plan, and return Redis' answer.

        Raises:
            ServerUnavailable: Redis does not answer, or other refreshes take too long.
            Conflict: Redis refuses this plan.
            ServerError: Redis refuses the account or the command.
        """
        if not self._lock.acquire(timeout=_LONGEST_ANSWER_MS / 1000):
            raise ServerUnavailable("Redis", _OTHERS, _SOON)
        try:
            return self._apply_locked(plan)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connections."""
        self._sink.close()

    def _apply_locked(self, plan: Plan) -> Applied:
        if not self._is_reached:
            self._sink.reach()
            self._is_reached = True
        try:
            return write(self._sink, plan)
        except Refused as error:
            raise Conflict(f"Redis refuses: {error.problem}") from None
