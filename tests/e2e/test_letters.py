"""Dead letters seen, tried again and given up, with the program as a person starts it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kafka.errors import NoError
from msgspec import structs

from consumer.errors import Undecodable
from consumer.events.record import SourceRecord
from consumer.mapping.keys import UserId
from consumer.pipeline.dead_letter import DeadLetter
from tests.e2e.feed import Feed, deposit, poison
from tests.e2e.process import CLI, command
from tests.support.redis_view import Listener, dump, eventually, offset_keys

pytestmark = pytest.mark.stack
SECRET = "hunter2"
GOOD = 5


def changed(record: SourceRecord, change: Callable[[dict[str, Any]], object]) -> SourceRecord:
    envelope = json.loads(record.value or b"")
    change(envelope)
    return structs.replace(record, value=json.dumps(envelope).encode())


def truncate(envelope: dict[str, Any]) -> None:
    envelope |= {"op": "t", "before": None, "after": None}


@dataclass(frozen=True)
class Letters:
    """Five records that could not be applied, of five kinds, at the offsets from ``GOOD`` on; nothing follows now."""

    feed: Feed

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return command({**self.feed.environment, **environment}, "dead-letters", *arguments)

    def place(self, number: int) -> str:
        return f"{self.feed.topic}[0]@{GOOD + number}"

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        ran = self.run("list", "--json", *arguments)
        assert ran.returncode == 0, ran.stderr
        return [json.loads(line) for line in ran.stdout.splitlines()]

    def numbers(self, *arguments: str) -> list[int]:
        return [each["offset"] - GOOD for each in self.listed(*arguments)]

    def replayed(self, *arguments: str, **environment: str) -> tuple[int, dict[int, str], str]:
        """The exit code, what became of each, and everything that was printed."""
        way = () if "--dry-run" in arguments else ("--yes",)
        ran = self.run("replay", "--json", *way, *arguments, **environment)
        found = [json.loads(line) for line in ran.stdout.splitlines()]
        numbers = {int(each["place"].rpartition("@")[2]) - GOOD: each["outcome"] for each in found}
        return ran.returncode, numbers, ran.stdout + ran.stderr


@pytest.fixture
def letters(feed: Feed) -> Letters:
    def number(at: int) -> SourceRecord:
        """Of user 1 for the first, with a secret in the row."""
        return deposit(at + 1, GOOD + at, password=SECRET, email=SECRET, group="VIP")

    good = [deposit(user, user - 1) for user in range(1, GOOD + 1)]
    with feed.running():
        feed.send(*good)
        eventually(lambda: feed.committed() == GOOD, 60)
        feed.redis.delete("user:{live:3}:config")
        feed.redis.set("user:{live:3}:config", "no hash")
        feed.send(
            poison(1, GOOD),
            changed(number(1), lambda envelope: envelope["after"].pop("leverage")),
            number(2),
            changed(number(3), lambda envelope: envelope.pop("before")),
            structs.replace(changed(number(4), truncate), key=None),
        )
        eventually(lambda: len(feed.letters()) == 5, 60)
    return Letters(feed)


def test_they_are_listed_and_chosen(letters: Letters) -> None:
    found = letters.listed()
    assert [(each["offset"] - GOOD, each["reason"], each["user"], each["times"]) for each in found] == [
        (0, "undecodable", "live:1", 1),
        (1, "missing_column", "live:2", 1),
        (2, "redis_wrongtype", "live:3", 1),
        (3, "unsupported", "live:4", 1),
        (4, "unsupported", None, 1),
    ]
    assert {each["table"] for each in found} == {"live_users"}
    assert letters.numbers("--reason", "unsupported") == [3, 4]
    assert letters.numbers("--user", "live:2") == [1]
    assert letters.numbers("--table", "demo_users") == []
    assert letters.numbers("--topic", letters.feed.topic) == [0, 1, 2, 3, 4]
    assert letters.numbers("--from", "2020-01-01") == [0, 1, 2, 3, 4]
    assert letters.numbers("--to", "2020-01-01T10:00") == []
    text = letters.run("list")
    assert all(letters.place(number) in text.stdout for number in range(5))
    assert f"5 of 5 in {letters.feed.dead_letters}" in text.stderr
    assert SECRET not in text.stdout + text.stderr
    other = letters.run("list", "--group-id", "another")
    assert f"5 letters of the group {letters.feed.environment['CDC_KAFKA__GROUP_ID']}" in other.stderr


def test_they_are_shown_without_secrets(letters: Letters) -> None:
    for number in range(5):
        for arguments in ((), ("--json",)):
            ran = letters.run("show", letters.place(number), *arguments)
            assert ran.returncode == 0, ran.stderr
            assert SECRET not in ran.stdout + ran.stderr
    undecodable = json.loads(letters.run("show", letters.place(0), "--json").stdout)
    assert undecodable["record"]["value"].startswith("23 bytes, sha256 ")
    assert list(undecodable["record"]["headers"]) == ["trace"]
    refused = json.loads(letters.run("show", letters.place(2), "--json").stdout)
    assert (
        refused["record"]["value"]["after"] | {"group": "VIP", "password": "***", "email": "***"}
        == (refused["record"]["value"]["after"])
    )
    assert [each["reason"] for each in refused["letters"]] == ["redis_wrongtype"]
    assert letters.run("show", f"{letters.feed.topic}[0]@0").returncode == 2
    assert letters.run("show", "nowhere").returncode == 2


def test_with_every_cause_still_there_all_stay_and_nothing_is_touched(letters: Letters) -> None:
    before = dump(letters.feed.redis)
    code, outcomes, said = letters.replayed("--all")
    assert (code, outcomes) == (1, dict.fromkeys(range(5), "stays"))
    assert SECRET not in said
    assert dump(letters.feed.redis) == before
    assert letters.numbers() == [0, 1, 2, 3, 4]


def test_once_the_causes_are_gone_they_are_applied_and_a_second_replay_does_nothing(
    letters: Letters, tmp_path: Path
) -> None:
    feed = letters.feed
    mapping = command({}, "mapping").stdout.replace('{ name = "leverage", required = true }', '{ name = "leverage" }')
    (tmp_path / "mapping.toml").write_text(mapping)
    feed.redis.delete("user:{live:3}:config")
    cured = {"CDC_MAPPING": str(tmp_path / "mapping.toml"), "CDC_SOURCE__ACCEPT_MISSING_BEFORE": "true"}
    listener = Listener(feed.redis)

    before = dump(feed.redis)
    assert letters.replayed("--all", "--dry-run", **cured)[1] == {
        0: "stays",
        **dict.fromkeys((1, 2, 3), "applied"),
        4: "stays",
    }
    assert dump(feed.redis) == before
    assert letters.numbers() == [0, 1, 2, 3, 4]

    assert letters.replayed("--user", "live:2", "--no-publish", **cured)[:2] == (0, {1: "applied"})
    assert feed.field(2, "group") == "VIP"
    assert listener.heard(2) == []
    code, outcomes, _ = letters.replayed(letters.place(2), letters.place(3), **cured)
    assert (code, outcomes) == (0, {2: "applied", 3: "applied"})
    assert (feed.field(3, "group"), feed.field(4, "group")) == ("VIP", "VIP")
    assert "group_updates" in [channel for channel, _ in listener.heard(3)]
    assert "group_updates" in [channel for channel, _ in listener.heard(4)]
    assert letters.numbers() == [0, 4]

    before, told = dump(feed.redis), len(listener.heard())
    code, outcomes, said = letters.replayed(letters.place(2), letters.place(3), **cured)
    assert (code, outcomes) == (0, {})
    assert "nothing to do" in said
    assert f"{letters.place(2)} was handled before" in said
    code, outcomes, said = letters.replayed(letters.place(0), f"{feed.topic}[0]@0", **cured)
    assert (code, outcomes) == (2, {}), "a place of which there never was a letter"
    assert f"{feed.topic}[0]@0 is not an open record" in said
    assert (dump(feed.redis), len(listener.heard())) == (before, told)

    assert letters.replayed("--all", **cured)[:2] == (1, {0: "stays", 4: "stays"})
    assert letters.replayed("--all", "--discard")[:2] == (0, {0: "discarded", 4: "discarded"})
    assert letters.numbers() == []
    assert letters.replayed("--all")[:2] == (0, {})
    listener.close()


def test_an_old_letter_never_moves_redis_back(letters: Letters) -> None:
    feed = letters.feed
    feed.redis.delete("user:{live:3}:config")
    with feed.running():
        feed.send(deposit(3, GOOD + 5, wallet_balance="77"))
        eventually(lambda: feed.field(3, "wallet_balance") == "77.00", 60)
        before = dump(feed.redis, "*live:3*")
        assert letters.replayed("--user", "live:3")[:2] == (0, {2: "superseded"})
        assert dump(feed.redis, "*live:3*") == before
    assert 2 not in letters.numbers()


def test_a_record_that_fails_anew_waits_anew(letters: Letters) -> None:
    """The group's offsets were set back: what was given up is read again."""
    assert letters.replayed("--all", "--discard")[0] == 0
    assert letters.numbers() == []
    group = letters.feed.environment["CDC_KAFKA__GROUP_ID"]
    with closing(letters.feed.stack.kafka.admin()) as admin:

        def is_deleted() -> bool:
            ((_, error),) = admin.delete_consumer_groups([group])
            return error is NoError

        eventually(is_deleted, 60, "the group still has a member")
    letters.feed.redis.delete(*offset_keys(letters.feed.redis, group))
    with letters.feed.running():
        eventually(lambda: letters.numbers() == [0, 1, 2, 3, 4], 60)


