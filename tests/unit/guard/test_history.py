"""What Debezium sends again is recognised by the change itself, from memory and, where that ends, from the topic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, pairwise

import msgspec
import pytest
from msgspec.structs import replace

from consumer.errors import Place, ServerUnavailable
from consumer.events import usual_envelope
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent, Operation
from consumer.events.position import from_source
from consumer.events.record import Partition, SourceRecord
from consumer.guard import search as module
from consumer.guard.history import Histories, PartitionHistory
from consumer.guard.memory import Memory, NewestReads
from consumer.guard.search import Coverage
from consumer.guard.streamed_change import change_id, streamed_change

PART = Partition("trading.trading.live_users", 0)
CLOCK_MS = 1000
NOW_MS = 1_795_000_000_000


def change(
    number: int,
    offset: int,
    *,
    user: int = 7,
    before: int | None = 1,
    after: int | None = 2,
    server: str = "a",
    file: int = 1,
    pos: int | None = None,
    counted: bool = True,
    gtid: bool = True,
    ts_ms: int | None = None,
    written_ms: int | None = None,
    snapshot: str = "false",
) -> ChangeEvent:
    """The only row of transaction ``number`` of a server, sent at ``offset``; each transaction takes a second."""
    at_ms = NOW_MS + 1000 * number if ts_ms is None else ts_ms
    source = {
        "connector": "mysql",
        "server_id": 1,
        "file": f"binlog.{file:06d}",
        "pos": 100 * number if pos is None else pos,
        "row": 0,
        "ts_ms": at_ms,
        "snapshot": snapshot,
        "gtid": f"{server}:{number}" if gtid else None,
    }
    return ChangeEvent(
        table="live_users",
        op=Operation.DELETE if after is None else Operation.UPDATE,
        key={"id": user},
        before=None if before is None else {"id": user, "margin": before},
        after=None if after is None else {"id": user, "margin": after},
        position=from_source(source, {"id": "any", "total_order": 1} if counted else None),
        transaction_id=None,
        place=Place(PART.topic, PART.number, offset),
        schema={},
        written_ms=at_ms + 50 if written_ms is None else written_ms,
    )


def again(event: ChangeEvent, offset: int, **source: object) -> ChangeEvent:
    """The same change in another record, written an hour later."""
    position = replace(event.position, **source) if source else event.position
    place = replace(event.place, offset=offset)
    return replace(event, place=place, position=position, written_ms=event.written_ms + 3_600_000)


class TopicStub:
    """The topic's earlier records. Tells how often it was read, and may be away."""

    def __init__(self, events: Sequence[ChangeEvent], reach: Coverage = Coverage(0, 0)) -> None:  # noqa: B008  # a constant
        self.events = events
        self.read_from: list[int] = []
        self.is_away = False
        self._reach = reach

    def offset_at(self, partition: Partition, since_ms: int) -> int:
        found = [each.place.offset for each in self.events if each.written_ms >= since_ms]
        return min(found, default=self.events[-1].place.offset + 1 if self.events else 0)

    def changes(self, partition: Partition, begin: int, end: int) -> Iterator[tuple[Sequence[ChangeEvent], int]]:
        self.read_from.append(begin)
        if self.is_away:
            raise ServerUnavailable("Kafka", "away")
        found = [each for each in self.events if begin <= each.place.offset < end]
        for at in range(0, len(found), 5):
            yield found[at : at + 5], found[at : at + 5][-1].place.offset + 1

    def coverage(self, partition: Partition) -> Coverage:
        return self._reach


def firsts(history: PartitionHistory, events: Sequence[ChangeEvent]) -> list[int | None]:
    return [history.first_sent(each) for each in events]


def fresh(earlier: TopicStub | None = None) -> PartitionHistory:
    return PartitionHistory(PART, earlier, CLOCK_MS)


TEN = [change(number, number) for number in range(10)]


def test_changes_in_their_order_are_new_and_nothing_is_asked() -> None:
    topic = TopicStub([])
    history = fresh(topic)
    assert firsts(history, TEN) == [None] * 10
    assert topic.read_from == []


def test_a_tail_that_is_sent_again_was_sent_before() -> None:
    history = fresh()
    firsts(history, TEN)
    tail = [again(each, 10 + at) for at, each in enumerate(TEN[4:])]
    assert firsts(history, tail) == [4, 5, 6, 7, 8, 9]
    assert history.first_sent(change(10, 16)) is None


