"""The section "Run it for real" of the README, block by block, from a fresh environment on the real servers."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import redis

from consumer.settings.variables import placeholders
from consumer.source.connect.client import load_connector
from tests.docs.markdown import PROJECT, blocks
from tests.docs.test_readme import INSERT, INSTALL, README, commands
from tests.support.redis_view import eventually
from tests.support.stack.port import Ports
from tests.support.stack.registration import delete_topics
from tests.support.stack.stack import Stack
from tests.support.stack.trading import Trading

LIMIT_S = 120.0
_SECTION = re.compile(r"^## Run it for real\n(.*?)^## ", re.MULTILINE | re.DOTALL)


def section(folder: Path) -> list[str]:
    """The commands of the section, in their order."""
    found = _SECTION.search(README.read_text())
    assert found is not None
    page = folder / "section.md"
    page.write_text(found[1])
    return [command for text in blocks(page, "sh") for command in commands(text)]


def exports(lines: list[str]) -> dict[str, str]:
    """What the README exports, by name, with the values that stand there."""
    words = [word for line in lines if line.startswith("export ") for word in shlex.split(line)[1:]]
    return {name: value for name, _, value in (word.partition("=") for word in words)}


@dataclass
class Reader:
    """Somebody who follows the README: what they have typed so far, and what runs."""

    stack: Stack
    trading: Trading
    redis: redis.Redis
    programs: Path
    known: dict[str, str]
    environment: dict[str, str]
    lasting: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    codes: list[tuple[str, int]] = field(default_factory=list)

    def words(self, command: str) -> list[str]:
        """The words of a command, of the fresh environment."""
        program, *rest = shlex.split(command)
        assert program.startswith(".venv/bin/"), command
        return [str(self.programs / program.removeprefix(".venv/bin/")), *rest]

    def ran(self, command: str, code: int) -> str:
        """What a command prints that ends, with this exit code and without a traceback."""
        ran = subprocess.run(
            self.words(command),
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        self.codes.append((command, ran.returncode))
        assert "Traceback" not in ran.stdout + ran.stderr, ran.stderr
        assert ran.returncode == code, f"{command}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def export(self, command: str) -> None:
        for word in shlex.split(command)[1:]:
            name = word.partition("=")[0]
            self.environment[name] = self.known[name]

    def grants(self, command: str) -> None:
        """What stands behind the pipe is the database's own client, whose part the administrator plays here."""
        ours, theirs = command.split(" | ")
        assert shlex.split(theirs)[0] == "mysql"
        printed = self.ran(ours, 0)
        with self.stack.mysql.connect() as connection, connection.cursor() as cursor:
            for statement in "\n".join(line for line in printed.splitlines() if line[:2] != "--").split(";\n"):
                if text := statement.strip().removesuffix(";"):
                    cursor.execute(text)

    def apply(self, command: str) -> None:
        assert self.ran(command, 0) == f"{self.known['CDC_KAFKA__TOPIC_PREFIX']}-mysql runs\n"

    def run(self, command: str) -> None:
        self._start("run", command)
        self.trading.insert("live_users", id=123, wallet_balance="10000.5", group="VIP")
        eventually(lambda: self.redis.hget("user:{live:123}:config", "group") == "VIP", LIMIT_S)

    def status(self, command: str) -> None:
        """Just after the start a heartbeat may be missing yet."""
        words = self.words(command)

        def is_well() -> bool:
            return subprocess.run(words, env=self.environment, capture_output=True, check=False).returncode == 0

        eventually(is_well, LIMIT_S)
        assert "group: 1 member with " in self.ran(command, 0)

    def redis_cli(self, command: str) -> None:
        verb, *rest = shlex.split(command)[1:]
        if verb != "SUBSCRIBE":
            found = self.redis.execute_command(verb, *rest)
            expected = {"HGETALL": "VIP", "GET": "10000.50"}[verb]
            assert expected in (found.values() if isinstance(found, dict) else [found])
            return
        subscriber = self.redis.pubsub(ignore_subscribe_messages=True)
        subscriber.subscribe(*rest)
        try:
            self.trading.update("live_users", 123, group="Gold")
            until = time.monotonic() + LIMIT_S
            while (message := subscriber.get_message(timeout=1.0)) is None:
                assert time.monotonic() < until, "no message"
            assert json.loads(message["data"])["user_id"] == 123
        finally:
            subscriber.close()

    def replay(self, command: str) -> None:
        """Somebody changed a field by hand; only `--yes` would mend it."""
        self.redis.hset("user:{live:123}:config", "group", "by hand")
        assert "group: 'by hand' -> 'Gold'" in self.ran(command, 0)

    def audit(self, command: str) -> None:
        assert "overwritten" in self.ran(command, 1), "a difference remains"

    def explain(self, command: str) -> None:
        said = self.ran(command, 0)
        if "--from" in command:
            assert "live_users update: group VIP → Gold; " in said
        else:
            assert "changed by hand, or by another program: group" in said

    def api(self, command: str) -> None:
        self._start("api", command)

    def curl(self, command: str) -> None:
        expanded = command.replace("$CDC_API__TOKEN", self.environment["CDC_API__TOKEN"])
        _, option, header, url = shlex.split(expanded)
        assert option == "--header"
        name, _, value = header.partition(": ")
        own = url.replace("localhost:8080", f"127.0.0.1:{self.environment['CDC_API__PORT']}")

        def answers() -> bool:
            assert self.lasting["api"].poll() is None, "the API has ended"
            try:
                answer = httpx.get(own, headers={name: value}, timeout=30)
            except httpx.TransportError:
                return False
            return answer.status_code == 200 and answer.json()["data"]["is_consistent"] is False

        eventually(answers, LIMIT_S)

    def stop(self) -> None:
        """As the README says: SIGTERM, and it ends with 0."""
        for name, process in self.lasting.items():
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
            self.codes.append((name, process.returncode))
            assert process.returncode == 0, said.decode()

    def kill(self) -> None:
        for process in self.lasting.values():
            process.kill()
            process.wait()

    def _start(self, name: str, command: str) -> None:
        self.lasting[name] = subprocess.Popen(
            self.words(command), cwd=PROJECT, env=self.environment, stderr=subprocess.PIPE
        )


