"""The fold by itself: which of a user's records counts, and what is said of those that can't be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from msgspec import structs

from consumer.commands.replay.last import Last
from consumer.commands.replay.partition import Folding, PartitionFold
from consumer.events.avro import NO_SCHEMAS
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.events.record import Partition, SourceRecord
from consumer.guard.search import Coverage, EarlierRecords
from consumer.mapping.reference import reference
from consumer.planning.effect import Plan
from consumer.planning.shape import Extent, Mode
from tests.support.scenario import Change, load_all

RULES = reference()
SCENARIOS = {each.title: each for each in load_all()}


class Memory(dict[str, Last]):
    """The simplest store."""

    def put(self, user: str, last: Last) -> None:
        self[user] = last

    users = dict.keys


def scenario(beginning: str) -> Change:
    return next(each for title, each in SCENARIOS.items() if title.startswith(beginning)).changes[0]


DEPOSIT, GROUP = scenario("A deposit"), scenario("The group")
DELETED, READ = scenario("A deleted user"), scenario("An incremental")
TRANSACTION = scenario("The transaction's row alone")


def at(change: Change, offset: int, **columns: object) -> SourceRecord:
    """The change in a database transaction of its own, whose rows Debezium counts."""
    return counted(uncounted(change, offset, **columns))


def uncounted(change: Change, offset: int, **columns: object) -> SourceRecord:
    after = None if change.after is None else change.after | columns
    return replace(change, after=after).record(offset)


def counted(record: SourceRecord) -> SourceRecord:
    block = b'"transaction":{"id":"3e11fa47:1","total_order":1,"data_collection_order":1}'
    return structs.replace(record, value=(record.value or b"").replace(b'"transaction":null', block))


def sent_again(record: SourceRecord, offset: int) -> SourceRecord:
    return structs.replace(record, offset=offset, timestamp_ms=record.timestamp_ms + 60_000)


def folded(*records: SourceRecord, folding: Folding | None = None) -> PartitionFold:
    tables = {f"trading.trading.{table}": table for table in RULES.captured()}
    return filled(PartitionFold(0, tables, folding or Folding(RULES), Memory), *records)


def filled(fold: PartitionFold, *records: SourceRecord) -> PartitionFold:
    for record in records:
        fold.add(record.topic, [record])
    return fold


def only(plans: Iterator[Plan]) -> Plan:
    (plan,) = plans
    return plan


@pytest.mark.parametrize("written", [at, uncounted])
def test_what_debezium_sends_again_does_not_count(written: Callable[..., SourceRecord]) -> None:
    newest = written(DEPOSIT, 7, leverage=7)
    again = sent_again(written(GROUP, 6), 9)  # after a crash of Connect
    plan = only(folded(written(GROUP, 6), newest, again).plans())
    assert plan.config is not None
    assert (plan.config.whole["leverage"], plan.version.offset) == ("7", 7)
    assert (plan.mode, plan.extent, plan.messages) == (Mode.REBUILD, Extent.WHOLE, ())


@pytest.mark.parametrize("written", [at, uncounted])
def test_the_last_in_the_topic_counts_though_its_place_in_the_log_is_lower(
    written: Callable[..., SourceRecord],
) -> None:
    """After a failover the connector reads another server's log."""
    failed_over = structs.replace(written(DEPOSIT, 3, leverage=7), offset=7)
    plan = only(folded(written(GROUP, 6), failed_over).plans())
    assert plan.config is not None
    assert (plan.config.whole["leverage"], plan.version.offset) == ("7", 7)


class TopicStub:
    """The records before the range."""

    def __init__(self, *records: SourceRecord) -> None:
        self._records = records

    def offset_at(self, partition: Partition, since_ms: int) -> int:
        return min(each.offset for each in self._records if each.timestamp_ms >= since_ms)

    def changes(self, partition: Partition, begin: int, end: int) -> Iterator[tuple[list[ChangeEvent], int]]:
        for record in self._records:
            if begin <= record.offset < end:
                event = parse(record, NO_SCHEMAS)
                assert isinstance(event, ChangeEvent)
                yield [event], record.offset + 1

    def coverage(self, partition: Partition) -> Coverage:
        return Coverage(0, 0)


def test_a_range_that_begins_in_a_tail_that_was_sent_again_takes_nothing_of_it() -> None:
    first = at(GROUP, 6)
    before: EarlierRecords = TopicStub(first, at(DEPOSIT, 7))
    assert list(folded(sent_again(first, 9), folding=Folding(RULES, earlier=before)).plans()) == []


def test_a_delete_that_is_newest_removes_and_takes_the_linked_rows_along() -> None:
    plan = only(folded(at(TRANSACTION, 2), at(DEPOSIT, 3), at(DELETED, 4)).plans())
    assert plan.removed is not None
    user, row = folded(at(DEPOSIT, 3), at(TRANSACTION, 4)).plans()
    assert user.config is not None
    assert row.update is not None
    assert row.update.fields["last_transaction_id"] == "TXN0001"


