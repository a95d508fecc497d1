"""Folds the rows of a linked table to each user's row that became done last."""

from __future__ import annotations

from collections.abc import Collection

from consumer.commands.replay.fold import event_of
from consumer.commands.replay.last import Last, Store, part_of
from consumer.commands.replay.rejections import Rejections
from consumer.errors import RecordError
from consumer.events.avro import Schemas
from consumer.events.decimals import with_decimal_schema
from consumer.events.event import ChangeEvent, Operation
from consumer.events.position import Origin
from consumer.events.record import SourceRecord
from consumer.guard.version import Version, compare
from consumer.mapping.rules import Rules
from consumer.planning.effect import Plan
from consumer.planning.linked import LinkedEffect, UnknownUserType, linked_change
from consumer.planning.rebuild import rebuild_linked


class LinkedFold:
    """Folds one linked table's changes of one partition: keeps each user's row that became done last."""

    def __init__(
        self,
        table: str,
        rules: Rules,
        schemas: Schemas,
        store: Store,
        rejections: Rejections,
        *,
        only: Collection[str] | None = None,
    ) -> None:
        """As :class:`consumer.commands.replay.fold.UserFold`. The table writes fields of the user."""
        found = rules.linked_table(table)
        assert found is not None  # callers pass only linked tables
        self._table = found
        self._money = found.money()
        self._rules = rules
        self._schemas = schemas
        self._only = only
        self._rejections = rejections
        self.store = store

    def add(self, event: ChangeEvent, record: SourceRecord) -> None:
        """Add the next change of the partition."""
        if event.op is Operation.DELETE:
            return
        try:
            change = linked_change(with_decimal_schema(event, self._money), self._table, self._rules)
        except RecordError as error:
            self._rejections.add(error, record.place)
            return
        if isinstance(change, UnknownUserType) or change.turn is not LinkedEffect.DONE:
            return
        user = str(change.user)
        if self._only is not None and user not in self._only:
            return
        version = Version.of(event, self._rules.epoch)
        last = self.store.get(user)
        if last is None or _is_newer(version, last.version):
            self.store.put(user, Last(version, (part_of(record),)))

    def plan(self, last: Last, topic: str, partition: int) -> Plan:
        """The plan that brings Redis to the user's last row that is done."""
        (part,) = last.records
        event = event_of(part, topic, partition, self._table.table, self._rules, self._schemas)
        planned = rebuild_linked(with_decimal_schema(event, self._money), self._rules)
        assert planned is not None  # it is of a known user, is done, and its table writes fields
        return planned


def _is_newer(version: Version, stored: Version) -> bool:
    """A row of an incremental read only fills what is missing."""
    if version.origin is Origin.INCREMENTAL and stored.origin is not Origin.INCREMENTAL:
        return False
    return compare(version, stored).is_accepted
