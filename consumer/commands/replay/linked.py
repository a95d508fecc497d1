"""Folds the rows of a linked table to each user's row that became done last."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import structs

from consumer.commands.replay.fold import Last, Read, Rejections, Store, event_of
from consumer.commands.replay.partial_decoder import LinkedPartialDecoder
from consumer.errors import Place, RecordError
from consumer.events.avro import Schemas
from consumer.events.decimals import with_decimal_schema
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent, Operation
from consumer.events.position import Origin
from consumer.events.record import SourceRecord
from consumer.guard.history import Histories
from consumer.guard.version import Version, compare
from consumer.mapping.rules import Rules
from consumer.planning.effect import Plan
from consumer.planning.rebuild import rebuild_linked


class LinkedFold:
    """Folds one linked table's records of one partition: keeps each user's row that became done last."""

    def __init__(
        self,
        table: str,
        rules: Rules,
        schemas: Schemas,
        history: Histories,
        store: Store,
        *,
        only: Collection[str] | None = None,
        settled: frozenset[Place] = frozenset(),
    ) -> None:
        """As :class:`UserFold`; every row that counts is decoded as a whole."""
        found = rules.linked_table(table)
        assert found is not None  # callers pass only linked tables
        self._table = found
        self._may_count = LinkedPartialDecoder(found)
        self._rules = rules
        self._schemas = schemas
        self._history = history
        self._only = only
        self.store = store
        self.rejections = Rejections(settled=settled)

    def add(self, record: Read) -> None:
        """Add the next record of the partition.

        Raises:
            ServerError: from the schemas (only for Avro).
        """
        if record.value is None or not self._may_count(record.value):
            return
        source = SourceRecord(
            record.topic, record.partition, record.offset, record.timestamp_ms, record.key, record.value
        )
        try:
            event = parse(source, self._schemas, self._rules.databases, placeholder=self._rules.placeholder)
            if not isinstance(event, ChangeEvent) or event.op is Operation.DELETE:
                return
            if self._history.first_sent(event, record.value) is not None:
                return
            planned = rebuild_linked(with_decimal_schema(event, self._table.money()), self._rules)
        except RecordError as error:
            error.place = source.place
            self.rejections.add(error, None)
            return
        if planned is None or not (self._only is None or str(planned.user) in self._only):
            return
        user = str(planned.user)
        last = self.store.get(user)
        if last is not None and not self._is_newer(planned.version, last.version):
            return
        part = (record.offset, record.key, record.value)
        self.store.put(user, Last(planned.version, (part,), is_delete=False, is_whole=True))

    def plan(self, last: Last, topic: str, partition: int) -> Plan:
        """The plan that brings Redis to the user's last row that is done."""
        ((offset, key, value),) = last.records
        event = event_of(SourceRecord(topic, partition, offset, 0, key, value), self._rules, self._schemas)
        planned = rebuild_linked(with_decimal_schema(event, self._table.money()), self._rules)
        assert planned is not None  # it had a plan when it was folded
        return structs.replace(planned, version=last.version)

    def _is_newer(self, version: Version, stored: Version) -> bool:
        if version.origin is Origin.INCREMENTAL and stored.origin is not Origin.INCREMENTAL:
            return False
        return compare(version, stored).is_accepted
