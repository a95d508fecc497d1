"""The rules for what is decided about records, whatever they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from consumer.commands.shared.dead_letters.redacted import visible
from consumer.commands.tail.line import line_of
from consumer.events.avro import Schemas
from consumer.events.event import ChangeEvent
from consumer.events.record import Partition, SourceRecord
from consumer.guard.history import NO_HISTORY, History
from consumer.mapping.rules import Rules
from consumer.observability.tracing import carried
from consumer.pipeline.dead_letter import DeadLetter
from consumer.pipeline.letter_state import Letter, read
from consumer.planning.decision import Decision, Outcome, decide_all, healing_plan
from consumer.planning.plan_text import to_json, to_text
from consumer.planning.saved_decision import from_line
from consumer.settings.sections import Guard
from consumer.sink.call import Calls
from tests.fuzz.target import Broken, check_error, check_json, check_money, check_printable, check_text

_TRACE = ("traceparent", "tracestate", "baggage")


class Compacted:
    """A topic in which every tombstone's delete is gone."""

    def first_sent(self, event: ChangeEvent, value: bytes | None = None) -> int | None:
        return None

    def see_other(self, record: SourceRecord) -> None:
        pass

    def is_delete_missing(self, tombstone: SourceRecord, key: Mapping[str, object]) -> bool:
        return True

    def forget(self, partitions: Iterable[Partition]) -> None:
        pass


def outcome_of(records: Sequence[SourceRecord], rules: Rules, schemas: Schemas, history: History = NO_HISTORY) -> str:
    """Decide records together, show the decisions in every form, and check them; what became of the first one.

    Raises:
        Broken: a decision or a form of it breaks a rule.
        ServerError: from ``schemas``.
    """
    decisions = decide_all(records, rules, schemas, history=history)
    if len(decisions) != len(records):
        raise Broken("not a decision for each record")
    outcomes = [_checked(record, each, rules, schemas) for record, each in zip(records, decisions, strict=True)]
    return outcomes[0]


def _checked(record: SourceRecord, decision: Decision, rules: Rules, schemas: Schemas) -> str:
    line = to_json(record, decision)
    check_json(line)
    from_line(line)
    check_printable(to_text(record, decision))
    line_of(record, decision, rules)
    carried(record, decision.event, _TRACE)
    msgspec.json.encode(visible(record, (decision.table,) if decision.table else (), rules, schemas))
    _check_plan(decision, rules)
    for mark in decision.marks:
        Calls(Guard()).of(mark)
    if decision.outcome is not Outcome.REJECTED:
        return str(decision.outcome)
    if decision.error is None:
        raise Broken("rejected without an error")
    if decision.error.place != record.place:
        raise Broken(f"an error with another record's place: {decision.error}")
    check_text(decision.reason)
    _check_letter(record, decision)
    return f"rejected: {check_error(decision.error)}"


def _check_plan(decision: Decision, rules: Rules) -> None:
    plan = decision.plan
    if plan is None:
        return
    Calls(Guard()).of(plan)
    if decision.event is not None and rules.table(decision.event.table) is not None and decision.carrier is None:
        Calls(Guard()).of(healing_plan(decision, rules))
    if plan.balance is not None:
        check_money(plan.balance.value)
    for message in plan.messages:
        check_json(message.body)


def _check_letter(record: SourceRecord, decision: Decision) -> None:
    """A dead letter gives the record back as it was."""
    assert decision.error is not None
    users = tuple(mark.user for mark in decision.marks)
    letter = DeadLetter(record, decision.error, users, "group", (decision.table,) if decision.table else ())
    headers = letter.headers()
    for name, value in headers[len(headers) - 16 :]:
        check_printable(name)
        check_text((value or b"").decode())
    kept = SourceRecord("dlq", 0, 7, record.timestamp_ms, record.key, record.value, tuple(headers))
    found = read(kept)
    if not isinstance(found, Letter) or found.record != record:
        raise Broken(f"a dead letter that is not the record: {found!r}")