@pytest.mark.parametrize("file", [1, 90], ids=["at lower places", "at higher places"])
def test_it_is_recognised_in_another_servers_log(file: int) -> None:
    history = fresh()
    firsts(history, [change(number, number, file=50) for number in range(5)])
    elsewhere = change(4, 5, file=file, pos=7, written_ms=NOW_MS + 90_000)
    assert history.first_sent(elsewhere) == 4
    assert history.first_sent(change(1, 6, server="b", file=file, pos=9, ts_ms=NOW_MS + 91_000)) is None


def test_the_last_change_of_the_old_primary_is_new_where_it_was_not_sent_before() -> None:
    history = fresh()
    firsts(history, [change(number, number, file=50) for number in range(5)])
    assert history.first_sent(change(5, 5, file=1, pos=7)) is None


def test_numbers_that_members_draw_from_blocks_rise_and_fall_and_are_new() -> None:
    history = fresh()
    mixed = [change(number, at, ts_ms=NOW_MS + at) for at, number in enumerate([1, 1001, 2, 1002, 3])]
    assert firsts(history, mixed) == [None] * 5
    assert firsts(history, [again(each, 5 + at) for at, each in enumerate(mixed)]) == [0, 1, 2, 3, 4]


def test_a_higher_number_from_another_members_block_may_be_older() -> None:
    """The topic was created after it, so nobody knows whether it was sent: what follows it must be applied again."""
    newest = change(1, 1, after=None, ts_ms=NOW_MS + 50_000)
    history = fresh(TopicStub([newest], Coverage(NOW_MS + 40_000, 0)))
    assert history.first_sent(newest) is None
    assert history.first_sent(change(1001, 2, ts_ms=NOW_MS, written_ms=NOW_MS + 60_000)) is None
    assert history.first_sent(again(newest, 3)) is None


def test_a_tail_of_one_server_is_recognised_in_a_new_topic_though_its_times_fall_a_little() -> None:
    """Transactions that overlap. The topic was created a moment before them."""
    times = [NOW_MS + ms for ms in (40, 10, 50, 30)]
    some = [change(number, number, ts_ms=ms, written_ms=NOW_MS + 60) for number, ms in enumerate(times)]
    history = fresh(TopicStub(some, Coverage(NOW_MS, 0)))
    assert firsts(history, some) == [None] * 4
    assert firsts(history, [again(each, 4 + at) for at, each in enumerate(some)]) == [0, 1, 2, 3]


def test_a_number_that_begins_again_after_reset_master_is_new() -> None:
    history = fresh()
    firsts(history, TEN)
    reset = [change(number, 10 + number, ts_ms=NOW_MS + 60_000 + number) for number in range(3)]
    assert firsts(history, reset) == [None] * 3


def rows_of_one(
    *values: int, first_count: int = 1, offset: int = 0, first_row: int = 0, file: int = 1
) -> list[ChangeEvent]:
    """Rows of one transaction, at places of their own, which Debezium counts from ``first_count`` on."""
    rows = []
    for at, (before, after) in enumerate(pairwise(values)):
        row = change(5, offset + at, before=before, after=after, pos=500 + first_row + at, file=file)
        rows.append(replace(row, position=replace(row.position, count=first_count + at)))
    return rows


def test_equal_rows_of_one_transaction_are_told_apart() -> None:
    history, rows = fresh(), rows_of_one(1, 2, 1, 2)
    assert firsts(history, rows) == [None] * 3
    assert firsts(history, [again(each, 3 + at) for at, each in enumerate(rows)]) == [0, 1, 0]


@pytest.mark.parametrize("file", [1, 90], ids=["at lower places", "at higher places"])
def test_a_row_that_changed_back_is_recognised_in_another_servers_log(file: int) -> None:
    """Its old image fits the row's latest image, and a higher place in another file says nothing."""
    history = fresh()
    firsts(history, rows_of_one(1, 2, 1, file=50))
    assert firsts(history, rows_of_one(1, 2, 1, offset=2, file=file)) == [0, 1]


def test_copies_with_higher_counts_than_their_first_records_are_recognised() -> None:
    """Found by the model: sent once from the middle on, and then as a whole, the rest has higher counts."""
    history, rows = fresh(), rows_of_one(1, 2, 3, 4)
    rest = rows_of_one(2, 3, 4, first_row=1, offset=1)
    assert firsts(history, [rows[0], *rest]) == [None] * 3
    assert firsts(history, [again(each, 3 + at) for at, each in enumerate(rows)]) == [0, 1, 2]


