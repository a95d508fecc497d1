"""Dead letters through the pipeline again: the same decisions, the same guard, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence

from consumer.errors import CdcError
from consumer.events.avro import Schemas
from consumer.guard.version import Verdict
from consumer.mapping.rules import Rules
from consumer.pipeline.batch import Batch, Delivery
from consumer.pipeline.letter_state import Outcome, Released, Unapplied
from consumer.pipeline.protocols import Sink
from consumer.planning.decision import decide_all, healing_plan
from consumer.planning.effect import Mode

LOST = "Redis is past it, and nobody was marked when it was lost, for it was not known whose change it was"


def foreseen(chosen: Sequence[Unapplied], rules: Rules, schemas: Schemas) -> list[Released]:
    """What would become of them as far as that is known without Redis, which has the last word on what has a plan.

    Raises:
        ServerError: from ``schemas``.
    """
    batch = _batch(chosen, rules, schemas, is_silent=True)
    return [_result(batch, each, at, rules, None) for at, each in enumerate(chosen)]


def release(
    chosen: Sequence[Unapplied], sink: Sink, rules: Rules, schemas: Schemas, *, is_silent: bool = False
) -> list[Released]:
    """Apply them, in the order given; ``is_silent``: their messages do not go out.

    Nobody is marked by what fails again: the mark was left when it failed first, and may since have moved to a later
    record that was lost too.

    Raises:
        ServerUnavailable, Reconnected: some of them may have been applied. Done again, Redis answers REPEATED to those.
        ServerError: from ``schemas``, before anything was done.
    """
    batch = _batch(chosen, rules, schemas, is_silent)
    delivery = Delivery(
        {at: plan for at, plan in batch.plans().items() if plan.mode is not Mode.MARK},
        healing=lambda at: batch.unpublished(at, healing_plan(batch.decisions[at], rules)),
        mark=lambda _: None,
    )
    while not delivery.is_over:
        delivery.attempt(sink)
    batch.answers = delivery.answers
    batch.refuse(delivery.refused)
    return [_result(batch, each, at, rules, delivery.halt) for at, each in enumerate(chosen)]


def _batch(chosen: Sequence[Unapplied], rules: Rules, schemas: Schemas, is_silent: bool) -> Batch:
    records = [each.record for each in chosen]
    return Batch(records, decide_all(records, rules, schemas), "", range(len(records)) if is_silent else ())


def _result(batch: Batch, each: Unapplied, at: int, rules: Rules, halt: CdcError | None) -> Released:
    if at in batch.errors:
        cause = batch.cause(at)
        return Released(each, Outcome.STAYS, _without_place(cause), cause.advice)
    answer, plan = batch.answer(at), batch.plan(at)
    if plan is None:
        return Released(each, Outcome.NOTHING, batch.decisions[at].reason)
    if answer is None:
        return Released(each, Outcome.STAYS, str(halt), halt.advice) if halt else Released(each, Outcome.APPLIED)
    if answer.is_accepted:
        return Released(each, Outcome.APPLIED)
    if answer.verdict is Verdict.DUPLICATE:
        return Released(each, Outcome.REPEATED)
    if not each.last.users and rules.table(plan.table) is not None:
        advice = f"cdc-consumer snapshot --user {plan.user} --authoritative, then discard it here"
        return Released(each, Outcome.STAYS, LOST, advice)
    return Released(each, Outcome.SUPERSEDED)


def _without_place(error: CdcError) -> str:
    """The place is said beside it."""
    place = getattr(error, "place", None)
    return str(error).removeprefix(f"{place}: ") if place is not None else str(error)
