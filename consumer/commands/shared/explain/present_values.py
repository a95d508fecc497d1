"""A user's values as they are now, from Redis and the database. Kafka is not asked, so it may be away."""

from __future__ import annotations

from contextlib import closing

import structlog

from consumer.commands.shared.explain.asked import Asked
from consumer.commands.shared.explain.database_fields import RowFields, row_of
from consumer.commands.shared.explain.explanation import Explanation
from consumer.commands.shared.explain.history import History
from consumer.commands.shared.explain.user_values import ReadValues, user_values
from consumer.commands.shared.explain.written_values import Written
from consumer.errors import ServerError
from consumer.sink.view import RedisView

_log = structlog.get_logger(__name__)


def present_values(asked: Asked) -> Explanation:
    """The values, without a history: which change set a value is not known. The database may be away too.

    Raises:
        ConfigError: a setting is wrong.
        ServerUnavailable, ServerError: from Redis.
    """
    with closing(RedisView(asked.settings.redis)) as view:
        view.run()  # raises if the server is away or refuses
        stored = view.stored_user(asked.user, asked.rules)
    row, failure = _row_or_failure(asked)
    read = ReadValues(stored.config, stored.portfolio, stored.balance, row.fields, row.lacking)
    history = History((), Written())
    return Explanation(
        user=asked.user,
        stored_user=stored,
        user_values=user_values(read, history, stored.guard, asked.table, asked.rules),
        history=history,
        letters=(),
        knows_database=asked.settings.database.url is not None and failure is None,
        is_in_database=row.exists,
        names=asked.rules.names,
        row_problem=row.problem,
        unreadable=row.unreadable,
        database_failure=failure,
    )


def _row_or_failure(asked: Asked) -> tuple[RowFields, ServerError | None]:
    try:
        return row_of(asked.settings, asked.user, asked.table), None
    except ServerError as error:
        _log.warning("the database can't answer", action="explain.database", error=str(error), advice=error.advice)
        return RowFields(), error
