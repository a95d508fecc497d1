"""Whatever the batches, the interleaving of partitions, the repeats and the restarts: the same end, told once."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.events.record import Partition, SourceRecord
from consumer.guard.history import Histories
from consumer.guard.search import Coverage
from consumer.mapping.reference import reference
from consumer.pipeline.loop import Pipeline
from consumer.settings.sections import Guard, Redis
from consumer.sink.redis_sink import RedisSink
from consumer.source.recording import RecordedSource
from tests.support.redis_view import Listener
from tests.support.scenario import Change, load_all

USERS = (1, 2)
TITLES = {each.title: each for each in load_all()}
UPDATE = next(each for title, each in TITLES.items() if title.startswith("A deposit")).changes[0]
TRANSACTION = TITLES["The transaction's row alone"].changes[0]

# One step of a history: which user, which column, how many row changes in the database transaction, with a ledger row?
steps = st.lists(
    st.tuples(
        st.sampled_from(USERS),
        st.sampled_from(["wallet_balance", "group", "leverage", "sending_orders"]),
        st.integers(1, 3),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def history(plan: list[tuple[int, str, int, bool]]) -> tuple[list[SourceRecord], dict[int, dict[str, object]]]:
    """Records of two topics in commit order, and each user's last row."""
    assert UPDATE.after is not None
    rows: dict[int, dict[str, object]] = {user: {**UPDATE.after, "id": user} for user in USERS}
    records: list[SourceRecord] = []

    def emit(change: Change, transaction: int) -> None:
        records.append(change.record(len(records), transaction))

    for user in USERS:
        emit(Change("insert", "live_users", user, UPDATE.time, None, dict(rows[user])), 10_000 + user)
    for transaction, (user, column, times, with_ledger) in enumerate(plan):
        for turn in range(times):
            values: dict[str, list[object]] = {
                "wallet_balance": ["1.000000", "2.000000", "0.000000"],
                "group": ["VIP", "Standard", ""],
                "leverage": [0, 100, 50],
                "sending_orders": [None, "rock", "barclays"],
            }
            before = dict(rows[user])
            rows[user][column] = values[column][(transaction + turn) % 3]
            emit(Change("update", "live_users", user, UPDATE.time, before, dict(rows[user])), transaction)
        if with_ledger:
            assert TRANSACTION.after is not None
            row = {**TRANSACTION.after, "id": transaction, "user_id": user, "transaction_id": f"TXN{transaction}"}
            emit(Change("insert", "user_transactions", transaction, UPDATE.time, None, row), transaction)
    return records, rows


def sent_again(records: list[SourceRecord], crash: int, count: int) -> list[SourceRecord]:
    """What lies in Kafka after Connect was killed and wrote the last ``count`` records before ``crash`` again."""
    again = [structs.replace(each, timestamp_ms=each.timestamp_ms + 60_000) for each in records]
    return [*records[:crash], *again[max(0, crash - count) : crash], *again[crash:]]


def _run(batch: list[SourceRecord], sink: RedisSink, sent: Histories) -> None:
    source = RecordedSource(batch, step=100)
    Pipeline(sink, reference(), history=sent).run(source, lambda: source.is_at_end)


class Earlier:
    """The records of the topics: a history forgets a partition that starts, and searches there."""

    def __init__(self, partitions: Mapping[str, Sequence[SourceRecord]]) -> None:
        self._partitions = partitions

    def offset_at(self, partition: Partition, since_ms: int) -> int:
        records = self._partitions[partition.topic]
        return next((each.offset for each in records if each.timestamp_ms >= since_ms), len(records))

    def changes(self, partition: Partition, begin: int, end: int) -> Iterator[tuple[Sequence[ChangeEvent], int]]:
        found = map(parse, self._partitions[partition.topic][begin:end])
        yield [each for each in found if isinstance(each, ChangeEvent)], end

    def coverage(self, partition: Partition) -> Coverage:
        return Coverage(0, 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=steps, data=st.data())
def test_the_end_is_the_same(client: redis.Redis, plan: list[tuple[int, str, int, bool]], data: st.DataObject) -> None:
    client.flushall()
    url = f"redis://127.0.0.1:{client.get_connection_kwargs()['port']}/0"
    sink = RedisSink(Redis.model_validate({"url": url, "tracking": False}), Guard(), reference())
    records, rows = history(plan)
    partitions: dict[str, list[SourceRecord]] = defaultdict(list)
    for record in sent_again(records, data.draw(st.integers(0, len(records))), data.draw(st.integers(0, 6))):
        lies = partitions[record.topic]
        lies.append(structs.replace(record, offset=len(lies)))
    at = dict.fromkeys(partitions, 0)
    rewinds, sent = 3, Histories(Earlier(partitions), 5000)
    with closing(Listener(client)) as listener:
        while any(at[topic] < len(partitions[topic]) for topic in partitions):
            batch: list[SourceRecord] = []
            for topic in data.draw(st.permutations(sorted(partitions))):
                size = data.draw(st.sampled_from([4, 3, 2, 1, 0]))
                batch += partitions[topic][at[topic] : at[topic] + size]
                at[topic] += size
            _run(batch, sink, sent)
            if rewinds and data.draw(st.booleans()):
                rewinds -= 1
                back = data.draw(st.sampled_from(sorted(partitions)))
                at[back] = data.draw(st.integers(0, min(at[back], len(partitions[back]))))
        told = [(channel, message["event_id"]) for channel, message in listener.heard()]
    assert len(told) == len(set(told))
    assert len(told) >= len(USERS)
    for user, row in rows.items():
        found = client.hgetall(f"user:{{live:{user}}}:config")
        assert Decimal(str(found["wallet_balance"])) == Decimal(str(row["wallet_balance"]))
        assert client.get(f"user_balance:live:{user}") == found["wallet_balance"]
        assert found["group"] == row["group"]
        assert found["leverage"] == str(row["leverage"])
        assert found["sending_orders"] == (row["sending_orders"] or "rock")
        ledger = [transaction for transaction, step in enumerate(plan) if step[0] == user and step[3]]
        assert found.get("last_transaction_id") == (f"TXN{ledger[-1]}" if ledger else None), json.dumps(found)
    sink.close()