@pytest.fixture
def reader(
    stack: Stack, trading: Trading, redis_client: redis.Redis, topic_prefix: str, programs: Path
) -> Iterator[Reader]:
    """Afterwards the accounts, the connector and its topics are gone."""
    mysql, own = stack.mysql, {"connector": f"c_{topic_prefix}", "reader": f"r_{topic_prefix}"}
    known = {
        **stack.connect.exports(),
        **stack.kafka.exports(),
        **stack.redis.exports(),
        "CDC_KAFKA__TOPIC_PREFIX": topic_prefix,
        "CDC_DATABASE__URL": f"mysql://{own['reader']}:it%27s@{mysql.address}/{mysql.database}",
        "CDC_MYSQL_PASSWORD": "it's another",
        "CDC_MASK_SALT": secrets.token_hex(8),
        "CDC_API__TOKEN": secrets.token_hex(20),
    }
    # Of what the README leaves at its default, these differ here because many tests share the servers.
    ports = Ports()
    shared = {
        "CDC_MYSQL_USER": own["connector"],
        "CDC_MYSQL_SERVER_ID": str(10_000 + secrets.randbelow(2_000_000_000)),
        "CDC_KAFKA__GROUP_ID": f"group-{topic_prefix}",
        "CDC_METRICS__PORT": "0",
        "CDC_API__PORT": str(ports.take("api")),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CDC_", "PYTHON"))}
    person = Reader(stack, trading, redis_client, programs, known, inherited | shared)
    try:
        yield person
    finally:
        person.kill()
        with stack.connect.api() as api:
            if f"{topic_prefix}-mysql" in api.names():
                api.delete(f"{topic_prefix}-mysql")
        delete_topics(stack, topic_prefix)
        with mysql.connect() as connection, connection.cursor() as cursor:
            for user in own.values():
                cursor.execute(f"DROP USER IF EXISTS '{user}'@'%'")


@pytest.mark.stack
@pytest.mark.timeout(1800)
def test_the_commands_work_one_after_the_other(reader: Reader, tmp_path: Path) -> None:
    steps: dict[str, Callable[[str], None]] = {
        "export ": reader.export,
        ".venv/bin/cdc-consumer grants": reader.grants,
        ".venv/bin/cdc-consumer connect apply": reader.apply,
        ".venv/bin/cdc-consumer run": reader.run,
        ".venv/bin/cdc-consumer status": reader.status,
        "redis-cli ": reader.redis_cli,
        ".venv/bin/cdc-consumer replay": reader.replay,
        ".venv/bin/cdc-consumer audit": reader.audit,
        ".venv/bin/cdc-consumer explain": reader.explain,
        ".venv/bin/cdc-consumer api": reader.api,
        "curl ": reader.curl,
    }
    lines = section(tmp_path)
    assert lines[:2] == INSTALL, "made by the fixture"
    for command in lines[2:]:
        (step,) = (step for begin, step in steps.items() if command.startswith(begin))
        step(command)
    reader.stop()
    for command, code in reader.codes:
        print(f"{code}  {command}")


def test_what_the_readme_exports_is_enough_for_the_connector(tmp_path: Path) -> None:
    """The values that stand there, with something for each ``...``; every name is one that somebody reads."""
    found = {name: value.replace("...", "secret") for name, value in exports(section(tmp_path)).items()}
    values = placeholders(
        found, found["CDC_KAFKA__TOPIC_PREFIX"], found["CDC_KAFKA__BOOTSTRAP_SERVERS"], found["CDC_DATABASE__URL"]
    )
    connector = load_connector(PROJECT / "connect" / "mysql.json", values)
    assert connector.config["database.hostname"] == "localhost"
    assert connector.config["topic.prefix"] == "trading"


def test_every_exported_name_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from consumer.settings import sources as config

    for name in [name for name in os.environ if name.startswith("CDC_")]:
        monkeypatch.delenv(name)
    for name, value in exports(section(tmp_path)).items():
        monkeypatch.setenv(name, value)
    config.load()


@pytest.mark.stack
def test_the_insert_of_the_docker_section_is_taken(stack: Stack, trading: Trading) -> None:
    with stack.mysql.connect(stack.mysql.logins.app) as connection, connection.cursor() as cursor:
        cursor.execute(INSERT)
    (balance,) = trading.row("live_users", 123, "wallet_balance")
    assert str(balance) == "10000.500000"