def tombstone(offset: int) -> SourceRecord:
    """What Debezium writes after a delete."""
    return structs.replace(at(DELETED, offset), value=None)


@pytest.mark.parametrize("value", [None, b"null"])
@pytest.mark.parametrize("removed", ["compacted", "not readable"])
def test_a_tombstone_whose_delete_is_gone_is_the_delete(removed: str, value: bytes | None) -> None:
    """An older image may be in the topic still: in another partition, or because the delete can't be read."""
    delete = [] if removed == "compacted" else [structs.replace(at(DELETED, 4), value=b"{")]
    fold = folded(at(DEPOSIT, 3), *delete, structs.replace(tombstone(5), value=value))
    plan, *marks = fold.plans()
    assert plan.removed is not None
    assert (plan.mode, plan.version.offset, plan.messages) == (Mode.REBUILD, 5, ())
    assert [mark.mode for mark in marks] == [Mode.MARK] * len(delete)
    assert {str(user) for user in fold.users()} == {"live:123"}
    (alone,) = folded(tombstone(5)).plans()
    assert alone.removed is not None


def test_a_tombstone_after_its_delete_changes_nothing_and_a_later_row_counts() -> None:
    plan = only(folded(at(DEPOSIT, 3), at(DELETED, 4), tombstone(5)).plans())
    assert plan.version.offset == 4
    back = replace(DEPOSIT, operation="insert", before=None)
    plan = only(folded(tombstone(5), at(back, 6)).plans())
    assert (plan.removed, plan.version.offset) == (None, 6)
    assert list(folded(tombstone(5), folding=Folding(RULES, only=frozenset({"live:5"}))).plans()) == []


def test_a_tombstone_of_a_linked_table_deletes_nobody() -> None:
    row = at(TRANSACTION, 4)
    plan = only(folded(row, structs.replace(row, offset=5, value=None)).plans())
    assert (plan.removed, plan.version.offset) == (None, 4)


def test_many_tombstones_at_the_beginning_are_looked_up_once() -> None:
    """A compacted topic may begin with millions of them."""
    topic = TopicStub(at(DELETED, 4))
    looks: list[int] = []
    search = topic.changes

    def changes(partition: Partition, begin: int, end: int) -> Iterator[tuple[list[ChangeEvent], int]]:
        looks.append(end)
        return search(partition, begin, end)

    topic.changes = changes  # type: ignore[method-assign]
    others = [structs.replace(tombstone(number), key=b'{"id":%d}' % number) for number in range(6, 9)]
    fold = folded(tombstone(5), *others, folding=Folding(RULES, earlier=topic))
    assert [str(plan.user) for plan in fold.plans()] == ["live:6", "live:7", "live:8"]
    assert looks == [5]
    looks.clear()
    topic._records = ()
    assert len(list(folded(tombstone(5), *others, folding=Folding(RULES, earlier=topic)).plans())) == 4
    assert looks == [5]


def test_times_are_those_of_the_changes_that_set_them() -> None:
    plan = only(folded(at(replace(DEPOSIT, time="2024-01-15T10:00:00.000Z"), 3), at(GROUP, 4)).plans())
    assert plan.config is not None
    assert plan.config.whole["last_balance_update"] == "2024-01-15T10:00:00.000Z"
    assert plan.config.whole["last_group_update"] == plan.config.whole["last_updated"] == "2024-01-15T10:30:00.000Z"
    assert plan.update is not None
    assert plan.update.fields["balance_updated_at"] == "2024-01-15T10:00:00.000Z"


def test_an_incremental_read_counts_only_where_there_is_nothing_else() -> None:
    plan = only(folded(at(GROUP, 3), at(READ, 4)).plans())
    assert plan.version.offset == 3
    plan = only(folded(at(READ, 4)).plans())
    assert plan.version.offset == 4


def test_what_a_row_did_not_tell_is_taken_from_before() -> None:
    part = at(DEPOSIT, 5, group="__debezium_unavailable_value")
    part = structs.replace(
        part, value=(part.value or b"").replace(b'"group":"Standard"', b'"group":"__debezium_unavailable_value"')
    )
    plan = only(folded(at(GROUP, 3), part).plans())
    assert plan.config is not None
    assert (plan.config.whole["group"], plan.config.whole["wallet_balance"]) == ("VIP", "10000.50")
    alone = only(folded(part).plans())
    assert alone.config is not None
    assert (alone.extent, dict(alone.config.whole)) == (Extent.PART, {})
    assert "group" not in alone.config.changed
    under = only(folded(part, at(READ, 6)).plans())
    assert under.config is not None
    assert (under.config.whole["group"], under.config.whole["wallet_balance"]) == ("Standard", "10000.50")
    assert under.version.offset == 5


