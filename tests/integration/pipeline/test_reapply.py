"""Dead letters through the pipeline again, on a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest
import redis
from msgspec import structs
from pydantic import SecretStr

from consumer.commands.shared.dead_letters.reapply import LOST, OF_OLD_TOPIC, LetterHistory, predicted, reapply
from consumer.errors import ServerError, ServerUnavailable
from consumer.events.avro import NO_SCHEMAS
from consumer.events.record import SourceRecord
from consumer.guard.history import NO_HISTORY, History
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.pipeline.letter_state import LetterStates, Outcome, Unapplied
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.settings.sections import Redis
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from consumer.source.recording import RecordedSource
from tests.integration.pipeline.test_convergence import Earlier
from tests.integration.pipeline.test_dead_letters import CONFIG, SCENARIOS, Kept, record, run
from tests.integration.pipeline.test_pipeline import FailingSink
from tests.support.redis_view import Listener, dump

GUARD = "cdc:{live:123}"
AFTER = "2035-01-01T00:00:00Z"
RULES = reference()


class InterruptedSink(RedisSink):
    """A sink that calls ``then`` once, after its first answers."""

    def __init__(self, inner: RedisSink, then: Callable[[], object]) -> None:
        self.__dict__.update(inner.__dict__)
        self._then = [then]

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        yield from super().apply(plans)
        while self._then:
            self._then.pop()()


def of_new_topic(beginning: str) -> SourceRecord:
    """A record at offset 5 with later times than every other one."""
    (change,) = SCENARIOS[next(title for title in SCENARIOS if title.startswith(beginning))].changes
    return replace(change, time=AFTER).record(5)


def followed(sink: RedisSink, *records: SourceRecord) -> list[Unapplied]:
    """What `run` left after these records."""
    kept = Kept()
    run(RecordedSource(records), sink, kept)
    box = LetterStates("g")
    for at, letter in enumerate(kept.letters):
        found = letter.record
        box.add(SourceRecord("dlq", 0, at, at, found.key, found.value, tuple(letter.headers())))
    return box.open()


def view_of(client: redis.Redis) -> RedisView:
    at = client.get_connection_kwargs()
    return RedisView(Redis(url=SecretStr(f"redis://{at['host']}:{at['port']}/{at.get('db') or 0}")))


def outcomes(
    found: Sequence[Unapplied],
    sink: RedisSink,
    client: redis.Redis,
    rules: Rules = RULES,
    history: History = NO_HISTORY,
    *,
    is_silent: bool = False,
) -> list[Outcome]:
    """What became of them, which a dry run before foresaw, and touched nothing."""
    before = dump(client)
    with closing(view_of(client)) as view:
        expected = [each.outcome for each in predicted(found, view, rules, NO_SCHEMAS, history)]
    assert dump(client) == before
    became = [each.outcome for each in reapply(found, sink, rules, NO_SCHEMAS, history, is_silent=is_silent)]
    assert became == expected
    return became


def refused(sink: RedisSink, client: redis.Redis, *records: SourceRecord) -> list[Unapplied]:
    """Letters of records that met a key of another type, which is gone now."""
    client.set(CONFIG, "no hash")
    found = followed(sink, *records)
    client.delete(CONFIG)
    return found


def test_once_the_cause_is_gone_it_is_applied_whole_and_told_and_a_second_time_does_nothing(
    sink: RedisSink, client: redis.Redis
) -> None:
    found = refused(sink, client, record("The group", 0))
    client.hset(CONFIG, mapping={"wallet_balance": "old", "extra": "kept"})
    listener = Listener(client)
    assert outcomes(found, sink, client) == [Outcome.APPLIED]
    assert client.hget(CONFIG, "wallet_balance") != "old", "the mark asks for everything"
    assert client.hget(CONFIG, "extra") == "kept"
    assert client.hget(GUARD, "!live_users") is None
    assert "group_updates" in [channel for channel, _ in listener.heard()]
    told, before = len(listener.heard()), dump(client)
    assert outcomes(found, sink, client) == [Outcome.REPEATED]
    assert (len(listener.heard()), dump(client)) == (told, before)
    listener.close()


def test_without_messages(sink: RedisSink, client: redis.Redis) -> None:
    found = refused(sink, client, record("The group", 0))
    listener = Listener(client)
    assert outcomes(found, sink, client, is_silent=True) == [Outcome.APPLIED]
    assert client.hget(CONFIG, "group") is not None
    assert listener.heard() == []
    listener.close()


def test_an_old_one_never_moves_redis_back(sink: RedisSink, client: redis.Redis) -> None:
    found = refused(sink, client, record("The group", 0))
    followed(sink, record("A deposit", 1))
    before = dump(client)
    assert outcomes(found, sink, client) == [Outcome.SUPERSEDED]
    assert dump(client) == before


def readable(found: Unapplied, good: SourceRecord) -> Unapplied:
    """The letter, as if its record could be read now."""
    (letter,) = found.letters
    return Unapplied((replace(letter, record=good),))


def test_a_copy_that_debezium_sent_again_is_not_applied_after_newer_changes(
    sink: RedisSink, client: redis.Redis
) -> None:
    """`run` would refuse it: its first record is in the topic, and was applied."""
    first, later = record("A deposit", 0), record("The group", 1)
    copy = structs.replace(record("A deposit", 0), offset=2, timestamp_ms=first.timestamp_ms + 60_000)
    (lost,) = followed(sink, first, later, structs.replace(copy, value=b"no JSON"))
    letter = readable(lost, copy)
    history = LetterHistory(Earlier({first.topic: [first, later, copy]}), 5000, {first.topic: 1})
    listener, before = Listener(client), dump(client)
    assert outcomes([letter], sink, client, history=history) == [Outcome.NOTHING]
    assert (listener.heard(), dump(client)) == ([], before)
    (result,) = reapply([letter], sink, RULES, NO_SCHEMAS, history)
    assert result.why == "sent before, at offset 0: Debezium sends it again"
    listener.close()


def test_a_letter_says_nothing_about_the_next_one(sink: RedisSink, client: redis.Redis) -> None:
    """Between the two letters lies the first record of the second one's change."""
    first, later = record("A deposit", 0), record("The group", 1)
    copy = structs.replace(later, offset=2, timestamp_ms=later.timestamp_ms + 60_000)
    lost, lost_copy = followed(
        sink, structs.replace(first, value=b"no JSON"), later, structs.replace(copy, value=b"no JSON")
    )
    history = LetterHistory(Earlier({first.topic: [first, later, copy]}), 5000, {first.topic: 1})
    letters = [readable(lost, first), readable(lost_copy, copy)]
    assert outcomes(letters, sink, client, history=history) == [Outcome.SUPERSEDED, Outcome.NOTHING]


