"""Plans of a mapping with streams: the same effects, and an entry for each message."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from msgspec import structs

from consumer.events.event import ChangeEvent
from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.mapping.streams import Streams
from consumer.planning import decision
from consumer.planning.decision import decide
from consumer.planning.effect import Plan, Publish
from consumer.planning.message import event_id_of
from consumer.planning.plan_text import plan_text
from consumer.planning.saved_decision import SavedPublish, saved
from consumer.planning.usual_update import usual_update
from consumer.settings.sections import Guard
from consumer.sink.call import Calls, PlanPart
from consumer.sink.cluster.plan_slots import by_slot, only_messages
from consumer.sink.streams import additions
from tests.support.scenario import load_all
from tests.unit.planning.test_shape import words_of

RULES = reference()
STREAMED = replace(RULES, streams=Streams(maxlen_of={"group_updates": 50}))
RECORDS = [change.record(at) for scenario in load_all() for at, change in enumerate(scenario.changes)]
PAIRS = [
    (without, streamed)
    for record in RECORDS
    if (without := decide(record, RULES).plan) is not None
    if (streamed := decide(record, STREAMED).plan) is not None
]
PLANS = [streamed for _, streamed in PAIRS]


def as_published(plan: Plan) -> Plan:
    return plan.publishing([Publish(each.channel, each.body) for each in plan.messages])


def seen(plan: Plan) -> tuple[object, ...]:
    return tuple(structs.astuple(each) if isinstance(each, msgspec.Struct) else each for each in structs.astuple(plan))


def test_every_message_has_the_stream_of_its_channel_and_nothing_else_differs() -> None:
    assert sum(plan.shape.has_streams for plan in PLANS) > 10
    for without, plan in PAIRS:
        assert plan.shape.has_streams == bool(plan.messages)
        for each in plan.messages:
            maxlen = 50 if each.channel == "group_updates" else 100_000
            assert (each.stream, each.maxlen) == (f"cdc:stream:{each.channel}", maxlen)
        assert [(each.channel, each.body) for each in plan.messages] == [
            (each.channel, each.body) for each in without.messages
        ]
        assert seen(as_published(plan)) == seen(as_published(without))


def test_both_ways_to_decide_add_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    short = [decide(record, STREAMED).plan for record in RECORDS]
    taken = []

    def not_taken(event: ChangeEvent, record: SourceRecord, rules: Rules) -> None:
        taken.append(usual_update(event, record, rules) is not None)

    monkeypatch.setattr(decision, "usual_update", not_taken)
    for record, one in zip(RECORDS, short, strict=True):
        other = decide(record, STREAMED).plan
        assert (one and one.shape) is (other and other.shape)
        assert (one and one.messages) == (other and other.messages)
    assert sum(taken) > 5


def test_the_call_names_the_streams_before_what_is_cleared() -> None:
    for _, plan in PAIRS:
        number, *words = words_of(Calls(Guard()).of(plan, ["derived:1"]))
        keys, arguments = words[: int(number)], words[int(number) :]
        shape = msgspec.json.decode(arguments[0])
        if not plan.shape.has_streams:
            assert "streams" not in shape
            continue
        named = shape["streams"]
        assert [keys[at - 1] for at in named[::2]] == [each.stream for each in plan.messages]
        assert named[1::2] == [str(each.maxlen) for each in plan.messages]
        value = arguments[2:]  # the first value is number 1, behind the version and the condition
        assert [value[at] for at in shape["messages"][1::2]] == [each.body for each in plan.messages]
        assert value[shape["event_id"]] == event_id_of(plan.bodies[0])
        assert value[shape["event_id"] + 1] == str(plan.user)
        gone = plan.removed.keys if plan.removed else ()
        assert keys[max(named[::2]) :] == [*gone, *plan.cleared.keys, "derived:1"]


def test_a_call_without_streams_is_as_it_was() -> None:
    for without, plan in PAIRS:
        one, other = (words_of(Calls(Guard()).of(as_published(each))) for each in (without, plan))
        assert one == other
        one = words_of(Calls(Guard()).of(without))
        assert not {"streams", "event_id"} & msgspec.json.decode(one[1 + int(one[0])]).keys()


def test_a_plan_that_was_applied_before_publishes_nothing_and_keeps_its_entries() -> None:
    for without, plan in PAIRS:
        assert without.repeated().messages == ()
        again = plan.repeated()
        assert again.is_repeated
        assert [each.stream for each in again.messages] == [each.stream for each in plan.messages]
        assert not any(each.is_published for each in again.messages)
        number, *words = words_of(Calls(Guard()).of(again))
        assert set(msgspec.json.decode(words[int(number)])["messages"][::2]) <= {""}


def test_on_a_cluster_the_entries_are_a_step_of_their_own() -> None:
    for _, plan in PAIRS:
        parts = by_slot(plan, ())
        assert parts.has_streams == plan.shape.has_streams
        assert not (parts.is_whole and plan.messages)
        assert parts.in_version_slot.messages == ()
        sent = only_messages(plan)
        assert not sent.shape.has_streams
        assert [each.channel for each in sent.messages] == [each.channel for each in plan.messages]
        number, *words = words_of(Calls(Guard()).of(sent, part=PlanPart.MESSAGES))
        assert words[: int(number)] == [plan.guard]
        assert only_messages(plan.repeated()).messages == ()


def test_the_commands_that_add_on_a_cluster() -> None:
    plan = next(each for each in PLANS if len(each.messages) == 4)
    for (key, command), message in zip(additions(plan), plan.messages, strict=True):
        assert key == message.stream == command[1]
        fields = "event_id", event_id_of(message.body), "user", "live:123", "message", message.body
        assert command == ("XADD", message.stream, "MAXLEN", "~", str(message.maxlen), "*", *fields)


def test_a_plan_shows_its_entries() -> None:
    plan = next(each for each in PLANS if len(each.messages) == 4)
    lines = [line.strip() for line in plan_text(plan).splitlines()]
    assert "add to    cdc:stream:group_updates  the same message, MAXLEN ~ 50" in lines
    assert sum(line.startswith("add to") for line in lines) == 4
    record = next(each for each in RECORDS if (found := decide(each, STREAMED).plan) and seen(found) == seen(plan))
    effects = [each for each in saved(record, decide(record, STREAMED)).effects if isinstance(each, SavedPublish)]
    assert {each.stream for each in effects} == set(STREAMED.stream_keys())
    without = msgspec.json.encode(saved(record, decide(record, RULES)))
    assert b'"stream"' not in without


@pytest.mark.parametrize("name", ['live_users:7:größe/\\"x\\"', "", "a"])
def test_the_event_id_of_a_message(name: str) -> None:
    assert event_id_of(f'{{"event_id":"{name}","user_id":7}}') == name.replace('\\"', '"')
