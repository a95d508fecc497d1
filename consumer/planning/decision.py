"""Source records to decisions: decode, parse, join and plan, in one pure step for all commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from consumer.mapping.rules import Rules
from consumer.mapping.schema_drift import Drift, DriftKind, drifts_of
from consumer.planning.effect import Nothing, Plan
from consumer.planning.join import Details, Subject, join
from consumer.planning.linked import DELETED, UnknownUserType, linked_change, plan_linked
from consumer.planning.lone_tombstone import delete_of_lone_tombstone, is_of_lone_tombstone, published_if_user_exists
from consumer.planning.mark import marks_unread
from consumer.planning.plan import healing, plan, user_of

_UNKNOWN_USER_TYPE = "the row's user type is not in the mapping"
_PARTITION_ROOT = "ALTER PUBLICATION … SET (publish_via_partition_root = true)"
_LOGICAL_TABLE_FIELD = "__dbz__physicalTableIdentifier"


class Outcome(StrEnum):
    """What was decided about a record."""

    PLANNED = "planned"
    NOTHING = "nothing"
    IGNORED = "ignored"
    REJECTED = "rejected"


class Decision(msgspec.Struct, frozen=True):
    """The decision about one record.

    ``event``: set if the record was parsed. ``plan``: set if there is something to apply. ``error``: set if the record
    was rejected. ``carrier``: the index, among the records decided together, of the record whose plan includes this
    record's change. ``marks``: set for a rejection. They note that the user's next good change must write the whole
    image. There are several if the record may be of several tables. ``details``: data from linked rows of the same
    database transaction. ``table``: the captured table of the record, "" if it is not known. ``database``: the record's
    database, only if it is not consumed. ``first_sent``: the offset of the first record with the same change, if
    Debezium sent the change again. ``drifts``: what is unexpected about the columns.
    """

    outcome: Outcome
    reason: str
    event: ChangeEvent | None = None
    plan: Plan | None = None
    error: RecordError | None = None
    carrier: int | None = None
    marks: tuple[Plan, ...] = ()
    details: Details = msgspec.field(default_factory=dict)
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
    subjects: dict[int, Subject] = {}
    decisions: list[Decision] = []
    for at, record in enumerate(records):
        # Each change is planned at once, while its row is in the processor's caches. What is joined is planned again.
        found = _subject(record, rules, schemas, known, history)
        if isinstance(found, Subject):
            subjects[at] = found
            found = _planned(found, rules)
        if found.event is not None and (drifts := drifts_of(found.event, rules)):
            found = replace(found, drifts=(*found.drifts, *drifts))
        decisions.append(found)
    for record, decision in zip(records, decisions, strict=True):
        if (event := decision.event) is not None:
            known.see(record.topic, event.table, event.database)
    _join(subjects, decisions, records, rules)
    for at, decision in enumerate(decisions):
        if not decision.table or decision.outcome is Outcome.REJECTED:
            decisions[at] = _with_table(decision, records[at], known, rules, schemas)
    return decisions


def _join(
    subjects: Mapping[int, Subject], decisions: list[Decision], records: Sequence[SourceRecord], rules: Rules
) -> None:
    """Plan joined changes as one, and add details from linked rows.

    If one of the joined changes can't be used, each stays planned by itself, so that only that one is rejected.
    """
    joined = join(subjects)
    broken = set()
    for at, event in joined.events.items():
        planned = _planned(replace(subjects[at], event=event), rules)
        if planned.outcome is Outcome.REJECTED:
            broken.add(at)
        else:
            decisions[at] = replace(planned, drifts=decisions[at].drifts)
    for at, details in joined.details.items():
        if at not in broken and (single := decisions[at].plan) is not None:
            decisions[at] = replace(decisions[at], plan=single.with_details(details), details=details)
    for at, carrier in joined.carriers.items():
        last = carrier
        while last in joined.carriers:
            last = joined.carriers[last]
        if last not in broken:
            reason = f"part of {records[carrier].place}: one database transaction"
            event, drifts = subjects[at].event, decisions[at].drifts
            decisions[at] = Decision(Outcome.NOTHING, reason, event, carrier=carrier, table=event.table, drifts=drifts)


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


def _subject(
    record: SourceRecord, rules: Rules, schemas: Schemas, tables: TopicTables, history: History
) -> Subject | Decision:
    """The user that a record is about, or a decision if there is none."""
    event: ChangeEvent | Decision | None = None
    try:
        event = _new_change(record, rules, schemas, tables, history)
        return event if isinstance(event, Decision) else _subject_of(event, record, rules)
    except RecordError as error:
        return _rejected(error, record.place, event if isinstance(event, ChangeEvent) else None, rules)


def _new_change(
    record: SourceRecord, rules: Rules, schemas: Schemas, tables: TopicTables, history: History
) -> ChangeEvent | Decision:
    """The change in a record; or a decision, if there is no change or it was sent before."""
    event = parse(record, schemas, rules.databases, placeholder=rules.placeholder)
    if isinstance(event, Tombstone):
        delete = delete_of_lone_tombstone(record, tables.only(record.topic), rules, schemas, history)
        return delete or Decision(Outcome.IGNORED, "a tombstone: the delete came before it")
    if isinstance(event, Ignored):
        return Decision(Outcome.IGNORED, event.reason)
    if isinstance(event, OtherDatabase):
        reason = f"a row of {event.table} in the database {event.database}, which is not consumed"
        return Decision(Outcome.IGNORED, reason, table=rules.captured_name(event.table), database=event.database)
    if (first := history.first_sent(event, record.value)) is not None:
        reason = f"sent before, at offset {first}: Debezium sends it again"
        return Decision(Outcome.NOTHING, reason, event, table=rules.captured_name(event.table), first_sent=first)
    return event


def _subject_of(event: ChangeEvent, record: SourceRecord, rules: Rules) -> Subject | Decision:
    if (table := rules.table(event.table)) is not None:
        event = with_decimal_schema(_of_whole_table(event, record, table.table), table.money())
        return Subject(event, user_of(event, table))
    if (linked := rules.linked_table(event.table)) is not None:
        event = _of_whole_table(event, record, linked.table)
        if event.op is Operation.DELETE:
            return Decision(Outcome.NOTHING, DELETED, event, table=event.table)
        event = with_decimal_schema(event, linked.money())
        change = linked_change(event, linked, rules)
        if isinstance(change, UnknownUserType):
            return Decision(Outcome.NOTHING, _UNKNOWN_USER_TYPE, event, table=event.table, drifts=change.drifts)
        return Subject(event, change.user, change)
    raise UnknownTable(
        f"no rule names the table {event.table!r}", field="source.table", advice=_advice_of_unknown(event)
    )


def _with_table(
    decision: Decision, record: SourceRecord, tables: TopicTables, rules: Rules, schemas: Schemas
) -> Decision:
    """Add what is known from the topic: the table, if the record does not name it, and the marks of a rejection."""
    if decision.outcome is Outcome.REJECTED:
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


def _planned(subject: Subject, rules: Rules) -> Decision:
    event = subject.event
    try:
        planned: Plan | Nothing
        if (table := rules.table(event.table)) is not None:
            planned = plan(event, table, subject.user, rules)
        else:
            linked = rules.linked_table(event.table)
            assert linked is not None  # a subject's table is a user table or a linked table
            assert subject.linked is not None
            planned = plan_linked(event, linked, subject.linked, rules)
    except RecordError as error:
        return _rejected(error, event.place, event, rules)
    drifts = subject.linked.drifts if subject.linked is not None else ()
    if planned.unreadable:
        drifts = tuple(Drift(event.table, column, DriftKind.UNREADABLE) for column in planned.unreadable)
    if isinstance(planned, Nothing):
        return Decision(Outcome.NOTHING, planned.reason, event, table=event.table, drifts=drifts)
    if event.op is Operation.DELETE and is_of_lone_tombstone(event):
        planned = published_if_user_exists(planned)
    reason = planned.shape.reason
    return Decision(Outcome.PLANNED, reason, event, planned, table=event.table, drifts=drifts)


def _rejected(error: RecordError, place: Place, event: ChangeEvent | None, rules: Rules) -> Decision:
    error.place = place
    table = rules.captured_name(event.table) if event is not None else ""
    return Decision(Outcome.REJECTED, str(error), event, error=error, table=table)
