"""Applies records of dead letters again, with the same decisions and the same guard, and reports the outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import structs

from consumer.errors import CdcError
from consumer.events.avro import Schemas
from consumer.events.event import ChangeEvent
from consumer.events.record import Partition, SourceRecord
from consumer.guard.history import History, PartitionHistory
from consumer.guard.search import EarlierRecords
from consumer.guard.state import GuardState
from consumer.guard.version import Verdict, Version, compare, compare_letter, is_of_deleted
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
OF_OLD_TOPIC = (
    "the record is from before its topic was created again, and Redis has a newer change:"
    " what the record changed may be missing"
)
_OTHER_TYPE = "{} is a key of another type"


class View(Protocol):
    """Reads the stored values of users from Redis."""

    def stored_keys(self, plans: Sequence[Plan]) -> Sequence[StoredKeys]:
        """The stored values of each plan's keys."""
        ...

    def guards(self, users: Sequence[UserId], rules: Rules) -> Sequence[GuardState]:
        """The guard of each user."""
        ...


class LetterHistory:
    """A :class:`consumer.guard.history.History` for dead letters: each is looked up in its topic by itself.

    The records between two letters do not come here, so a letter says nothing about the next one. ``partitions``: the
    number of partitions of each topic that exists. Of others nothing can be looked up. Clocks may differ by
    ``clock_ms``.
    """

    def __init__(self, earlier: EarlierRecords, clock_ms: int, partitions: Mapping[str, int]) -> None:
        self._earlier = earlier
        self._clock_ms = clock_ms
        self._partitions = partitions

    def first_sent(self, event: ChangeEvent, value: bytes | None = None) -> int | None:
        return self._history(event.place.topic, event.place.partition).first_sent(event, value)

    def see_other(self, record: SourceRecord) -> None:
        """Nothing is remembered: the search in the topic finds records of every database."""

    def is_delete_missing(self, tombstone: SourceRecord, key: Mapping[str, object]) -> bool:
        history = self._history(tombstone.topic, tombstone.partition)
        return history.is_delete_missing(tombstone.offset, tuple(key.values()))

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Nothing is remembered."""

    def _history(self, topic: str, number: int) -> PartitionHistory:
        exists = number < self._partitions.get(topic, 0)
        return PartitionHistory(Partition(topic, number), self._earlier if exists else None, self._clock_ms)


def predicted(
    chosen: Sequence[Unapplied], view: View, rules: Rules, schemas: Schemas, history: History
) -> list[LetterResult]:
    """The outcomes that :func:`reapply` would have now.

    Raises:
        ServerUnavailable, ServerError: from Redis, from ``schemas``, or from ``history``.
    """
    batch = _batch(chosen, rules, schemas, history, is_silent=True)
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
        before = applied[row].to_text() if row in applied else stored_keys[at].version
        results.append(_outcome(each, plan, verdict, before, rules))
        if verdict.is_accepted:
            applied[row] = plan.version
    return results


def _expected_verdict(plan: Plan, stored: StoredKeys, applied: Version | None, guard: GuardState) -> Verdict | str:
    """The guard's verdict, or why Redis would refuse. ``applied``: the version that would be applied before."""
    if plan.guard in stored.others:
        return _OTHER_TYPE.format(plan.guard)
    version = applied or version_of(stored)
    if stored.version and version is None:
        return f"the version of {plan.table} in {plan.guard} can't be read"
    verdict = compare_letter(plan.version, version)
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
    chosen: Sequence[Unapplied],
    sink: Sink,
    rules: Rules,
    schemas: Schemas,
    history: History,
    *,
    is_silent: bool = False,
) -> list[LetterResult]:
    """Apply records in the given order; ``history``: finds changes that were sent before; ``is_silent``: publish no
    messages.

    A record that fails again marks no user: the mark was set at its first failure, and may have moved since to a later
    record that was lost too.

    Raises:
        ServerUnavailable, Reconnected: some may have been applied; when applied again, Redis answers REPEATED for
        those. ServerError: from ``schemas`` or ``history``, before anything was applied.
    """
    batch = _batch(chosen, rules, schemas, history, is_silent)
    delivery = Delivery(
        {at: _of_letter(plan) for at, plan in batch.plans().items() if plan.mode is not Mode.MARK},
        healing=lambda at: _of_letter(batch.unpublished(at, healing_plan(batch.decisions[at], rules))),
        mark=lambda _: None,
    )
    while not delivery.is_over:
        delivery.attempt(sink)
    batch.answers = delivery.answers
    batch.refuse(delivery.refused)
    return [_result(batch, each, at, rules, delivery.halt) for at, each in enumerate(chosen)]


def _batch(chosen: Sequence[Unapplied], rules: Rules, schemas: Schemas, history: History, is_silent: bool) -> Batch:
    records = [each.record for each in chosen]
    decisions = decide_all(records, rules, schemas, history=history)
    return Batch(records, decisions, "", range(len(records)) if is_silent else ())


def _of_letter(plan: Plan) -> Plan:
    return structs.replace(plan, is_of_letter=True)


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
    return _outcome(each, plan, answer.verdict, answer.stored, rules)


def _outcome(each: Unapplied, plan: Plan, verdict: Verdict, stored: str, rules: Rules) -> LetterResult:
    """``stored``: the version in the guard before, as text; "" if there was none."""
    if verdict.is_accepted:
        return LetterResult(each, Outcome.APPLIED)
    if verdict is Verdict.DUPLICATE:
        return LetterResult(each, Outcome.REPEATED)
    if (missing := _why_missing(each, plan, stored)) and rules.table(plan.table) is not None:
        advice = f"cdc-consumer snapshot --user {plan.user} --authoritative, then discard it here"
        return LetterResult(each, Outcome.STAYS, missing, advice)
    return LetterResult(each, Outcome.SUPERSEDED)


def _why_missing(each: Unapplied, plan: Plan, stored: str) -> str:
    """Why Redis may lack what the record changed although it has a newer change; "" if it has the whole row."""
    if not each.last.users:
        return LOST
    # Changes of the new topic have lower offsets than the user's mark, so they did not write the whole row.
    is_older_by_times_alone = stored and compare(plan.version, Version.from_text(stored)).is_accepted
    return OF_OLD_TOPIC if is_older_by_times_alone and not is_of_deleted(stored) else ""


def _without_place(error: CdcError) -> str:
    """The error's text without the place, which is shown in its own column."""
    place = getattr(error, "place", None)
    return str(error).removeprefix(f"{place}: ") if place is not None else str(error)