def test_an_equal_row_without_its_old_image_is_told_apart_by_its_count() -> None:
    history = fresh()
    rows = [replace(each, before=None) for each in rows_of_one(1, 2, 1, 2)]
    assert firsts(history, rows) == [None] * 3


def test_rows_of_two_tables_of_one_topic_with_equal_keys_are_two_rows() -> None:
    history = fresh()
    first, second, _, last = rows_of_one(1, 2, 1, 9, 9)
    other = replace(last, table="demo_users", place=replace(last.place, offset=2))
    last = rows_of_one(1, 2, first_count=4, first_row=3, offset=3)[0]
    assert firsts(history, [first, second, other, last]) == [None] * 4


@pytest.mark.parametrize("is_in_wal", [False, True], ids=["mysql", "postgresql"])
def test_the_latest_row_without_its_old_image_is_recognised_when_it_is_sent_again(is_in_wal: bool) -> None:
    history = fresh()
    some = [in_wal(100 * at, at, 100 * at - 50, transaction=at) if is_in_wal else change(at, at) for at in (1, 2)]
    some = [replace(each, before=None) for each in some]
    assert firsts(history, some) == [None] * 2
    assert history.first_sent(again(some[1], 3)) == 2


@pytest.mark.parametrize("begins_anew", [False, True], ids=["the same member", "a new member"])
def test_a_row_that_is_first_sent_after_a_restart_within_its_transaction_is_new(begins_anew: bool) -> None:
    """Debezium counts it 1 like the first row, whose content it has (debezium/dbz#633). To refuse it would lose it."""
    rows = rows_of_one(1, 2, 1)
    history = fresh(TopicStub(rows))
    if not begins_anew:
        assert firsts(history, rows) == [None, None]
    assert firsts(history, rows_of_one(1, 2, first_row=2, offset=2)) == [None]


def test_rows_that_are_counted_anew_when_they_are_sent_again_are_recognised() -> None:
    history, rows = fresh(), rows_of_one(1, 2, 3, 4, 5)
    firsts(history, [*rows, change(6, 4, before=5, after=6)])
    assert firsts(history, rows_of_one(3, 4, 5, first_row=2, offset=5)) == [2, 3]


def in_wal(own: int, offset: int, before: int | None, *, count: int = 1, transaction: int = 1) -> ChangeEvent:
    """A change in PostgreSQL's log, at ``own``, with the commit ``before``, which may not be known."""
    source = {"connector": "postgresql", "txId": transaction, "ts_ms": NOW_MS, "snapshot": "false"}
    source["sequence"] = f'["{before}","{own}"]' if before is not None else f'[null,"{own}"]'
    return replace(change(1, offset), position=from_source(source, {"id": "any", "total_order": count}))


def test_on_postgresql_what_is_sent_first_after_a_restart_is_recognised() -> None:
    """Debezium does not know the commit before then, and counts from 1 in the middle of a transaction."""
    history = fresh()
    rows = [in_wal(110, 0, 100), in_wal(120, 1, 100, count=2), in_wal(130, 2, 100, count=3)]
    assert firsts(history, rows) == [None] * 3
    assert firsts(history, [in_wal(120, 3, None), in_wal(130, 4, None, count=2)]) == [1, 2]
    assert history.first_sent(in_wal(140, 5, None, transaction=2)) is None


def test_the_name_of_a_change_on_postgresql_is_the_same_when_its_rows_are_counted_anew() -> None:
    assert change_id(in_wal(120, 1, 100, count=2)) == change_id(in_wal(120, 3, None))


def to_and_fro(*values: int) -> list[ChangeEvent]:
    """One compressed transaction, whose rows share a place and are not counted."""
    return [
        change(5, at, counted=False, pos=500, before=before, after=after)
        for at, (before, after) in enumerate(pairwise(values))
    ]


def test_uncounted_rows_with_equal_content_are_all_applied() -> None:
    """The third change of 1 to 2, to 1 and to 2 has the content of the first. To lose it would leave 1."""
    assert firsts(fresh(), to_and_fro(1, 2, 1, 2)) == [None] * 3


def test_uncounted_rows_that_are_sent_again_within_their_transaction_are_recognised() -> None:
    """Connect was killed in the middle of it."""
    history, rows = fresh(), to_and_fro(1, 2, 3, 4)
    firsts(history, rows[:2])
    assert firsts(history, [again(each, 2 + at) for at, each in enumerate(rows)]) == [0, 1, None]