def test_of_a_topic_that_is_gone_nothing_was_sent_before(sink: RedisSink, client: redis.Redis) -> None:
    found = refused(sink, client, record("A deposit", 0))
    assert outcomes(found, sink, client, history=LetterHistory(Earlier({}), 5000, {})) == [Outcome.APPLIED]


@pytest.mark.parametrize("kind", ["A deposit", "An incremental snapshot read"])
def test_a_letter_from_before_its_topic_was_created_again_overwrites_nothing(
    sink: RedisSink, client: redis.Redis, kind: str
) -> None:
    """The new topic's offsets are lower. So its changes did not heal the mark, and the letter's offset says nothing."""
    found = refused(sink, client, record(kind, 48_213))
    followed(sink, of_new_topic("The group"))
    listener, before = Listener(client), dump(client)
    assert outcomes(found, sink, client) == [Outcome.STAYS]
    assert (listener.heard(), dump(client)) == ([], before)
    (result,) = reapply(found, sink, RULES, NO_SCHEMAS, NO_HISTORY)
    assert result.why == OF_OLD_TOPIC
    assert "snapshot --user live:123 --authoritative" in result.advice
    listener.close()


def test_a_change_of_the_new_topic_may_come_while_a_letter_is_applied(sink: RedisSink, client: redis.Redis) -> None:
    """Between the plan that met the mark, and the one that writes the whole row."""
    found = refused(sink, client, record("A deposit", 48_213))
    (result,) = reapply(
        found, InterruptedSink(sink, lambda: followed(sink, of_new_topic("The group"))), RULES, NO_SCHEMAS, NO_HISTORY
    )
    assert (result.outcome, result.why) == (Outcome.STAYS, OF_OLD_TOPIC)
    assert client.hget(CONFIG, "group") == "VIP"


def test_a_letter_from_before_its_topic_was_created_again_does_not_restore_a_deleted_user(
    sink: RedisSink, client: redis.Redis
) -> None:
    found = refused(sink, client, record("A deposit", 48_213))
    followed(sink, of_new_topic("A deleted user"))
    before = dump(client)
    assert outcomes(found, sink, client) == [Outcome.SUPERSEDED]
    assert dump(client) == before


def test_several_of_one_user_are_applied_in_their_order(sink: RedisSink, client: redis.Redis) -> None:
    found = refused(sink, client, *(record("A deposit", offset) for offset in range(3)))
    assert outcomes(found, sink, client) == [Outcome.APPLIED] * 3
    assert client.hget(GUARD, "!live_users") is None
    assert str(client.hget(GUARD, "live_users")).endswith("|2")


def test_the_earlier_of_two_does_not_heal_the_later_ones_mark(sink: RedisSink, client: redis.Redis) -> None:
    first, second = refused(sink, client, record("A deposit", 0), record("The group", 1))
    assert outcomes([first], sink, client) == [Outcome.APPLIED]
    assert str(client.hget(GUARD, "!live_users")).endswith("|1")
    client.hset(CONFIG, "margin", "old")
    assert outcomes([second], sink, client) == [Outcome.APPLIED]
    assert client.hget(CONFIG, "margin") != "old"


