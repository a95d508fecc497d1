"""Explains a user from Redis, the topics, the dead letters, and the database if it is configured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeAlias

from consumer.commands.shared.explain.asked import Asked
from consumer.commands.shared.explain.database_fields import row_of
from consumer.commands.shared.explain.explanation import UNREADABLE_STREAMS, Explanation
from consumer.commands.shared.explain.history import Change, GroupProgress, History, trace
from consumer.commands.shared.explain.sent import Sent, sent_messages
from consumer.commands.shared.explain.timeline import Step, Timeline, Window, steps, wanted
from consumer.commands.shared.explain.topics import NO_LIMITS, ReadLimits, records_of, removed, spans_of, with_margins
from consumer.commands.shared.explain.user_values import ReadValues, user_values
from consumer.commands.shared.finding import Finding, failure, warning
from consumer.events.record import Partition
from consumer.events.value import timestamp
from consumer.guard.search import NEVER
from consumer.mapping.rules import Rules, UserTable
from consumer.observability.progress import Progress
from consumer.pipeline.letter_state import Choice, Unapplied
from consumer.pipeline.recovery import EMPTIED, REBUILD
from consumer.sink import group_databases
from consumer.sink.group_offsets import lost
from consumer.sink.view import RedisView, StoredUser
from consumer.source.consumed_topics import selected
from consumer.source.earlier import KafkaEarlierRecords
from consumer.source.letter_reader import read_letters
from consumer.source.range_reader import committed
from consumer.source.topic_selection import Selection

_Choose: TypeAlias = Callable[[Sequence[Change]], Sequence[Change]]
"""Which changes are shown, of all changes that were read."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What Redis, the topics and the dead letters say. ``rules``: with the databases that are consumed.

    ``steps``: of the chosen changes. ``gone``: by topic, the time before which records may be missing. ``sent``: None
    if the mapping has no streams.
    """

    rules: Rules
    stored_user: StoredUser
    history: History
    letters: tuple[Unapplied, ...]
    lacking: str
    is_emptied: bool
    gone: Mapping[str, int]
    steps: tuple[Step, ...]
    sent: Sent | None


def explain(asked: Asked, window: Window, last: int = 0) -> Explanation:
    """All facts about the user, with the steps of the ``last`` changes; the topics are read in ``window``.

    Raises:
        ConfigError: a setting is wrong.
        ServerUnavailable, ServerError: from a server.
    """
    found = _read(asked, window, lambda changes: changes[max(0, len(changes) - last) :], is_partial=False)
    stored_user, history, rules = found.stored_user, found.history, found.rules
    row = row_of(asked.settings, asked.user, asked.table)
    read = ReadValues(stored_user.config, stored_user.portfolio, stored_user.balance, row.fields, row.lacking)
    return Explanation(
        user=asked.user,
        stored_user=stored_user,
        user_values=user_values(read, history, stored_user.guard, asked.table, rules),
        history=history,
        letters=found.letters,
        knows_database=asked.settings.database.url is not None,
        is_in_database=row.exists,
        row_problem=row.problem,
        unreadable=row.unreadable,
        is_emptied=found.is_emptied,
        names=rules.names,
        lacking=found.lacking,
        steps=found.steps,
        has_streams=found.sent is not None,
        unreadable_streams=() if found.sent is None else tuple(found.sent.unreadable),
    )


def timeline(asked: Asked, window: Window, limits: ReadLimits = NO_LIMITS) -> Timeline:
    """What happened to the user in ``window``. Only this range of the topics is read, and not the database.

    Raises:
        As :func:`explain`; also ConfigError: the range has more records than ``limits`` allow.
    """
    found = _read(
        asked,
        window,
        lambda changes: [each for each in changes if window.holds(each.record)],
        is_partial=True,
        limits=limits,
    )
    return Timeline(
        user=asked.user,
        table=asked.table.table,
        window=window,
        steps=found.steps,
        findings=tuple(_findings(found)),
        has_streams=found.sent is not None,
        lacking=found.lacking,
    )


def _findings(found: _Read) -> Iterator[Finding]:
    """What limits the answer."""
    if found.lacking:
        yield failure("topics", f"no topic to read: {found.lacking}")
    if found.is_emptied:
        yield failure("redis", f"{EMPTIED}, and is not rebuilt yet: {REBUILD}")
    for topic, kept_ms in found.gone.items():
        since = f"from before {timestamp(kept_ms)}" if kept_ms < NEVER else "of any age"
        yield warning(
            f"topic {topic}",
            f"retention or compaction may have removed records {since}: changes may be missing here",
            "a longer retention.ms, or min.compaction.lag.ms, keeps them",
        )
    if found.sent is not None and found.sent.unreadable:
        refused = ", ".join(f"{stream} ({why})" for stream, why in found.sent.unreadable.items())
        yield warning("redis", f"{UNREADABLE_STREAMS}: {refused}")


def _read(
    asked: Asked,
    window: Window,
    choose: _Choose,
    *,
    is_partial: bool,
    limits: ReadLimits = NO_LIMITS,
) -> _Read:
    with closing(RedisView(asked.settings.redis)) as view:
        return _read_with(asked, window, choose, view, is_partial=is_partial, limits=limits)


def _read_with(
    asked: Asked,
    window: Window,
    choose: _Choose,
    view: RedisView,
    *,
    is_partial: bool,
    limits: ReadLimits,
) -> _Read:
    settings, rules, schemas, user = asked.settings, asked.rules, asked.schemas, asked.user
    view.run()  # raises if the server is away or refuses
    stored_user = view.stored_user(user, rules)
    selection = selected(settings, rules, schemas, group_databases.load)
    rules = replace(rules, databases=selection.databases)
    read = with_margins(window) if is_partial else window
    spans = spans_of(settings.kafka, selection, user, rules, stored_user.guard.versions, read)
    limits.check_spans(spans)
    with Progress(action="explain.progress", unit="offsets") as progress:
        progress.begin("explain", sum(span.size for span in spans))
        records = records_of(settings.kafka, spans, user, rules, schemas, selection.tables, progress.advance, limits)
    # Read the group's offsets before Redis: a committed record must then be in Redis, or it was missed.
    offsets = committed(settings.kafka)
    emptied = lost(offsets, view.offsets(settings.kafka.group_id))
    stored_user = view.stored_user(user, rules)
    letters = Choice(users=frozenset({user})).of(read_letters(settings.kafka, settings.dead_letter_topic).open())
    of_letters = frozenset(each.place for each in letters)
    dead = of_letters | {*stored_user.guard.marks.values()}
    reached = GroupProgress(offsets, stored_user.guard.versions, dead, stored_user.guard.deleted, of_letters)
    with closing(KafkaEarlierRecords(settings.kafka, schemas, placeholder=rules.placeholder)) as earlier:
        clock_ms = settings.guard.clock_ms
        history = trace(
            records, user, rules, schemas, reached, selection.tables, earlier, clock_ms, is_partial=is_partial
        )
        gone = {} if window.begin_ms is None or not is_partial else removed(spans, earlier, window.begin_ms)
    chosen = choose(history.changes)
    sent = sent_messages(view.ask_or_refusal, rules, user, wanted(chosen, user), clock_ms)
    return _Read(
        rules=rules,
        stored_user=stored_user,
        history=history,
        letters=tuple(letters),
        lacking=_lacking(selection, asked.table),
        is_emptied=any(Partition(span.topic, span.partition) in emptied for span in spans),
        gone=gone,
        steps=steps(chosen, user, rules, letters, None if sent is None else sent.messages),
        sent=sent,
    )


def _lacking(selection: Selection, table: UserTable) -> str:
    """The topics that are missing, so that the user's changes are not known."""
    if selection.lacking or selection.carrying((table.table,)):
        return selection.lacking
    return f"none of {', '.join(selection.topics)} contains {table.table}"