def test_something_must_be_chosen_and_without_yes_nothing_is_done(letters: Letters) -> None:
    """Through a pipe as on a terminal; and what is said comes from Redis, which refuses one of them."""
    assert letters.run("replay").returncode == 2
    assert letters.run("replay", "--all", "--user", "live:1").returncode == 2
    assert letters.run("replay", "--user", "1").returncode == 2
    assert letters.run("replay", "--all", "--yes", "--dry-run").returncode == 2
    feed = letters.feed
    before = dump(feed.redis)
    for arguments in (["--all"], ["--all", "--discard"]):
        person, terminal = pty.openpty()
        try:
            for stdin in (terminal, subprocess.DEVNULL):
                ran = subprocess.run(
                    [CLI, "dead-letters", "replay", *arguments],
                    env={**os.environ, **feed.environment},
                    stdin=stdin,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                assert "nothing was done; --yes does it" in ran.stderr
                assert letters.numbers() == [0, 1, 2, 3, 4]
                assert dump(feed.redis) == before
        finally:
            os.close(person)
            os.close(terminal)
    ran = letters.run("replay", "--user", "live:3")
    assert f"stays      {letters.place(2)}: user:{{live:3}}:config is a key of another type" in ran.stdout
    feed.redis.delete("user:{live:3}:config")
    assert "would be: 1 applied" in letters.run("replay", "--user", "live:3").stderr
    with feed.running():
        feed.send(deposit(3, GOOD + 5, wallet_balance="77"))
        eventually(lambda: feed.field(3, "wallet_balance") == "77.00", 60)
    assert "would be: 1 superseded" in letters.run("replay", "--user", "live:3").stderr


def test_what_was_given_up_is_settled_for_replay_and_check(letters: Letters, tmp_path: Path) -> None:
    """A TRUNCATE and a record that nobody can read: to cure them is impossible."""
    feed = letters.feed
    feed.make(feed.topic.replace("live_users", "demo_users"))  # without it check has another reason to exit with 1
    feed.redis.delete("user:{live:3}:config")
    mapping = command({}, "mapping").stdout.replace('{ name = "leverage", required = true }', '{ name = "leverage" }')
    (tmp_path / "mapping.toml").write_text(mapping)
    cured = {"CDC_MAPPING": str(tmp_path / "mapping.toml"), "CDC_SOURCE__ACCEPT_MISSING_BEFORE": "true"}
    settings = {**feed.environment, **cured}

    def replays() -> list[tuple[int, int]]:
        """Exit code and records that could not be used, of each way."""
        found = []
        for way in ([], ["--rebuild"]):
            ran = command(settings, "replay", "--from", "beginning", "--to", "end", "--yes", "--json", *way)
            found.append((ran.returncode, json.loads(ran.stdout)["unusable"]))
        return found

    def unreadable() -> list[str]:
        ran = command(settings, "check", "--json")
        told = [json.loads(line) for line in ran.stdout.splitlines()]
        of_records = [each for each in told if each["subject"].startswith("records of")]
        failures.append((ran.returncode, sum(each["level"] == "failure" for each in of_records)))
        return [each["found"] for each in of_records if "TRUNCATE" in each["found"] or "not JSON" in each["found"]]

    failures: list[tuple[int, int]] = []
    assert replays() == [(1, 2), (1, 2)]
    assert len(unreadable()) == 2
    assert letters.replayed(letters.place(0), letters.place(4), "--discard")[0] == 0
    assert replays() == [(0, 0), (0, 0)]
    assert unreadable() == []
    assert failures == [(1, 1), (0, 0)]


def leave(feed: Feed, user: int, record: SourceRecord) -> None:
    """Write a dead letter of a record that could not be read then, and can be now."""
    record = structs.replace(record, topic=feed.topic)
    group = feed.environment["CDC_KAFKA__GROUP_ID"]
    letter = DeadLetter(record, Undecodable("7 bytes"), (UserId("live", user),), group, ("live_users",))
    headers = list(letter.headers())
    feed.producer.send(feed.dead_letters, key=record.key, value=record.value, headers=headers, partition=0).get(10)


def replayed(feed: Feed, *arguments: str) -> dict[str, str]:
    """What is said of the only letter."""
    (line,) = command(feed.environment, "dead-letters", "replay", "--all", "--json", *arguments).stdout.splitlines()
    return dict(json.loads(line))


def test_a_letter_that_debezium_had_sent_before_changes_nothing(feed: Feed) -> None:
    first, later = deposit(1, 0, wallet_balance="100"), deposit(1, 1, wallet_balance="200")
    with feed.running():
        feed.send(first, later, first)
        eventually(lambda: feed.committed() == 3, 60)
    leave(feed, 1, structs.replace(first, offset=2))
    before = dump(feed.redis, "*live:1*")
    for arguments in ((), ("--yes",)):
        found = replayed(feed, *arguments)
        assert (found["outcome"], found["why"]) == ("nothing", "sent before, at offset 0: Debezium sends it again")
    assert dump(feed.redis, "*live:1*") == before
    assert feed.field(1, "wallet_balance") == "200.00"


def test_a_letter_from_before_the_topic_was_created_again_overwrites_nothing(feed: Feed) -> None:
    """The topic has one record now, and the letter is of the offset 48213."""
    later = changed(
        deposit(1, 0, wallet_balance="200"), lambda envelope: envelope["source"].update(ts_ms=1_790_000_000_000)
    )
    with feed.running():
        feed.send(later)
        eventually(lambda: feed.committed() == 1, 60)
    leave(feed, 1, deposit(1, 48_213, wallet_balance="100"))
    before = dump(feed.redis, "*live:1*")
    for arguments in ((), ("--yes",)):
        found = replayed(feed, *arguments)
        assert found["outcome"] == "stays"
        assert found["why"].startswith("the record is from before its topic was created again")
        assert "snapshot --user live:1 --authoritative" in found["advice"]
    assert dump(feed.redis, "*live:1*") == before


def test_without_a_topic_there_are_no_letters(feed: Feed) -> None:
    ran = command(feed.environment, "dead-letters", "list", "--json")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert f"there is no topic {feed.dead_letters}" in ran.stderr
