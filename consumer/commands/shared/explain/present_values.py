"""A user's values as they are now, from Redis and the database. Kafka is not asked, so it may be away."""

from __future__ import annotations

from contextlib import closing

from consumer.commands.shared.explain.asked import Asked
from consumer.commands.shared.explain.database_fields import row_of
from consumer.commands.shared.explain.explanation import Explanation
from consumer.commands.shared.explain.history import History
from consumer.commands.shared.explain.user_values import ReadValues, user_values
from consumer.commands.shared.explain.written_values import Written
from consumer.sink.view import RedisView


def present_values(asked: Asked) -> Explanation:
    """The values, without a history: which change set a value is not known.

    Raises:
        ConfigError: a setting is wrong.
        ServerUnavailable, ServerError: from Redis or the database.
    """
    with closing(RedisView(asked.settings.redis)) as view:
        view.run()  # raises if the server is away or refuses
        stored = view.stored_user(asked.user, asked.rules)
    row = row_of(asked.settings, asked.user, asked.table)
    read = ReadValues(stored.config, stored.portfolio, stored.balance, row.fields, row.lacking)
    history = History((), Written())
    return Explanation(
        user=asked.user,
        stored_user=stored,
        user_values=user_values(read, history, stored.guard, asked.table, asked.rules),
        history=history,
        letters=(),
        knows_database=asked.settings.database.url is not None,
        is_in_database=row.exists,
        names=asked.rules.names,
        row_problem=row.problem,
        unreadable=row.unreadable,
    )