def test_uncounted_rows_are_recognised_once_another_transaction_came() -> None:
    history, rows = fresh(), to_and_fro(1, 2, 1, 2)
    firsts(history, [*rows, change(6, 3, counted=False)])
    assert firsts(history, [again(each, 4 + at) for at, each in enumerate(rows)]) == [0, 1, 0]


def test_without_gtids_a_statement_that_began_earlier_is_new_and_a_tail_is_recognised() -> None:
    history = fresh()
    early, bulk = change(5, 0, gtid=False), change(6, 1, gtid=False, ts_ms=NOW_MS)
    assert firsts(history, [early, bulk]) == [None, None]
    assert firsts(history, [again(early, 2), again(bulk, 3)]) == [0, 1]


def test_snapshot_reads_are_never_sent_before() -> None:
    history = fresh()
    read = change(5, 0, snapshot="true")
    assert firsts(history, [read, again(read, 1), change(5, 2, snapshot="incremental")]) == [None] * 3


def test_records_that_are_read_again_from_an_earlier_offset_are_new_as_they_were() -> None:
    history = fresh()
    firsts(history, [*TEN, again(TEN[9], 10)])
    assert firsts(history, TEN[5:]) == [None] * 5
    assert history.first_sent(again(TEN[9], 10)) == 9


def test_after_a_restart_the_topic_is_asked_once() -> None:
    topic = TopicStub(TEN)
    history = fresh(topic)
    assert firsts(history, [again(TEN[8], 10), again(TEN[9], 11), change(10, 12), change(11, 13)]) == [8, 9, None, None]
    assert len(topic.read_from) <= 2
    assert min(topic.read_from) >= 4, "no further back than the change's time asks for"


def test_while_kafka_is_away_nothing_is_decided() -> None:
    topic = TopicStub(TEN)
    history = fresh(topic)
    topic.is_away = True
    with pytest.raises(ServerUnavailable):
        history.first_sent(again(TEN[8], 10))
    topic.is_away = False
    assert history.first_sent(again(TEN[8], 10)) == 8


def test_a_rewind_that_is_deeper_than_what_is_remembered_is_found_in_the_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SEARCHED", 8)
    monkeypatch.setattr(module, "_RUN", 4)
    monkeypatch.setattr("consumer.guard.memory._RUN", 4)
    many = [change(number, number) for number in range(200)]
    topic = TopicStub(many)
    history = PartitionHistory(PART, topic, CLOCK_MS, remembered=8)
    firsts(history, many)
    rewound = [again(each, 200 + at) for at, each in enumerate(many[20:])]
    assert firsts(history, rewound) == list(range(20, 200))
    assert history.first_sent(change(200, 380)) is None


def test_an_older_record_that_is_gone_makes_what_follows_count_again() -> None:
    """Of a tail that is sent again the first is not in the topic any more, and is accepted. Were the rest refused, the
    user would stay at the oldest of them.
    """
    first, second = change(1, 0, before=1, after=2), change(2, 1, before=2, after=3)
    topic = TopicStub([second], Coverage(0, 2**62))
    history = fresh(topic)
    assert firsts(history, [again(first, 2), again(second, 3)]) == [None, None]
    kept = fresh(TopicStub([first, second]))
    assert firsts(kept, [again(first, 2), again(second, 3)]) == [0, 1]


def test_a_tail_of_doubtful_changes_is_accepted_to_its_end() -> None:
    """Found by the model: of two servers, perhaps sent before the topic was as it is, and then sent again."""
    first, second = change(9, 0, before=1, after=2), change(2, 1, server="b", before=2, after=3)
    history = fresh(TopicStub([], Coverage(2**62, 0)))
    assert firsts(history, [first, second, again(first, 2), again(second, 3)]) == [None] * 4


def test_records_that_are_read_again_count_as_they_did_also_where_some_were_doubtful() -> None:
    """Found by the model. A topic is made anew, and a tail from before that is sent behind a newer change. Then Redis
    loses something, and the same records are read again.
    """
    old, new = change(2, 1, before=2, after=None), change(3, 0, before=None, after=1)
    tail = [new, again(old, 1), again(new, 2), again(old, 3), again(new, 4)]
    history = fresh(TopicStub([], Coverage(new.written_ms, 0)))
    for _ in range(3):
        assert firsts(history, tail) == [None, None, None, 1, None], "the old one once, the new one behind it"


