"""Offsets that are not there: never a silent jump."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.errors import ConfigError, ServerError, ServerUnavailable
from consumer.observability.metrics import Metrics
from tests.e2e.feed import deposit
from tests.e2e.process import Process, command
from tests.e2e.topic import EITHER_CLIENT, Topic
from tests.support.redis_view import eventually, offset_keys
from tests.support.stack import Stack

pytestmark = pytest.mark.stack


def _deleted(topic: Topic) -> None:
    """Ten records; the group is at 3, and all before 7 are deleted."""
    topic.make()
    topic.send(10)
    topic.commit(3)
    topic.delete_before(7)


def _anew(topic: Topic) -> None:
    """The group has read ten records of a topic that was made anew and has two now."""
    topic.make()
    topic.send(10)
    topic.delete()
    topic.make()
    topic.send(2)
    topic.commit(10)


CASES = pytest.mark.parametrize(
    ("arrange", "wanted", "left"), [(_deleted, 3, [7, 8, 9]), (_anew, 10, [0, 1])], ids=["deleted", "anew"]
)


@EITHER_CLIENT
@CASES
def test_an_offset_out_of_range_halts(
    topic: Topic, arrange: Callable[[Topic], None], wanted: int, left: list[int]
) -> None:
    arrange(topic)
    with topic.member() as member:
        for _ in range(2):  # it stays so
            with pytest.raises(ServerError, match=rf"out of range: {topic.name}\[0\]@{wanted}$") as halt:
                eventually(member.poll)
            assert not isinstance(halt.value, ServerUnavailable)
            assert "CDC_KAFKA__OUT_OF_RANGE" in halt.value.advice
        assert member.offsets == []
    assert topic.committed() == wanted


@EITHER_CLIENT
@CASES
def test_or_goes_on_from_the_earliest_and_says_so(
    topic: Topic,
    arrange: Callable[[Topic], None],
    wanted: int,
    left: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    arrange(topic)
    metrics = Metrics()
    with topic.member(metrics, out_of_range="earliest") as member:
        member.read(left)
        assert member.source.commit({topic.part: left[-1] + 1})
        assert member.revoked == [topic.part], "what was known of the partition is forgotten"
    assert topic.committed() == left[-1] + 1
    labels = {"topic": topic.name, "partition": "0"}
    assert metrics.registry.get_sample_value("cdc_offset_jumps_total", labels) == 1
    (said,) = (line for line in capsys.readouterr().out.splitlines() if "offset.jumped" in line)
    for part in (f"goes_on_at={left[0]}", "partition=0", f"wanted={wanted}"):
        assert part in said


@EITHER_CLIENT
def test_the_program_ends_with_1_and_one_sentence(topic: Topic, stack: Stack, tmp_path: Path) -> None:
    _deleted(topic)
    process = Process(topic.environment() | {"CDC_REDIS__URL": stack.redis.url}, tmp_path / "log")
    assert process.wait(30) == 1
    *_, sentence, advice = process.said().splitlines()
    assert f"{topic.name}[0]@3" in sentence
    assert "rebuild Redis" in advice
    assert "Traceback" not in process.said()


@pytest.mark.parametrize(("out_of_range", "committed"), [("earliest", 3), ("halt", 7)])
def test_what_redis_remembers_of_a_deleted_past_is_no_place_to_go_back_to(
    topic: Topic, stack: Stack, tmp_path: Path, out_of_range: str, committed: int
) -> None:
    """With ``halt`` the operator has reset the group's offset, as the advice says."""
    _deleted(topic)
    topic.commit(committed)
    environment = topic.environment() | {"CDC_REDIS__URL": stack.redis.url, "CDC_KAFKA__OUT_OF_RANGE": out_of_range}
    with stack.redis.connect() as client:
        remembered = offset_keys(client, environment["CDC_KAFKA__GROUP_ID"])
        for key in remembered:
            client.hset(key, f"{topic.name}:0", 3)
        process = Process(environment, tmp_path / "log")
        try:
            eventually(lambda: topic.committed() == 10, 60, "it does not get on")
        finally:
            process.close()
        assert {client.hget(key, f"{topic.name}:0") for key in remembered} == {"10"}
    said = process.said()
    assert said.count("redis.unreachable") == 1
    assert said.count("offset.jumped") == (1 if out_of_range == "earliest" else 0)


@EITHER_CLIENT
def test_a_group_without_offsets_begins_at_the_oldest_record(topic: Topic) -> None:
    topic.make()
    topic.send(5)
    topic.delete_before(2)
    with topic.member() as member:
        member.read([2, 3, 4])
        assert member.revoked == []


def test_a_codec_that_is_not_installed_halts_and_never_hangs(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own mistake: after this error the next poll turned around the same records for ever."""
    topic.make()
    topic.send(2)
    topic.send(1, compression="zstd")
    # The package is there, as the tests need it; that it is not can't be had otherwise.
    monkeypatch.setattr("kafka.codec.has_zstd", lambda: False)
    with topic.member() as member:
        for _ in range(2):
            with pytest.raises(ConfigError, match="UnsupportedCodecError") as halt:
                eventually(member.poll)
            assert "pip install '.[codecs]'" in halt.value.fix
        assert member.offsets == [0, 1]
        assert member.source.commit({topic.part: 2})
        monkeypatch.undo()
        member.read([0, 1, 2])


def test_a_codec_that_is_not_installed_ends_the_program_with_2(topic: Topic, stack: Stack, tmp_path: Path) -> None:
    """As every missing package; what came before the record is done."""
    topic.make()
    with topic.producer() as producer:
        for record in (deposit(1, 0), deposit(2, 1)):
            producer.send(topic.name, key=record.key, value=record.value).get(10)
    topic.send(1, compression="zstd")
    (tmp_path / "sitecustomize.py").write_text("import kafka.codec\nkafka.codec.has_zstd = lambda: False\n")
    environment = topic.environment() | {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}",
        "CDC_REDIS__URL": stack.redis.url,
        "CDC_SOURCE__DATABASE": "trading",
    }
    process = Process(environment, tmp_path / "log")
    try:
        assert process.wait(60) == 2, process.said()
    finally:
        process.close()
    ran = command(environment, "replay", "--rebuild")
    assert ran.returncode == 2, ran.stderr
    for said in (process.said(), ran.stderr):
        (sentence,) = (line for line in said.splitlines() if line.startswith("cdc-consumer: "))
        assert "UnsupportedCodecError" in sentence
        assert "pip install '.[codecs]'" in sentence
        assert "Traceback" not in said
    assert topic.committed() == 2


@EITHER_CLIENT
def test_a_record_larger_than_a_fetch_is_read(topic: Topic) -> None:
    topic.make()
    with topic.producer() as producer:
        producer.send(topic.name, b"x" * 5000).get(10)
    topic.send(3)
    with topic.member(fetch_max_bytes=2048, max_partition_fetch_bytes=1024) as member:
        member.read([0, 1, 2, 3])
