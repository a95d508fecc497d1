"""The ranges of the topics that a replay reads, and how they compare with the positions of the running consumer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from consumer.commands.replay.options import ReplayOptions
from consumer.commands.replay.partition import counts
from consumer.errors import ConfigError
from consumer.events.record import Partition
from consumer.events.topic_tables import TopicTables
from consumer.mapping.rules import Rules
from consumer.settings.sources import Settings
from consumer.source.bounds import Span
from consumer.source.range_reader import resolve
from consumer.source.topic_selection import Selection

_log = structlog.get_logger(__name__)


def ranges(settings: Settings, rules: Rules, options: ReplayOptions, selection: Selection) -> list[Span]:
    """The range of each partition between the bounds of ``options``.

    Raises:
        ConfigError: a bound names an unknown partition, or users may be missing that --prune would remove.
        ServerUnavailable, ServerError: from the broker.
    """
    names = selection.carrying(options.tables or rules.captured())
    spans = resolve(settings.kafka, names, options.begin, options.end)
    users = {each.table for each in rules.tables}
    cut = [span for span in spans if span.begin and selection.tables.may_carry(span.topic, users)]
    if options.prunes and cut:
        problem = f"the first records of {cut[0].topic}[{cut[0].partition}] were deleted: users there may be missing"
        fix = "remove --prune: only a topic that is complete, or compacted from its first record on, has all users"
        raise ConfigError("--prune", problem, fix=fix)
    return spans


def up_to(span: Span, stopped: Mapping[Partition, int]) -> Span:
    """``span``, but at most up to where a member has stopped."""
    end = stopped.get(Partition(span.topic, span.partition), span.end)
    return Span(span.topic, span.partition, span.begin, max(span.begin, min(end, span.end)))


def is_rebuilt_from(topic: str, tables: TopicTables, rules: Rules) -> bool:
    """Whether a rebuild may write something from a topic; it does not read the others."""
    known = tables.of(topic)
    return not known or any(counts(table, rules) for table in known)


def warn_if_ahead(spans: Sequence[Span], at: Mapping[Partition, int]) -> None:
    """Warn of changes that the replay applies before the live consumer, at the offsets ``at``, which then does not
    publish them.
    """
    ahead = sum(
        max(0, span.end - max(at[part], span.begin))
        for span in spans
        if (part := Partition(span.topic, span.partition)) in at
    )
    if ahead:
        _log.warning(
            "the live consumer is behind: changes that the replay applies first are not published",
            action="replay.ahead",
            records=ahead,
        )
