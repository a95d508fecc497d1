"""The parts of the fault suite that need no server: the seed repeats all of it, and the judge sees every wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from random import Random

import pytest

from consumer.mapping.reference import reference
from demo.dump import Dump
from demo.expectation import Expected
from tests.chaos import judge
from tests.chaos.ear import Heard
from tests.chaos.kinds import FAULTS
from tests.chaos.schedule import draw
from tests.chaos.script import DELETED, GENERAL, MONEY, Script, Step, Told, change
from tests.support.stack.gate import Gate

FIRST, SECOND = change(wallet_balance="1.25"), change(wallet_balance="2.25")
EXPECTED = {("live:1", GENERAL): [FIRST, SECOND, DELETED], ("live:1", MONEY): [FIRST, SECOND]}


def messages(general: list[str], money: list[str]) -> list[Heard]:
    """What was heard of live:1, each change with its own event id."""
    by_channel = {GENERAL: general, MONEY: money}
    return [
        Heard(Told("live:1", channel, token), f"{token} {tokens[:at].count(token)}")
        for channel, tokens in by_channel.items()
        for at, token in enumerate(tokens)
    ]


def test_the_judge_is_content_with_what_should_be() -> None:
    assert judge.of_messages(EXPECTED, messages([FIRST, SECOND, DELETED], [FIRST, SECOND])) == []


@pytest.mark.parametrize(
    ("general", "money", "said"),
    [
        ([FIRST, DELETED], [FIRST, SECOND], f"lost: {SECOND}, to live:1 on {GENERAL}"),
        ([FIRST, SECOND, DELETED], [FIRST, SECOND, SECOND], f"doubled: {SECOND}, to live:1 on {MONEY}"),
        ([SECOND, FIRST, DELETED], [FIRST, SECOND], f"stale: {SECOND} came where {FIRST} should have come"),
        ([FIRST, DELETED, SECOND], [FIRST, SECOND], f"stale: {DELETED} came where {SECOND} should have come"),
        ([FIRST, SECOND, DELETED], [FIRST, SECOND, "change x=1"], "never meant: change x=1"),
    ],
    ids=["lost", "doubled", "out of order", "after the delete", "of nowhere"],
)
def test_the_judge_sees_messages_that_are_wrong(general: list[str], money: list[str], said: str) -> None:
    (problem,) = judge.of_messages(EXPECTED, messages(general, money))
    assert problem.startswith(said)


def test_only_messages_that_were_expected_count_as_lost_to_a_fault() -> None:
    heard = messages([SECOND, DELETED], [FIRST, SECOND])
    excused = [Told("live:1", GENERAL, token) for token in (FIRST, SECOND, change())]
    assert judge.excused_losses(EXPECTED, heard, excused) == 1


def test_a_healing_change_tells_the_last_change_that_is_in_it() -> None:
    whole = change(wallet_balance="2.25", group="A", leverage="9")
    heard = [Heard(Told("live:1", channel, whole), "heals", is_whole=True) for channel in (GENERAL, MONEY, "more")]
    expected = {("live:1", GENERAL): [SECOND, change(leverage="9")], ("live:1", MONEY): [SECOND]}
    excused = [Told("live:1", GENERAL, SECOND)]
    assert judge.of_messages(expected, heard, excused) == []
    assert judge.of_messages(expected, [each for each in heard if each.told.channel != GENERAL], excused) == [
        f"lost: {change(leverage='9')}, to live:1 on {GENERAL}"
    ]


def test_the_judge_sees_one_event_twice_whatever_it_tells() -> None:
    heard = [Heard(Told("live:1", MONEY, token), "the same id") for token in (FIRST, SECOND)]
    assert judge.of_messages({("live:1", MONEY): [FIRST, SECOND]}, heard) == [
        f"doubled: the same id was heard 2 times on {MONEY}, at 0.0 and 0.0"
    ]


def test_only_what_is_excused_may_be_missing() -> None:
    heard = messages([FIRST, DELETED], [FIRST])
    excused = {Told("live:1", channel, SECOND) for channel in (GENERAL, MONEY)}
    assert judge.of_messages(EXPECTED, heard, excused) == []
    assert len(judge.of_messages(EXPECTED, heard, {Told("live:1", GENERAL, SECOND)})) == 1


def test_the_judge_sees_a_wrong_field_a_missing_key_and_a_key_too_many() -> None:
    row = {"id": "1", "user_type": "live", "wallet_balance": "1.25"}
    key, balance = "user:{live:1}:config", "user_balance:live:1"
    right = {key: row, balance: "1.25"}
    expiries = {balance: 3600, "user_balance:live:2": 3600}

    def problems(**values: object) -> list[str]:
        return judge.of_state(Expected({"live:1": row}, ("live:2",)), Dump(right | values, expiries), reference())

    assert problems() == []
    assert problems(**{key: row | {"wallet_balance": "1.00"}})
    assert problems(**{balance: "1.00"})
    assert problems(**{"user_balance:live:2": "5.00"})
    assert problems(**{"user_balance:live:3": "5.00"})
    assert problems(**{"user:{live:1}:portfolio": {"wallet_balance": "1.00"}})


def test_a_seed_repeats_every_change_and_every_fault() -> None:
    assert _steps("one") == _steps("one")
    assert _steps("one") != _steps("another")
    assert draw("one", FAULTS, 100, seconds=60) == draw("one", FAULTS, 100, seconds=60)
    assert draw("one", FAULTS, 100, seconds=60) != draw("another", FAULTS, 100, seconds=60)


def _steps(seed: str) -> list[Step]:
    script = Script(Random(seed))  # noqa: S311  # chance, not secrets
    return [*script.opening(), *(script.next() for _ in range(500))]


def test_every_kind_of_fault_is_in_a_schedule_and_none_meets_another_of_its_subject() -> None:
    schedule = draw("all", FAULTS, 100, count=len(FAULTS))
    assert {each.name for each in schedule.faults} == FAULTS.keys()
    under_way: set[str] = set()
    for step, is_begin, planned in schedule.moments():
        assert step <= schedule.steps
        subject = FAULTS[planned.name].subject
        assert (subject in under_way) != is_begin
        under_way ^= {subject}
    assert not under_way


def test_users_come_back_but_not_those_with_a_ledger() -> None:
    steps = [step for step in _steps("lives") if step.writes[0].kind in ("insert", "delete")]
    lives: dict[tuple[str, int | None], int] = {}
    for write in (step.writes[0] for step in steps if step.writes[0].kind == "insert"):
        lives[write.table, write.row_id] = lives.get((write.table, write.row_id), 0) + 1
    back = [row_id for (_, row_id), count in lives.items() if count > 1]
    assert back
    assert all(row_id is not None and row_id % 3 for row_id in back)


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that says everything it hears back."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _echo(server: socket.socket) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client:
            try:
                while data := client.recv(1000):
                    client.sendall(data)
            except ConnectionError:
                continue


def test_a_shut_gate_breaks_and_refuses_connections(echo: int) -> None:
    gate = Gate("127.0.0.1", echo)
    with socket.create_connection(("127.0.0.1", gate.port)) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
        assert len(gate.shut()) == 1
        assert _is_over(client)
    with socket.create_connection(("127.0.0.1", gate.port)) as client:
        assert _is_over(client)
    gate.open()
    with socket.create_connection(("127.0.0.1", gate.port)) as client:
        client.sendall(b"again")
        assert client.recv(100) == b"again"
    gate.close()


def test_a_reply_is_cut_in_the_middle(echo: int) -> None:
    gate = Gate("127.0.0.1", echo)
    gate.cut_replies(1)
    with socket.create_connection(("127.0.0.1", gate.port)) as client:
        client.sendall(b"12345678")
        received = b""
        while not received.startswith(b"1234"):
            received += client.recv(100)
        assert received == b"1234"
        assert _is_over(client)
    gate.close()


def test_connections_are_reset_in_the_middle_of_an_answer_or_a_request(echo: int) -> None:
    gate = Gate("127.0.0.1", echo)
    address = ("127.0.0.1", gate.port)
    with socket.create_connection(address) as old:
        old.sendall(b"1234")
        assert old.recv(4) == b"1234"
        counts = iter([3, 10, 5])
        gate.break_after(lambda: next(counts))
        old.sendall(b"12345678")
        assert _received_until_the_reset(old) == b""  # three bytes of the request arrived
    for received in (b"12", b""):
        with socket.create_connection(address) as new:
            new.sendall(b"12345678")
            assert _received_until_the_reset(new) == received
    assert gate.broken == 3
    gate.break_after(None)
    with socket.create_connection(address) as last:
        last.sendall(b"12345678")
        assert last.recv(8, socket.MSG_WAITALL) == b"12345678"
    assert gate.broken == 3
    gate.close()


def test_a_connection_that_breaks_ends_at_the_server_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gate = Gate("127.0.0.1", server.getsockname()[1])
        gate.break_after(lambda: 3)
        with socket.create_connection(("127.0.0.1", gate.port)) as client:
            inner, _ = server.accept()
            with inner:
                client.sendall(b"12345678")
                assert _received_until_the_reset(inner) == b"123"
        gate.close()


def test_a_connection_breaks_while_the_client_does_not_read() -> None:
    """As a consumer that is frozen: its buffers are full, and the gate waits to pass on more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        gate = Gate("127.0.0.1", server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", gate.port)) as client:
            inner, _ = server.accept()
            with inner:
                inner.settimeout(0.5)
                with pytest.raises(TimeoutError):
                    inner.sendall(bytes(100_000_000))
                gate.break_after(lambda: 1)
                client.sendall(b"1")
                assert _received_until_the_reset(inner) == b"1"
                _received_until_the_reset(client)
        gate.close()


def _received_until_the_reset(end: socket.socket) -> bytes:
    end.settimeout(5)
    received = b""
    try:
        while data := end.recv(65536):
            received += data
    except ConnectionResetError:
        return received
    pytest.fail("the connection ended without a reset")


def test_a_gate_leads_to_another_server(echo: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        gate = Gate("127.0.0.1", first.getsockname()[1])
        with socket.create_connection(("127.0.0.1", gate.port)) as client:
            inner, _ = first.accept()
            gate.lead_to("127.0.0.1", echo)
            assert _is_over(client)
            inner.close()
        with socket.create_connection(("127.0.0.1", gate.port)) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
        gate.close()


def _is_over(client: socket.socket) -> bool:
    client.settimeout(5)
    try:
        return client.recv(100) == b""
    except ConnectionError:
        return True


def test_an_event_that_may_be_told_again_counts_once_if_the_partitions_were_assigned_in_between() -> None:
    told = Told("live:1", "user_updates", change(group="G1001"))
    first, again = (Heard(told, "e1", at=at) for at in (100.0, 110.0))
    other = Heard(Told("live:1", "user_updates", change(group="G1002")), "e2", at=101.0)
    heard = [first, other, again]
    assert judge.without_repeats(heard, {"e1"}, [10.0, 105.0]) == [other, again]
    assert judge.without_repeats(heard, {"e1"}, [10.0, 98.0]) == [other, again]  # it was heard late
    assert judge.without_repeats(heard, {"e1"}, [10.0, 111.0]) == heard
    assert judge.without_repeats(heard, (), [105.0]) == heard


def test_an_event_that_may_be_told_again_counts_once_if_its_answer_was_cut() -> None:
    told = Told("live:1", "user_updates", change(group="G1001"))
    heard = [first, again] = [Heard(told, "e1", at=at) for at in (100.0, 110.0)]
    assert judge.without_repeats(heard, {"e1"}, [], [50.0, 101.5]) == [again]
    assert judge.without_repeats(heard, {"e1"}, [], [103.0]) == [first, again]
    assert judge.without_repeats(heard, (), [], [101.5]) == [first, again]
