"""``plan``: decides records, and shows, saves or compares the decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import starmap
from pathlib import Path

import typer

from consumer.commands.plan.saved_file import SavedFile, writer
from consumer.commands.shared.plan.comparison import Comparison, RecordDifference
from consumer.commands.shared.plan.comparison_text import difference_json, summary_json, to_text
from consumer.commands.shared.plan.inputs import Decider, Inputs
from consumer.commands.shared.plan.pairs import Pairs
from consumer.events.avro import Schemas
from consumer.events.record import SourceRecord
from consumer.mapping.rules import Rules
from consumer.planning import plan_text
from consumer.planning.decision import Decision, Outcome
from consumer.planning.saved_decision import saved, to_line
from consumer.settings.sources import Settings


class Run:
    """One run of the command. ``say``: prints a line. ``save``: the file that gets the decisions."""

    def __init__(
        self,
        settings: Settings,
        rules: Rules,
        schemas: Schemas,
        inputs: Inputs,
        *,
        say: Callable[[str], None],
        save: Path | None,
        as_json: bool,
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._schemas = schemas
        self._inputs = inputs
        self._say = say
        self._save = save
        self._as_json = as_json

    def show(self) -> bool:
        """Print each decision, unless they are saved; whether no record was rejected."""
        shown = plan_text.to_json if self._as_json else plan_text.to_text
        is_good = True
        for records, decisions in self._decided():
            is_good = is_good and all(each.outcome is not Outcome.REJECTED for each in decisions)
            if self._save is None:
                for line in starmap(shown, zip(records, decisions, strict=True)):
                    self._say(line)
        return is_good

    def against(self, other: Rules, names: tuple[str, str], examples: int, width: int) -> bool:
        """Compare with the decisions of another mapping; whether all are alike, and at least one was
        compared. ``names``: the old and the new one.
        """
        comparison = Comparison(examples)
        pairs = Pairs(other, self._rules, comparison, wants_each=self._as_json)
        before, after = self._decider(other), self._decider(self._rules)
        for records, decisions in self._decided():
            for record, old, new in zip(records, before.decide(records), decisions, strict=True):
                old, new = before.as_consumed(record, old), after.as_consumed(record, new)  # noqa: PLW2901
                self._say_difference(pairs.add(record, old, new))
        return self._say_result(comparison, names, width)

    def against_saved(self, file: Path, version: str, examples: int, width: int) -> bool:
        """Compare with the decisions in a file; whether all are alike. ``version``: of this program."""
        comparison, of_file = Comparison(examples), SavedFile(file)
        for records, decisions in self._decided():
            found = of_file.of(str(record.place) for record in records)
            for record, new, (line, old) in zip(records, decisions, found, strict=True):
                now = saved(record, new)
                if to_line(now).encode() == line.rstrip():
                    comparison.same()
                else:
                    self._say_difference(comparison.add(old, now))
        of_file.check_end()
        name = f"{file.name} of {of_file.decided_by}" if of_file.decided_by else file.name
        return self._say_result(comparison, (name, version), width)

    def _decider(self, rules: Rules) -> Decider:
        return Decider(rules, self._schemas, self._inputs.databases, self._settings.kafka.topics)

    def _decided(self) -> Iterator[tuple[list[SourceRecord], list[Decision]]]:
        """The batches, decided with the mapping of the settings; they are saved on the way."""
        decider, count = self._decider(self._rules), 0
        with ExitStack() as exits:
            write = None if self._save is None else exits.enter_context(writer(self._save))
            for records in self._inputs.batches:
                decisions = decider.decide(records)
                if write is not None:
                    for record, decision in zip(records, decisions, strict=True):
                        write(saved(record, decision))
                count += len(records)
                yield records, decisions
        if not count:  # else an empty file would look as one in which nothing is wrong
            typer.echo(f"no record in {self._inputs.name}", err=True)
        if self._save is not None:
            typer.echo(f"{count} decisions in {self._save}", err=True)

    def _say_difference(self, found: RecordDifference | None) -> None:
        if found is not None and self._as_json:
            self._say(difference_json(found))

    def _say_result(self, found: Comparison, names: tuple[str, str], width: int) -> bool:
        self._say(summary_json(found, *names) if self._as_json else to_text(found, *names, width))
        return bool(found.records) and not found.different
