"""Explains a user from Redis, the topics, the dead letters, and the database if it is configured."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace

from consumer.commands.explain.explanation import Explanation
from consumer.commands.explain.history import GroupProgress, trace
from consumer.commands.explain.topics import records_of, spans_of
from consumer.commands.explain.user_values import ReadValues, user_values
from consumer.errors import RecordError
from consumer.events.avro import Schemas
from consumer.events.record import Partition
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.observability.progress import Progress
from consumer.pipeline.letter_state import Choice
from consumer.planning.diff import read_image
from consumer.settings.sources import Settings
from consumer.sink import group_databases
from consumer.sink.group_offsets import lost
from consumer.sink.view import RedisView
from consumer.source.bounds import Bound
from consumer.source.consumed_topics import selected
from consumer.source.earlier import KafkaEarlierRecords
from consumer.source.letter_reader import read_letters
from consumer.source.range_reader import committed
from consumer.source.topic_selection import Selection


def explain(settings: Settings, rules: Rules, schemas: Schemas, user: UserId, begin: Bound) -> Explanation:
    """All facts about ``user``; the topics are read from ``begin`` on.

    Raises:
        ConfigError: a setting is wrong.
        ServerUnavailable, ServerError: from a server.
    """
    view = RedisView(settings.redis)
    try:
        return _explain(settings, rules, schemas, user, begin, view)
    finally:
        view.close()


def _explain(
    settings: Settings, rules: Rules, schemas: Schemas, user: UserId, begin: Bound, view: RedisView
) -> Explanation:
    (table,) = (each for each in rules.tables if each.user_type == user.user_type)
    view.run()  # raises if the server is away or refuses
    stored_user = view.stored_user(user, rules)
    selection = selected(settings, rules, schemas, group_databases.load)
    rules = replace(rules, databases=selection.databases)
    spans = spans_of(settings.kafka, selection, user, rules, stored_user.guard.versions, begin)
    with Progress(action="explain.progress", unit="offsets") as progress:
        progress.begin("explain", sum(span.size for span in spans))
        records = records_of(settings.kafka, spans, user, rules, schemas, selection.tables, progress.advance)
    # Read the group's offsets before Redis: a committed record must then be in Redis, or it was missed.
    offsets = committed(settings.kafka)
    emptied = lost(offsets, view.offsets(settings.kafka.group_id))
    stored_user = view.stored_user(user, rules)
    image, lacking, unreadable, problem = _image(settings, user, table)
    letters = Choice(users=frozenset({user})).of(read_letters(settings.kafka, settings.dead_letter_topic).open())
    dead = frozenset((*stored_user.guard.marks.values(), *(each.place for each in letters)))
    reached = GroupProgress(offsets, stored_user.guard.versions, dead, stored_user.guard.deleted)
    with closing(KafkaEarlierRecords(settings.kafka, schemas, placeholder=rules.placeholder)) as earlier:
        clock_ms = settings.guard.clock_ms
        history = trace(records, user, rules, schemas, reached, selection.tables, earlier, clock_ms)
    read = ReadValues(stored_user.config, stored_user.portfolio, stored_user.balance, image, lacking)
    return Explanation(
        user=user,
        stored_user=stored_user,
        user_values=user_values(read, history, stored_user.guard, table, rules),
        history=history,
        letters=tuple(letters),
        knows_database=settings.database.url is not None,
        is_in_database=image is not None or bool(problem),
        row_problem=problem,
        unreadable=unreadable,
        is_emptied=any(Partition(span.topic, span.partition) in emptied for span in spans),
        names=rules.names,
        lacking=_lacking(selection, table),
    )


def _lacking(selection: Selection, table: UserTable) -> str:
    """The topics that are missing, so that the user's changes are not known."""
    if selection.lacking or selection.carrying((table.table,)):
        return selection.lacking
    return f"none of {', '.join(selection.topics)} contains {table.table}"


def _image(
    settings: Settings, user: UserId, table: UserTable
) -> tuple[Mapping[str, str] | None, frozenset[str], tuple[str, ...], str]:
    """The database's fields, the fields without a column, the columns that can't be read, and the row's problem.

    The fields are None if the database is not configured, has no such user, or if the row can't be used.
    """
    nothing: frozenset[str] = frozenset()
    if settings.database.url is None:
        return None, nothing, (), ""
    from consumer.database.reader import Database

    database = Database(settings.database)
    try:
        found = database.rows(table, user.id - 1, 1)
    finally:
        database.close()
    if not found or str(found[0][table.key]) != str(user.id):
        return None, nothing, (), ""
    try:
        fields, unreadable, _ = read_image(found[0], table, {})
    except RecordError as error:
        return None, nothing, (), str(error)
    lacking = {column.field for column in table.columns if column.name not in unreadable} - fields.keys()
    image = {"id": str(user.id), "user_type": user.user_type, **table.constants, **fields}
    return image, frozenset(lacking), unreadable, ""
