"""A mapping on trial: how records of a range would be decided with it, beside the running one.

Values are never shown: a mapping on trial may name any column, also one that nobody may see.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from consumer.commands.shared.options import bound_of, rules_of
from consumer.commands.shared.plan.aspects import Aspect
from consumer.commands.shared.plan.comparison import Comparison, RecordDifference, Times
from consumer.commands.shared.plan.comparison_text import TITLES, summary
from consumer.commands.shared.plan.inputs import Decider, of_topics
from consumer.commands.shared.plan.pairs import Pairs
from consumer.errors import ConfigError
from consumer.events.avro import Schemas
from consumer.mapping import file
from consumer.mapping.rules import Rules
from consumer.mapping.visible import hidden_columns
from consumer.settings.sources import Settings

MOST_RECORDS = 100_000
_LONGEST_S = 20.0
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Example:
    """A record that is decided otherwise. ``facts``: what differs, without values."""

    place: str
    what: str
    facts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Trial:
    """``is_cut``: only the first records of the range were compared. ``rows``: in how many records a fact differs."""

    records: int
    different: int
    only_reasons: int
    summary: str
    rows: Sequence[tuple[str, Aspect, Times]]
    examples: Sequence[Example]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """What to try. ``text``: the mapping, as TOML. ``is_operators``: it may read columns that nobody is shown."""

    text: str
    begin: str
    end: str
    is_operators: bool


def trial(settings: Settings, running: Rules, schemas: Schemas, wish: Wish) -> Trial:
    """Compare the decisions about the records of the range.

    Raises:
        ConfigError: the mapping or the range is wrong, or not for a viewer; the error names the key or the bound.
        ServerUnavailable, ServerError: from Kafka, or from the registry.
    """
    deadline = time.monotonic() + _LONGEST_S
    tried = rules_of(settings, file.parse(wish.text))
    if not wish.is_operators:
        _check_columns(tried, running)
    begin, end = bound_of(wish.begin, "from"), bound_of(wish.end, "to")
    inputs = of_topics(settings, tried, running, schemas, begin, end)
    comparison = Comparison(_EXAMPLES)
    pairs = Pairs(running, tried, comparison)
    before, after = (Decider(each, schemas, inputs.databases, settings.kafka.topics) for each in (running, tried))
    is_cut = False
    for records in inputs.batches:
        decided = zip(records, before.decide(records), after.decide(records), strict=True)
        for record, old, new in decided:
            pairs.add(record, before.as_consumed(record, old), after.as_consumed(record, new))
        if comparison.records >= MOST_RECORDS or time.monotonic() > deadline:
            is_cut = True
            break
    return Trial(
        comparison.records,
        comparison.different,
        comparison.only_reasons,
        summary(comparison),
        [(TITLES[aspect.kind], aspect, times) for aspect, times in comparison.times()],
        [_example(each) for each in comparison.kept()],
        is_cut,
    )


def _check_columns(tried: Rules, running: Rules) -> None:
    """A count of differences tells of a value, one question after the other: also of one that is hidden."""
    for table, name in hidden_columns(tried, running):
        problem = f"it reads {table}.{name}, which the running mapping does not show"
        raise ConfigError("mapping", problem, fix="an operator may try it")


def _example(found: RecordDifference) -> Example:
    facts = [" ".join(part for part in (TITLES[each.aspect.kind], *each.aspect[1:]) if part) for each in found.entries]
    return Example(found.new.place, found.new.what or found.old.what, facts)