def test_what_fails_again_stays_and_moves_no_mark(sink: RedisSink, client: redis.Redis) -> None:
    lost = structs.replace(record("A deposit", 0), value=b"no JSON")
    found = followed(sink, lost, structs.replace(record("A deposit", 1), value=b"no JSON"))
    before = dump(client)
    (first,) = reapply(found[:1], sink, RULES, NO_SCHEMAS, NO_HISTORY)
    assert (first.outcome, first.is_done) == (Outcome.STAYS, False)
    assert first.why == "7 bytes that are not JSON"
    assert dump(client) == before, "the mark is the second one's"
    assert outcomes(found, sink, client) == [Outcome.STAYS] * 2
    assert dump(client) == before


def test_redis_refuses_it_again(sink: RedisSink, client: redis.Redis) -> None:
    found = refused(sink, client, record("A deposit", 0))
    client.set(CONFIG, "no hash again")
    assert outcomes(found, sink, client) == [Outcome.STAYS]
    (result,) = reapply(found, sink, RULES, NO_SCHEMAS, NO_HISTORY)
    assert result.why == f"Redis refused the change: WRONGTYPE {CONFIG} is no hash"


def test_a_setting_that_was_the_cause(sink: RedisSink, client: redis.Redis) -> None:
    """An update without its old row image."""
    whole = record("A deposit", 0)
    bare = structs.replace(whole, value=(whole.value or b"").replace(b'"before":{', b'"before":null,"was":{'))
    found = followed(sink, bare)
    assert outcomes(found, sink, client) == [Outcome.STAYS]
    assert outcomes(found, sink, client, replace(RULES, accept_missing_before=True)) == [Outcome.APPLIED]
    assert client.hget(CONFIG, "wallet_balance") == "10000.50"


def test_where_nobody_was_marked_being_past_it_is_not_enough(sink: RedisSink, client: redis.Redis) -> None:
    """Without a readable key nobody knew whose change it was, so nothing that came since wrote what it changed."""
    good = record("A deposit", 0)
    (lost,) = followed(sink, structs.replace(good, key=None, value=b"no JSON"))
    followed(sink, record("The group", 1))
    (result,) = reapply([readable(lost, good)], sink, RULES, NO_SCHEMAS, NO_HISTORY)
    assert (result.outcome, result.why) == (Outcome.STAYS, LOST)
    assert "snapshot --user live:123 --authoritative" in result.advice


def test_a_record_from_which_nothing_follows_is_done(sink: RedisSink) -> None:
    (lost,) = followed(sink, structs.replace(record("A deposit", 0), value=b"no JSON"))
    tombstone = readable(lost, structs.replace(lost.record, value=None))
    (result,) = reapply([tombstone], sink, RULES, NO_SCHEMAS, NO_HISTORY)
    assert (result.outcome, result.is_done) == (Outcome.NOTHING, True)


def test_what_is_foreseen_says_which_key_is_in_the_way(sink: RedisSink, client: redis.Redis) -> None:
    found = refused(sink, client, record("A deposit", 0), structs.replace(record("A deposit", 1), value=b"no JSON"))
    assert outcomes(found, sink, client) == [Outcome.APPLIED, Outcome.STAYS]
    client.delete(GUARD, CONFIG)
    client.set(CONFIG, "no hash")
    with closing(view_of(client)) as view:
        first, _ = predicted(found, view, RULES, NO_SCHEMAS, NO_HISTORY)
        assert first.why == f"{CONFIG} is a key of another type"
        client.delete(CONFIG)
        client.hset(GUARD, "live_users", "junk")
        first, _ = predicted(found, view, RULES, NO_SCHEMAS, NO_HISTORY)
        assert first.why == f"the version of live_users in {GUARD} can't be read"


def test_a_dead_read_of_a_snapshot_fills(sink: RedisSink, client: redis.Redis) -> None:
    """An incremental read behind a change: the hash is missing, then nothing, then a field."""
    followed(sink, record("A deposit", 1))
    found = refused(sink, client, record("An incremental snapshot read", 2))
    client.hdel(GUARD, "!live_users")
    assert outcomes(found, sink, client) == [Outcome.APPLIED]
    assert outcomes(found, sink, client) == [Outcome.REPEATED]
    client.hdel(CONFIG, "group")
    assert outcomes(found, sink, client) == [Outcome.APPLIED]
    followed(sink, record("The group", 3))
    client.hdel(CONFIG, "group")
    assert outcomes(found, sink, client) == [Outcome.SUPERSEDED]


def test_redis_away_in_between_and_once_more(sink: RedisSink, client: redis.Redis) -> None:
    found = refused(sink, client, record("A deposit", 0))
    with pytest.raises(ServerUnavailable):
        reapply(found, FailingSink(sink, [ServerUnavailable("Redis", "away")]), RULES, NO_SCHEMAS, NO_HISTORY)
    assert outcomes(found, sink, client) == [Outcome.APPLIED]