def test_a_tail_from_before_the_topic_is_told_once() -> None:
    """Found by the chaos runs: the changes before a snapshot, sent after a failover; and then sent again."""
    newest = change(1, 0, server="b", ts_ms=NOW_MS + 60_000)
    tail = [change(number, number, before=number, after=number + 1) for number in range(1, 5)]
    late = [again(each, each.place.offset) for each in tail]
    history = fresh(TopicStub([], Coverage(newest.written_ms, 0)))
    assert firsts(history, [newest, *late]) == [None] * 5
    assert firsts(history, [again(each, 4 + at) for at, each in enumerate(tail, start=1)]) == [1, 2, 3, 4]


def test_what_another_member_accepted_though_it_was_doubtful_makes_what_follows_count_again() -> None:
    """The same, and a restart behind the old change: the next member finds it in the topic."""
    old, new = change(2, 1, before=2, after=None), change(3, 0, before=None, after=1)
    tail = [new, again(old, 1), again(new, 2)]
    history = fresh(TopicStub(tail[:2], Coverage(new.written_ms, 0)))
    assert history.first_sent(tail[2]) is None


def test_a_member_that_begins_within_a_tail_finds_the_first_records_of_changes_as_old_as_the_topic() -> None:
    """Found by the chaos runs: a topic of today, two servers, and a tail from its beginning that is sent again."""
    first, later = change(1, 0), change(4000, 1, before=2, after=3)
    other = change(1, 2, server="b", user=8, ts_ms=NOW_MS + 4_001_000)
    topic = TopicStub([first, later, other, again(first, 3)], Coverage(first.written_ms, 0))
    history = fresh(topic)
    assert history.first_sent(again(later, 4)) == 1
    assert min(topic.read_from) == 0


def test_where_one_server_writes_numbers_that_rise_nothing_is_doubtful() -> None:
    """As where a connector reads a log from before its topic was made, and is then started again."""
    first, second = change(1, 0, before=1, after=2), change(2, 1, before=2, after=3)
    history = fresh(TopicStub([], Coverage(2**62, 0)))
    assert firsts(history, [first, second, again(first, 2), again(second, 3)]) == [None, None, 0, 1]


def test_of_a_topic_that_got_partitions_what_lay_elsewhere_makes_what_follows_count_again() -> None:
    first, second = change(1, 0), change(2, 0, before=2, after=3)
    history = fresh(TopicStub([second], Coverage(second.written_ms, 0)))
    assert firsts(history, [second, again(first, 1), again(second, 2)]) == [None, None, None]


def test_a_tombstone_behind_its_delete_is_not_alone() -> None:
    history = fresh()
    delete = change(1, 0, after=None)
    assert history.first_sent(delete) is None
    assert not history.is_delete_missing(1, (7,))
    assert history.is_delete_missing(2, (8,))


def test_a_tombstone_behind_a_delete_that_is_sent_again_is_not_alone() -> None:
    history = fresh()
    delete, back = change(1, 0, after=None), change(2, 2, before=None)
    firsts(history, [delete, back])
    assert history.first_sent(again(delete, 3)) == 0
    assert not history.is_delete_missing(4, (7,))


def test_the_first_tombstone_after_a_restart_is_looked_up() -> None:
    delete = change(1, 8, after=None)
    assert not fresh(TopicStub([delete])).is_delete_missing(9, (7,))
    assert fresh(TopicStub([change(1, 8)])).is_delete_missing(9, (7,))


def test_what_is_sent_again_behind_a_lone_tombstone_brings_the_user_back() -> None:
    history = fresh()
    insert = change(1, 0, before=None)
    firsts(history, [insert, change(2, 1, user=8)])
    assert history.is_delete_missing(2, (7,))
    assert history.first_sent(again(insert, 3)) is None


def test_each_partition_has_a_history_of_its_own_until_it_is_taken_away() -> None:
    histories = Histories(None, CLOCK_MS)
    other = replace(TEN[0], place=Place(PART.topic, 1, 5))
    assert [histories.first_sent(each) for each in (TEN[0], other, again(TEN[0], 1))] == [None, None, 0]
    tombstone = SourceRecord(PART.topic, 1, 6, NOW_MS, b'{"id":9}', None)
    assert histories.is_delete_missing(tombstone, {"id": 9})
    histories.forget([PART])
    assert histories.first_sent(again(TEN[0], 1)) is None


