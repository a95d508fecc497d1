"""Makes the plan for a change of a user's row from the rules. The same event always gives the same plan."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

from consumer.errors import InvalidValue, MissingColumn, Unsupported
from consumer.events.event import ChangeEvent, Operation, RowImage, TableSchema
from consumer.events.value import NO_SCHEMA, timestamp, whole_number
from consumer.guard.version import Version
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.diff import Change, Diff, diff, read_image
from consumer.planning.effect import Fields, Nothing, Plan
from consumer.planning.message import Group, bodies, body
from consumer.planning.shape import Extent, PlanShape
from consumer.planning.user_shapes import appeared_shape, deleted_shape, updated_shape

_NO_COLUMNS: TableSchema = {}


def user_of(event: ChangeEvent, table: UserTable) -> UserId:
    """The user whose row changed.

    Raises:
        MissingColumn, InvalidValue: the row's key can't be used.
    """
    return user_in(event.after if event.after is not None else event.before or event.key, table, event.schema)


def user_in(row: RowImage, table: UserTable, schema: TableSchema = _NO_COLUMNS) -> UserId:
    """The user of a row of ``table``, or of a record's key.

    Raises:
        MissingColumn, InvalidValue: as :func:`user_of`.
    """
    if table.key not in row:
        raise MissingColumn(f"the key is not in the row image of {table.table}", field=table.key)
    try:
        return UserId(table.user_type, whole_number(row[table.key], schema.get(table.key, NO_SCHEMA)))
    except InvalidValue as error:
        error.field = table.key
        raise


def plan(event: ChangeEvent, table: UserTable, user: UserId, rules: Rules) -> Plan | Nothing:
    """The plan for a change of ``user``'s row.

    Raises:
        MissingColumn, InvalidValue, Unsupported: the row images can't be used; the error names the column.
    """
    if event.op is Operation.DELETE or event.after is None:
        return _deleted(event, table, user, rules)
    case = _Case(event, event.after, table, user, rules)
    if event.op is not Operation.UPDATE:
        return _appeared(case)
    before = {} if event.before is None and rules.accept_missing_before else event.before
    if before is None:
        raise Unsupported(
            f"an update of {event.table} without the old row image",
            field="before",
            advice=f"on PostgreSQL: ALTER TABLE {event.table} REPLICA IDENTITY FULL; or accept that every owned"
            " column counts as changed then, with CDC_SOURCE__ACCEPT_MISSING_BEFORE=true",
        )
    return _updated(case, before, event.after)


def healing(event: ChangeEvent, table: UserTable, user: UserId, rules: Rules) -> Plan:
    """The plan of the first good change after a change that could not be applied.

    It is not known what that change changed. So every column counts as changed: the plan writes the whole image,
    deletes the derived keys of every column, and publishes on every channel.

    Raises:
        As :func:`plan`.
    """
    if event.op is not Operation.UPDATE or event.after is None:
        planned = plan(event, table, user, rules)
    else:
        case = _Case(event, event.after, table, user, rules)
        planned = _updated(case, {}, event.after, is_healing=True)
    assert isinstance(planned, Plan)  # every column counts as changed
    return planned


class _Case:
    """A user's row after the change.

    ``fields``: the row in Redis form. ``image``: the whole config hash without its time fields. ``now``: the source's
    time of the change, so that a replay writes the same bytes. ``is_complete``: the row was sent whole, also if some of
    its columns are ``unreadable``.
    """

    __slots__ = ("event", "fields", "image", "is_complete", "now", "rules", "table", "unreadable", "user")

    def __init__(self, event: ChangeEvent, after: RowImage, table: UserTable, user: UserId, rules: Rules) -> None:
        self.event = event
        self.table = table
        self.user = user
        self.rules = rules
        self.fields, self.unreadable, self.is_complete = read_image(after, table, event.schema)
        self.image = {"id": str(user.id), "user_type": user.user_type, **table.constants, **self.fields}
        self.now = timestamp(event.position.ts_ms)

    def plan(self, shape: PlanShape, values: Fields, bodies: tuple[str, ...]) -> Plan:
        """The plan of this shape for the user."""
        version = Version.of(self.event, self.rules.epoch)
        return Plan(self.user, shape, version, values, self.now, bodies, unreadable=self.unreadable)


def _updated(case: _Case, before: RowImage, after: RowImage, *, is_healing: bool = False) -> Plan | Nothing:
    rules = case.rules
    between = () if is_healing else case.event.between
    found = _differences((before, *between, after), case)
    if not found.fields and not found.outside:
        return Nothing("no mapped column changed", case.unreadable)
    values: Fields = case.image
    if missing := found.fields.keys() - values.keys():
        values = {**values, **{name: _last_known(name, found.fields[name], case) for name in missing}}
    changed = {name: values[name] for name in found.fields}
    group = _changed_group(found, changed, rules)
    extent = Extent.WHOLE if is_healing else Extent.CHANGED if case.is_complete else Extent.PART
    columns = tuple(changed), found.outside, tuple(case.fields)
    follows = updated_shape(rules, case.table, *columns, extent, case.is_complete, group is not None)
    return case.plan(follows.shape, values, bodies(case.event, case.user, follows.event_types, changed, group))


def _differences(images: tuple[RowImage, ...], case: _Case) -> Diff:
    """Every difference between two neighbouring row images, as one."""
    table, schema = case.table, case.event.schema
    if len(images) == 2:
        return diff(*images, table, schema)
    return reduce(Diff.then, (diff(*pair, table, schema) for pair in pairwise(images)))


def _last_known(name: str, change: Change, case: _Case) -> str:
    """A field's value if the last image does not contain it: the value of an earlier image, or the default."""
    if change.new is not None:
        return change.new
    return next((column.default or "" for column in case.table.columns if column.field == name), "")


def _changed_group(found: Diff, changed: Fields, rules: Rules) -> Group | None:
    change = found.fields.get(rules.group_field)
    if change is None or (change.old_known and change.old == change.new):
        return None
    return Group((change.old or "") if change.old_known else None, changed[rules.group_field])


def _appeared(case: _Case) -> Plan:
    """The plan for an insert or a snapshot read: it writes the whole image. A read is not published."""
    event = case.event
    shape = appeared_shape(case.rules, case.table, event.op, tuple(case.fields), event.is_incremental, case.is_complete)
    messages = (body(event, case.user, "user_created", case.image),) if shape.channels else ()
    return case.plan(shape, case.image, messages)


def _deleted(event: ChangeEvent, table: UserTable, user: UserId, rules: Rules) -> Plan:
    # No fields: the admin app writes the fields into the hash, and would create the user again.
    message = body(event, user, "user_deleted", {})
    return Plan(user, deleted_shape(rules, table), Version.of(event, rules.epoch), bodies=(message,))
