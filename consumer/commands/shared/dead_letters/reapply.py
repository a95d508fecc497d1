"""Applies records of dead letters again, with the same decisions and the same guard, and reports the outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from consumer.errors import CdcError
from consumer.events.avro import Schemas
from consumer.guard.state import GuardState
from consumer.guard.version import Verdict, Version, compare
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.pipeline.batch import Batch, Delivery
from consumer.pipeline.letter_state import LetterResult, Outcome, Unapplied
from consumer.pipeline.protocols import Sink
from consumer.planning.decision import decide_all, healing_plan
from consumer.planning.effect import Plan, Update, Upsert
from consumer.planning.shape import Mode
from consumer.sink.comparison import StoredKeys, differences, version_of

LOST = "Redis has a newer change, but the record's user was not known when it failed, so nobody was marked"
_OTHER_TYPE = "{} is a key of another type"


class View(Protocol):
    """Reads the stored values of users from Redis."""

    def stored_keys(self, plans: Sequence[Plan]) -> Sequence[StoredKeys]:
        """The stored values of each plan's keys."""
        ...

    def guards(self, users: Sequence[UserId], rules: Rules) -> Sequence[GuardState]:
        """The guard of each user."""
        ...


def predicted(chosen: Sequence[Unapplied], view: View, rules: Rules, schemas: Schemas) -> list[LetterResult]:
    """The outcomes that :func:`reapply` would have now.

    Raises:
        ServerUnavailable, ServerError: from Redis, or from ``schemas``.
    """
    batch = _batch(chosen, rules, schemas, is_silent=True)
    marks = {at for at, plan in batch.plans().items() if plan.mode is Mode.MARK}
    plans = {at: plan for at, plan in batch.plans().items() if at not in marks}
    stored_keys = dict(zip(plans, view.stored_keys(list(plans.values())), strict=True))
    guards = dict(zip(plans, view.guards([plan.user for plan in plans.values()], rules), strict=True))
    applied: dict[tuple[str, str], Version] = {}
    results = []
    for at, each in enumerate(chosen):
        if at not in plans:
            results.append(_result(batch, each, at, rules, None))
            continue
        plan, row = plans[at], (plans[at].guard, plans[at].table)
        verdict = _expected_verdict(plan, stored_keys[at], applied.get(row), guards[at])
        if not isinstance(verdict, Verdict):
            results.append(LetterResult(each, Outcome.STAYS, verdict))
            continue
        if verdict.is_accepted:
            applied[row] = plan.version
        results.append(_outcome(each, plan, verdict, rules))
    return results


def _expected_verdict(plan: Plan, stored: StoredKeys, applied: Version | None, guard: GuardState) -> Verdict | str:
    """The guard's verdict, or why Redis would refuse. ``applied``: the version that would be applied before."""
    if plan.guard in stored.others:
        return _OTHER_TYPE.format(plan.guard)
    version = applied or version_of(stored)
    if stored.version and version is None:
        return f"the version of {plan.table} in {plan.guard} can't be read"
    verdict = compare(plan.version, version)
    if plan.mode is Mode.FILL and version is not None and plan.table in guard.deleted:
        verdict = Verdict.STALE
    elif plan.mode is Mode.FILL and verdict is not Verdict.STALE and plan.table not in guard.marks and version:
        has_expired = plan.balance is not None and stored.balance is None and plan.balance.key not in stored.others
        verdict = Verdict.NEWER if has_expired or any(differences(plan, stored)) else Verdict.DUPLICATE
    hashes = [each.key for each in (plan.config, plan.update) if each is not None and not _is_kept(each)]
    if verdict.is_accepted and (others := [key for key in hashes if key in stored.others]):
        return _OTHER_TYPE.format(others[0])
    return verdict


def _is_kept(part: Upsert | Update) -> bool:
    """Whether the field is kept in the guard if its hash can't be written."""
    return isinstance(part, Update) and part.is_kept


def reapply(
    chosen: Sequence[Unapplied], sink: Sink, rules: Rules, schemas: Schemas, *, is_silent: bool = False
) -> list[LetterResult]:
    """Apply records in the given order; ``is_silent``: publish no messages.

    A record that fails again marks no user: the mark was set at its first failure, and may have moved since to a later
    record that was lost too.

    Raises:
        ServerUnavailable, Reconnected: some may have been applied; when applied again, Redis answers REPEATED for
        those. ServerError: from ``schemas``, before anything was applied.
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


def _result(batch: Batch, each: Unapplied, at: int, rules: Rules, halt: CdcError | None) -> LetterResult:
    if at in batch.errors:
        cause = batch.cause(at)
        return LetterResult(each, Outcome.STAYS, _without_place(cause), cause.advice)
    answer, plan = batch.answer(at), batch.plan(at)
    if plan is None:
        return LetterResult(each, Outcome.NOTHING, batch.decisions[at].reason)
    if answer is None:
        return (
            LetterResult(each, Outcome.STAYS, str(halt), halt.advice) if halt else LetterResult(each, Outcome.APPLIED)
        )
    return _outcome(each, plan, answer.verdict, rules)


def _outcome(each: Unapplied, plan: Plan, verdict: Verdict, rules: Rules) -> LetterResult:
    if verdict.is_accepted:
        return LetterResult(each, Outcome.APPLIED)
    if verdict is Verdict.DUPLICATE:
        return LetterResult(each, Outcome.REPEATED)
    if not each.last.users and rules.table(plan.table) is not None:
        advice = f"cdc-consumer snapshot --user {plan.user} --authoritative, then discard it here"
        return LetterResult(each, Outcome.STAYS, LOST, advice)
    return LetterResult(each, Outcome.SUPERSEDED)


def _without_place(error: CdcError) -> str:
    """The error's text without the place, which is shown in its own column."""
    place = getattr(error, "place", None)
    return str(error).removeprefix(f"{place}: ") if place is not None else str(error)
