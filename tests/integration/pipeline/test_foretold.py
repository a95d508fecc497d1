"""A changed mapping is compared with the old one over recorded changes. Then both are used, and what Redis did differs
by what was foretold.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr
from typer.testing import CliRunner

from consumer.commands.cli import app
from consumer.commands.shared.plan.aspects import template_of
from consumer.events.record import SourceRecord
from consumer.guard.history import Histories
from consumer.mapping.file import load, to_toml
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.pipeline.loop import Pipeline
from consumer.settings.sections import Guard, Redis
from consumer.sink.redis_sink import RedisSink
from consumer.source.recording import RecordedSource, read, write
from tests.e2e.feed import DEPOSIT, deposit

CHANGES, USERS = 10_000, 500
TOPIC = "trading.trading.live_users"
_ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OWNER = re.compile(r"(live):(\d+)")
Counts = Counter[tuple[str, str, str]]


def recorded() -> Iterator[SourceRecord]:
    """Changes of many users: most of the balance, some of the leverage too, a few of neither."""
    balance, leverage = dict.fromkeys(range(USERS), 0), dict.fromkeys(range(USERS), 100)
    assert DEPOSIT.before is not None
    for number in range(CHANGES):
        user = number * 7 % USERS
        before = {"wallet_balance": f"{balance[user]}.00", "leverage": leverage[user]}
        balance[user] += number % 10 != 0
        leverage[user] += number % 30 == 0
        after = {"wallet_balance": f"{balance[user]}.00", "leverage": leverage[user]}
        yield with_rows(number, user + 1, before, after)


def with_rows(offset: int, user: int, before: Mapping[str, object], after: Mapping[str, object]) -> SourceRecord:
    record = deposit(user, offset)
    assert record.value is not None
    body = json.loads(record.value)
    payload = body.get("payload", body)
    payload["before"] |= before
    payload["after"] |= after
    payload["ts_ms"] = payload["source"]["ts_ms"] = 1_795_000_000_000 + offset
    value = json.dumps(body).encode()
    return SourceRecord(TOPIC, 0, offset, 1_795_000_000_000 + offset, record.key, value)


@contextmanager
def commands_of(url: str) -> Iterator[list[list[str]]]:
    """What Redis executes within the block, also in scripts."""
    found: list[list[str]] = []
    with redis.Redis.from_url(url, decode_responses=True) as client, client.monitor() as monitor:

        def listen() -> None:
            while not found or found[-1] != ["ECHO", "the end"]:
                line = monitor.connection.read_response(timeout=None)
                found.append(_ARGUMENT.findall(line if isinstance(line, str) else line.decode()))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield found
        client.echo("the end")
        thread.join(60)
        assert not thread.is_alive()


def deployed(client: redis.Redis, url: str, rules: Rules, records: Sequence[SourceRecord]) -> Counts:
    """Follow the records with ``rules``; what Redis did, counted as a comparison counts it."""
    client.flushall()
    sink = RedisSink(Redis(url=SecretStr(url), tracking=False), Guard(), rules)
    sink.reach()
    source = RecordedSource(records)
    with commands_of(url) as executed:
        pipeline = Pipeline(sink, rules, history=Histories(None, 5000), commit_interval_s=0)
        pipeline.run(source, lambda: source.is_at_end)
    sink.close()
    return counted(executed)


def counted(executed: Sequence[Sequence[str]]) -> Counts:
    found: Counts = Counter()
    for name, *arguments in (command for command in executed if command):
        match name.upper():
            case "PUBLISH":
                found["publish", arguments[0], ""] += 1
            case "DEL" | "UNLINK":
                found.update(("clear", _template(key), "") for key in arguments)
            case "HSET" | "HMSET" if arguments[0].startswith("user:"):
                found.update(("write", _template(arguments[0]), field) for field in arguments[1::2])
            case "SET":
                found["set", _template(arguments[0]), ""] += 1
    return found


def _template(key: str) -> str:
    user = _OWNER.search(key)
    return template_of(key, user[0] if user else "")


def foretold(summary: Mapping[str, Any]) -> Counts:
    found: Counts = Counter()
    for each in summary["differences"]:
        if each["what"] in ("publish", "clear", "write", "set"):
            found[each["what"], each["name"], each["field"] or ""] = each["new"] - each["gone"]
    return found


def changed_copy() -> str:
    """The reference mapping with three rules changed: a channel more, a key less, a time more."""
    text = to_toml(reference())
    trading = text.index('name = "trading"')
    group = text.index('name = "group"', trading)
    rule = text[trading:group].replace('"user_margin_calc:<type>:<id>",\n', "")
    rule = rule.replace("clears = [", 'channels = ["risk_updates"]\nstamps = ["last_risk_at"]\nclears = [')
    financial = text[:trading].replace('    "user_summary:<type>:<id>",\n', "", 1)
    return financial + rule + text[group:]


@pytest.mark.parametrize("redis_binary", ["machine"], indirect=True)
def test_what_happened_is_what_was_foretold(client: redis.Redis, redis_url: str, tmp_path: Path) -> None:
    records = list(recorded())
    write(records, tmp_path / "changes.jsonl.gz")
    (tmp_path / "old.toml").write_text(to_toml(reference()))
    (tmp_path / "new.toml").write_text(changed_copy())
    arguments = ["plan", "changes.jsonl.gz", "--mapping", "new.toml", "--against", "old.toml"]
    ran = CliRunner().invoke(app, [str(tmp_path / each) if "." in each else each for each in arguments])
    assert ran.exit_code == 1, ran.output
    assert ran.output.splitlines()[:3] == [
        "new.toml against old.toml: 10,000 records compared",
        "9,334 are decided otherwise, of 500 users",
        "+334 messages on risk_updates, −9,334 keys cleared, +334 fields",
    ]
    told = CliRunner().invoke(app, [*(str(tmp_path / each) if "." in each else each for each in arguments), "--json"])
    summary = json.loads(told.output.splitlines()[-1])
    assert len(told.output.splitlines()) == summary["different"] + 1

    before = deployed(client, redis_url, load(tmp_path / "old.toml"), records)
    after = deployed(client, redis_url, load(tmp_path / "new.toml"), list(read(tmp_path / "changes.jsonl.gz")))
    happened = Counter(after)
    happened.subtract(before)
    assert {what: times for what, times in happened.items() if times} == dict(foretold(summary))