def test_a_record_that_can_not_be_read_is_counted_and_marks_its_user() -> None:
    fold = folded(at(DEPOSIT, 3), structs.replace(at(GROUP, 4), value=b"{"))
    row, mark = fold.plans()
    assert (row.version.offset, mark.mode, mark.version.offset) == (3, Mode.MARK, 4)
    assert fold.rejections.count == 1
    assert "trading.trading.live_users[0]@4" in fold.rejections.first[0]


def test_a_row_that_can_not_be_used_shows_at_the_end_and_the_one_before_it_counts() -> None:
    assert GROUP.before is not None
    spoilt = replace(GROUP, before=GROUP.before | {"wallet_balance": "much"})
    records = at(DEPOSIT, 3), at(spoilt, 4, wallet_balance="much"), structs.replace(at(GROUP, 5), value=b"{")
    fold = folded(*records)
    assert [plan.mode for plan in fold.plans()] == []
    assert fold.unusable == {"live:123"}
    again = filled(fold.again(Memory), *records)
    row, mark = again.plans()
    assert row.version.offset == 3
    assert (mark.mode, mark.version.offset) == (Mode.MARK, 5)
    assert again.unusable == set()
    assert (fold.rejections.count, again.rejections.count) == (1, 1), "each is counted once"


def test_what_could_not_be_used_before_counts_once_although_a_second_fold_sees_it_again() -> None:
    """The first fold notices only an amount that changed; the second one looks at every row."""
    assert GROUP.before is not None
    unnoticed = at(replace(GROUP, before=GROUP.before | {"wallet_balance": "much"}), 4, wallet_balance="much")
    records = at(DEPOSIT, 3), unnoticed, at(GROUP, 5, wallet_balance="much")
    fold = folded(*records)
    list(fold.plans())
    assert [text.partition(":")[0] for text in fold.rejections.first] == ["trading.trading.live_users[0]@5"]
    again = filled(fold.again(Memory), *records)
    assert [plan.version.offset for plan in again.plans()] == [3, 5], "the last good row, and a mark"
    assert [text.partition(":")[0] for text in again.rejections.first] == ["trading.trading.live_users[0]@4"]


def test_records_that_are_added_again_after_a_fault_change_nothing() -> None:
    """The search for earlier records may meet a server that is away, in the middle of the records of a poll."""
    records = at(DEPOSIT, 3), structs.replace(at(GROUP, 4), value=b"{"), at(GROUP, 5)
    once, twice = folded(*records), folded(*records[:2], *records)
    assert list(once.plans()) == list(twice.plans())
    assert once.rejections.count == twice.rejections.count == 1


def test_a_row_of_another_table_in_a_topic_of_debeziums_name_is_a_row_of_that_table() -> None:
    """As the stream applies it."""
    demo = next(each for title, each in SCENARIOS.items() if title.startswith("A new demo user")).changes[0]
    plan = only(folded(structs.replace(demo.record(3), topic="trading.trading.live_users")).plans())
    assert (str(plan.user).partition(":")[0], plan.mode) == ("demo", Mode.REBUILD)


def test_only_a_row_that_became_done_is_a_last_transaction() -> None:
    assert TRANSACTION.after is not None
    pending = TRANSACTION.after | {"status": "pending", "transaction_id": "TXN0002"}
    later = replace(TRANSACTION, operation="update", before=TRANSACTION.after, after=TRANSACTION.after)
    records = at(TRANSACTION, 2), replace(TRANSACTION, after=pending).record(3), later.record(4)
    plan = only(folded(*records).plans())
    assert plan.update is not None
    assert (plan.update.fields["last_transaction_id"], plan.version.offset) == ("TXN0001", 2)
    spoilt = structs.replace(at(TRANSACTION, 5), value=b"{")
    assert folded(*records, spoilt).rejections.count == 1


def test_a_read_after_a_record_that_could_not_be_used_counts() -> None:
    plan, _ = folded(at(GROUP, 3), structs.replace(at(GROUP, 4), value=b"{"), at(READ, 5)).plans()
    assert plan.version.offset == 5


def test_only_the_users_that_are_asked_for() -> None:
    records = at(DEPOSIT, 3), at(replace(GROUP, user_id=5), 4, id=5)
    plan = only(folded(*records, folding=Folding(RULES, only=frozenset({"live:5"}))).plans())
    assert str(plan.user) == "live:5"
    assert [str(user) for user in folded(*records).users()] == ["live:123", "live:5"]


@pytest.mark.parametrize("table", ["user_transactions", "live_users"])
def test_a_second_copy_of_a_read_is_not_the_newest_record(table: str) -> None:
    """Kafka Connect's producer may write a batch twice; the same record again is no copy of itself."""
    change = replace(TRANSACTION if table == "user_transactions" else READ, operation="read", before=None)
    read = change.record(3)
    (plan,) = folded(read, sent_again(read, 5), sent_again(read, 5)).plans()
    assert plan.version.offset == 3
    (plan,) = folded(read, read).plans()
    assert plan.version.offset == 3