def test_what_is_oldest_is_forgotten_first_and_the_memory_says_how_far_it_reaches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consumer.guard.memory._RUN", 10)
    memory = Memory(0, 0, 20)
    for offset in range(100):
        memory.put(offset * 7919, offset, 1000 + offset)
    assert len(memory) <= 40
    assert memory.get(99 * 7919) == 99
    assert memory.get(memory.begin_offset * 7919) == memory.begin_offset
    assert memory.since_ms == 1000 + memory.begin_offset
    assert memory.get((memory.begin_offset - 1) * 7919) is None


def test_of_equal_changes_the_first_record_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.guard.memory._RUN", 3)
    memory, offsets = Memory(0, 0, 100), count()
    for identity in (5, 6, 5, 7, 5, 8, 9, 5):
        memory.put(identity, next(offsets), 0)
    assert memory.get(5) == 0


def test_the_name_of_a_change_holds_no_place_that_differs_on_another_server() -> None:
    one = change(5, 0)
    assert change_id(again(one, 9, place="elsewhere", order="elsewhere", server="2")) == change_id(one)
    uncounted = change(5, 0, counted=False)
    assert change_id(again(uncounted, 9, place="elsewhere", order="elsewhere")) == change_id(uncounted)
    assert len({change_id(each) for each in (one, uncounted, change(6, 0), change(5, 0, ts_ms=NOW_MS))}) == 4
    assert change_id(change(5, 0, gtid=False)) != change_id(change(5, 0, gtid=False, pos=501))


def test_two_changes_have_two_identities() -> None:
    events = [
        *(change(number, 0) for number in range(5)),
        change(1, 0, user=8),
        change(1, 0, after=None),
        change(1, 0, server="b"),
        change(1, 0, ts_ms=NOW_MS),
        change(1, 0, after=3),
        change(1, 0, gtid=False),
        change(1, 0, gtid=False, pos=101),
    ]
    assert len({streamed_change(each).identity for each in events}) == len(events)
    assert streamed_change(change(1, 0, counted=False)).identity == streamed_change(change(1, 0)).identity


def test_a_copy_of_a_read_is_known_by_its_bytes() -> None:
    """Kafka Connect's producer may write a batch twice: r, u, r, u. The second r is older than the first u."""
    value, histories = b'{"op":"r"}', Histories(None, CLOCK_MS)
    read = change(1, 3, snapshot="true")
    assert histories.first_sent(read, value) is None
    assert histories.first_sent(read, value) is None, "the same record, read again"
    assert histories.first_sent(again(read, 5), value) == 3
    elsewhere = replace(read, place=replace(read.place, partition=1, offset=5))
    assert histories.first_sent(elsewhere, value) is None
    assert histories.first_sent(again(read, 6), b'{"op":"r","ts_ms":1}') is None


def test_of_reads_only_the_newest_are_remembered() -> None:
    reads = NewestReads(limit=2)
    assert [reads.first_offset(value, at) for at, value in enumerate((b"a", b"b", b"c", b"a", b"c"))] == [
        None,
        None,
        None,
        None,
        2,
    ]


COLUMNS = {"id": 7, "wallet_balance": "80.00", "name": "x"}


def of_record(row: Mapping[str, object], before: Mapping[str, object]) -> ChangeEvent:
    """A change of ``row`` without a count, decoded after a record with the columns of ``before``."""
    usual_envelope._expected.clear()
    source = {"connector": "mysql", "table": "live_users", "db": "trading", "ts_ms": 1, "server_id": 1}
    source |= {"gtid": "u:2", "file": "binlog.000001", "pos": 4, "row": 0, "snapshot": "false"}
    found = None
    for each in (before, row):
        value = msgspec.json.encode({"op": "u", "source": source, "before": each, "after": each})
        found = parse(SourceRecord("t", 0, 1, 1, b'{"id":7}', value))
    assert isinstance(found, ChangeEvent)
    return found


@pytest.mark.parametrize("value", ["80.00", ["a", "b"]])
def test_the_order_of_columns_does_not_matter(value: object) -> None:
    """A record may be decoded in the order of the record before it."""
    row = COLUMNS | {"name": value}
    turned, other = dict(reversed(row.items())), {"id": 7}
    found = [of_record(each, before) for each in (row, turned) for before in (row, turned, other)]
    assert len({type(each.after) for each in found}) > 1, "some are dicts"
    assert len({streamed_change(each).identity for each in found}) == 1
    assert len({change_id(each) for each in found}) == 1
    assert streamed_change(of_record(row | {"name": "y"}, row)).identity != streamed_change(found[0]).identity
