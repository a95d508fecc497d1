"""Source records to decisions: decode, parse, join and plan, in one pure step for all commands."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from consumer.errors import Place, RecordError, UnknownTable, Unsupported
from consumer.events.avro import NO_SCHEMAS, Schemas
from consumer.events.decimals import with_decimal_schema
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent, Ignored, Operation, OtherDatabase, Tombstone
from consumer.events.record import SourceRecord
from consumer.events.topic_tables import TopicTables
from consumer.guard.history import NO_HISTORY, History
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.mapping.schema_drift import Drift, DriftKind, drifts_of
from consumer.planning.effect import Nothing, Plan
from consumer.planning.join import NO_DETAILS, Details, join
from consumer.planning.linked import DELETED, LinkedChange, UnknownUserType, linked_change, plan_linked
from consumer.planning.lone_tombstone import delete_of_lone_tombstone, is_of_lone_tombstone, published_if_user_exists
from consumer.planning.mark import marks_unread
from consumer.planning.plan import healing, plan, user_of
from consumer.planning.usual_update import usual_update

_UNKNOWN_USER_TYPE = "the row's user type is not in the mapping"
_PARTITION_ROOT = "ALTER PUBLICATION … SET (publish_via_partition_root = true)"
_LOGICAL_TABLE_FIELD = "__dbz__physicalTableIdentifier"


class Outcome(StrEnum):
    """What was decided about a record."""

    PLANNED = "planned"
    NOTHING = "nothing"
    IGNORED = "ignored"
    REJECTED = "rejected"


# Looked up once, because each look-up of an enum's member takes as long as a call (decision 29).
_PLANNED, _REJECTED = Outcome.PLANNED, Outcome.REJECTED


class Decision(msgspec.Struct, frozen=True):
    """The decision about one record.

    ``event``: set if the record was parsed. ``plan``: set if there is something to apply. ``error``: set if the record
    was rejected. ``user``: of a change whose user is known. ``linked``: set for a row of a linked table. ``carrier``:
    the index, among the records decided together, of the record whose plan includes this record's change. ``marks``:
    set for a rejection. They note that the user's next good change must write the whole image. There are several if the
    record may be of several tables. ``details``: data from linked rows of the same database transaction. ``table``: the
    captured table of the record, "" if it is not known. ``database``: the record's database, only if it is not
    consumed. ``first_sent``: the offset of the first record with the same change, if Debezium sent the change again.
    ``drifts``: what is unexpected about the columns.
    """

    outcome: Outcome
    reason: str
    event: ChangeEvent | None = None
    plan: Plan | None = None
    error: RecordError | None = None
    user: UserId | None = None
    linked: LinkedChange | None = None
    carrier: int | None = None
    marks: tuple[Plan, ...] = ()
    details: Details = NO_DETAILS
    table: str = ""
    database: str = ""
    first_sent: int | None = None
    drifts: tuple[Drift, ...] = ()


def decide(record: SourceRecord, rules: Rules, schemas: Schemas = NO_SCHEMAS) -> Decision:
    """What to do about one single record. Never raises for bad input."""
    return decide_all([record], rules, schemas)[0]


def decide_all(
    records: Sequence[SourceRecord],
    rules: Rules,
    schemas: Schemas = NO_SCHEMAS,
    tables: TopicTables | None = None,
    history: History = NO_HISTORY,
) -> list[Decision]:
    """What to do about each of ``records``, which were read together, in their order.

    Never raises for bad input: the answer is then a rejection with the record's place. ``tables``: what is known of the
    topics, for records that can't be read. The tables of these records are added to it.

    Raises:
        ServerError: from ``schemas`` (only for Avro) or from ``history``; the same records may be decided again.
    """
    known = TopicTables(rules.captured()) if tables is None else tables
    # Each change is planned at once, while its row is in the processor's caches. What is joined is planned again.
    decisions = [_decided(record, rules, schemas, known, history) for record in records]
    for record, decision in zip(records, decisions, strict=True):
        if (event := decision.event) is not None:
            known.see(record.topic, event.table, event.database)
    _join(decisions, records, rules)
    for at, decision in enumerate(decisions):
        if not decision.table or decision.outcome is _REJECTED:
            decisions[at] = _with_table(decision, records[at], known, rules, schemas)
    return decisions


def _join(decisions: list[Decision], records: Sequence[SourceRecord], rules: Rules) -> None:
    """Plan joined changes as one, and add details from linked rows.

    If one of the joined changes can't be used, each stays planned by itself, so that only that one is rejected.
    """
    joined = join(decisions)
    broken = set()
    for at, event in joined.events.items():
        single = decisions[at]
        planned = _planned(event, single.user, single.linked, rules)
        if planned.outcome is _REJECTED:
            broken.add(at)
        else:
            decisions[at] = replace(planned, drifts=single.drifts)
    for at, details in joined.details.items():
        if at not in broken and (plan_of_row := decisions[at].plan) is not None:
            decisions[at] = replace(decisions[at], plan=plan_of_row.with_details(details), details=details)
    for at, carrier in joined.carriers.items():
        last = carrier
        while last in joined.carriers:
            last = joined.carriers[last]
        if last not in broken:
            reason = f"part of {records[carrier].place}: one database transaction"
            single = decisions[at]
            decisions[at] = replace(
                single, outcome=Outcome.NOTHING, reason=reason, plan=None, error=None, carrier=carrier
            )


def first_database(records: Sequence[SourceRecord], schemas: Schemas) -> frozenset[str]:
    """The database of the first row among ``records``; empty if no row can be read.

    Raises:
        ServerError: from ``schemas``.
    """
    for record in records:
        with suppress(RecordError):
            event = parse(record, schemas)
            if isinstance(event, ChangeEvent) and event.database:
                return frozenset({event.database})
    return frozenset()


def healing_plan(decision: Decision, rules: Rules) -> Plan:
    """The plan for a decision whose user is marked. It replaces the plan that writes only what differs."""
    event = decision.event
    table = rules.table(event.table) if event is not None else None
    assert event is not None  # only plans of user tables have marks
    assert table is not None
    return healing(event, table, user_of(event, table), rules).with_details(decision.details)


def _decided(record: SourceRecord, rules: Rules, schemas: Schemas, tables: TopicTables, history: History) -> Decision:
    """The decision about one record by itself."""
    event: ChangeEvent | None = None
    try:
        found = parse(record, schemas, rules.databases, placeholder=rules.placeholder)
        if isinstance(found, Tombstone):
            found = delete_of_lone_tombstone(record, tables.only(record.topic), rules, schemas, history) or found
        elif isinstance(found, ChangeEvent):
            event = found
            if (first := history.first_sent(found, record.value)) is not None:
                return _sent_before(found, first, rules)
        elif isinstance(found, OtherDatabase):
            history.see_other(record)
        if not isinstance(found, ChangeEvent):
            return _without_change(found, rules)
        event = found
        usual = usual_update(found, record, rules)
        if usual is None:
            decision = _decided_change(found, record, rules)
        else:
            plan_of_row, event, drifts = usual
            reason, user = plan_of_row.shape.reason, plan_of_row.user
            return Decision(_PLANNED, reason, event, plan_of_row, None, user, table=found.table, drifts=drifts)
    except RecordError as error:
        decision = _rejected(error, record.place, event, rules)
    if decision.event is not None and (drifts := drifts_of(decision.event, rules)):
        return replace(decision, drifts=(*decision.drifts, *drifts))
    return decision


def _sent_before(event: ChangeEvent, first: int, rules: Rules) -> Decision:
    reason = f"sent before, at offset {first}: Debezium sends it again"
    table, drifts = rules.captured_name(event.table), drifts_of(event, rules)
    return Decision(Outcome.NOTHING, reason, event, table=table, first_sent=first, drifts=drifts)


def _without_change(found: Tombstone | Ignored | OtherDatabase, rules: Rules) -> Decision:
    if isinstance(found, Tombstone):
        return Decision(Outcome.IGNORED, "a tombstone: the delete came before it")
    if isinstance(found, Ignored):
        return Decision(Outcome.IGNORED, found.reason)
    reason = f"a row of {found.table} in the database {found.database}, which is not consumed"
    return Decision(Outcome.IGNORED, reason, table=rules.captured_name(found.table), database=found.database)


def _decided_change(event: ChangeEvent, record: SourceRecord, rules: Rules) -> Decision:
    """The decision about any change.

    Raises:
        RecordError: the table or the user can't be known.
    """
    if (table := rules.table(event.table)) is not None:
        event = with_decimal_schema(_of_whole_table(event, record, table.table), table.money())
        return _planned(event, user_of(event, table), None, rules)
    if (linked := rules.linked_table(event.table)) is not None:
        event = _of_whole_table(event, record, linked.table)
        if event.op is Operation.DELETE:
            return Decision(Outcome.NOTHING, DELETED, event, table=event.table)
        event = with_decimal_schema(event, linked.money())
        change = linked_change(event, linked, rules)
        if isinstance(change, UnknownUserType):
            return Decision(Outcome.NOTHING, _UNKNOWN_USER_TYPE, event, table=event.table, drifts=change.drifts)
        return _planned(event, change.user, change, rules)
    raise UnknownTable(
        f"no rule names the table {event.table!r}", field="source.table", advice=_advice_of_unknown(event)
    )


def _with_table(
    decision: Decision, record: SourceRecord, tables: TopicTables, rules: Rules, schemas: Schemas
) -> Decision:
    """Add what is known from the topic: the table, if the record does not name it, and the marks of a rejection."""
    if decision.outcome is _REJECTED:
        marks = marks_unread(record, decision.event, tables.of(record.topic), rules, schemas)
        return replace(decision, marks=marks, table=decision.table or tables.only(record.topic))
    if decision.table or decision.database:
        return decision
    return replace(decision, table=tables.only(record.topic))


def _of_whole_table(event: ChangeEvent, record: SourceRecord, table: str) -> ChangeEvent:
    """A change of a table's partition as a change of the table. So a row that moves between partitions has one version.

    Raises:
        Unsupported: the records of the table's partitions are in several places. So the order of a delete in one and an
            insert in another would be lost.
    """
    if event.table == table:
        return event
    if record.topic.rpartition(".")[2] == event.table:
        raise Unsupported(
            f"a row of the partition {event.table} of {table} in a topic of its own",
            field="source.table",
            advice=f"{_PARTITION_ROOT}, or route the records of all partitions to one topic",
        )
    if _LOGICAL_TABLE_FIELD in event.key:
        raise Unsupported(
            f"the key of a row of {event.table} names the partition, so rows of one user are in several places",
            field=_LOGICAL_TABLE_FIELD,
            advice="set key.enforce.uniqueness=false on the transformation ByLogicalTableRouter",
        )
    return replace(event, table=table)


def _advice_of_unknown(event: ChangeEvent) -> str:
    advice = "name it in the mapping, or leave its topic out"
    if event.position.connector != "postgresql":
        return advice
    return (
        f"{advice}; if it is a partition: {_PARTITION_ROOT}, or route the records of all partitions to one topic and"
        " name it among the partitions of its table in the mapping"
    )


def _planned(event: ChangeEvent, user: UserId | None, linked: LinkedChange | None, rules: Rules) -> Decision:
    """The decision about a change whose user is known."""
    assert user is not None
    try:
        planned: Plan | Nothing
        if (table := rules.table(event.table)) is not None:
            planned = plan(event, table, user, rules)
        else:
            of_linked = rules.linked_table(event.table)
            assert of_linked is not None  # the user is known from a user table or from a linked table
            assert linked is not None
            planned = plan_linked(event, of_linked, linked, rules)
    except RecordError as error:
        return replace(_rejected(error, event.place, event, rules), user=user, linked=linked)
    drifts = linked.drifts if linked is not None else ()
    if planned.unreadable:
        drifts = tuple(Drift(event.table, column, DriftKind.UNREADABLE) for column in planned.unreadable)
    if isinstance(planned, Nothing):
        return Decision(
            Outcome.NOTHING, planned.reason, event, user=user, linked=linked, table=event.table, drifts=drifts
        )
    if event.op is Operation.DELETE and is_of_lone_tombstone(event):
        planned = published_if_user_exists(planned)
    reason = planned.shape.reason
    return Decision(_PLANNED, reason, event, planned, None, user, linked, table=event.table, drifts=drifts)


def _rejected(error: RecordError, place: Place, event: ChangeEvent | None, rules: Rules) -> Decision:
    error.place = place
    table = rules.captured_name(event.table) if event is not None else ""
    return Decision(_REJECTED, str(error), event, error=error, table=table)
