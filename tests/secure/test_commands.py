"""Every command with TLS and accounts on all servers: it works, is refused, never tells a secret."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import redis
from kafka import KafkaProducer

from tests.e2e.feed import deposit
from tests.e2e.process import Process, command
from tests.e2e.topic import Topic
from tests.redis_view import eventually
from tests.secure import gateway as http
from tests.secure import redis_tls
from tests.secure.authority import Authority
from tests.secure.broker import USER, Broker
from tests.secure.gateway import Gateway
from tests.secure.redis_tls import RedisServers
from tests.stack.port import Ports

pytestmark = pytest.mark.stack
WRONG = "wr0ng-s3cret"
# A server's password as it should be, and as it should not: settings by server.
PASSWORDS = {
    "kafka": "CDC_KAFKA__SECURITY__PASSWORD",
    "redis": "CDC_REDIS__URL",
    "registry": "CDC_REGISTRY__PASSWORD",
    "connect": "CDC_CONNECT__PASSWORD",
}
KAFKA_ONLY = {
    "record": ["record", "any", "--to", "recorded"],
    "dead-letters list": ["dead-letters", "list"],
    "dead-letters show": ["dead-letters", "show", "t[0]@1"],
    "dead-letters replay": ["dead-letters", "replay", "--all", "--yes"],
    "snapshot": ["snapshot", "live_users"],
}
COMMANDS = {
    "run": ["run"],
    "check": ["check"],
    "replay": ["replay", "--from", "beginning", "--to", "end"],
    "connect status": ["connect", "status"],
    **KAFKA_ONLY,
}
ASKED = {
    "kafka": ["run", "check", "replay", *KAFKA_ONLY],
    "redis": ["run", "check", "replay"],
    "registry": ["run", "check", "replay"],
    "connect": ["check", "connect status"],
}


@pytest.fixture
def topic(broker: Broker, topic_prefix: str) -> Iterator[Topic]:
    topic = Topic(broker.stack, topic_prefix)
    topic.make()
    yield topic
    topic.close()


@pytest.fixture
def environment(
    broker: Broker, servers: RedisServers, gateway: Gateway, authority: Authority, topic: Topic
) -> dict[str, str]:
    """Settings of good servers, all with TLS and an account."""
    return topic.environment() | {
        "CDC_KAFKA__BOOTSTRAP_SERVERS": broker.listeners["SASLTLS"],
        "CDC_KAFKA__SESSION_TIMEOUT_MS": "3000",
        "CDC_KAFKA__SECURITY__PROTOCOL": "SASL_SSL",
        "CDC_KAFKA__SECURITY__CA": str(authority.file),
        "CDC_KAFKA__SECURITY__USER": USER,
        "CDC_KAFKA__SECURITY__PASSWORD": broker.password,
        "CDC_REDIS__URL": servers.url("good"),
        "CDC_REDIS__CA": str(authority.file),
        "CDC_REGISTRY__URL": gateway.url("good"),
        "CDC_REGISTRY__CA": str(authority.file),
        "CDC_REGISTRY__USER": http.USER,
        "CDC_REGISTRY__PASSWORD": gateway.password,
        "CDC_CONNECT__URL": gateway.url("good"),
        "CDC_CONNECT__CA": str(authority.file),
        "CDC_CONNECT__USER": http.USER,
        "CDC_CONNECT__PASSWORD": gateway.password,
        "CDC_DATABASE__URL": "mysql+pymysql://reader:datab4se-s3cret@127.0.0.1/trading",
        "CDC_API__TOKEN": "t0ken-s3cret",
    }


@pytest.fixture
def secrets(broker: Broker, gateway: Gateway) -> list[str]:
    own = [broker.password, gateway.password, redis_tls.PASSWORD, WRONG, "datab4se-s3cret", "t0ken-s3cret"]
    return [*own, *(quote(each, safe="") for each in own)]


def assert_tells_none(secrets: list[str], *texts: str) -> None:
    for text in texts:
        assert [each for each in secrets if each in text] == [], text


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.parametrize("server", ASKED)
def test_a_refused_account_ends_every_command(
    environment: dict[str, str], servers: RedisServers, secrets: list[str], server: str, tmp_path: Path
) -> None:
    wrong = servers.url("good", login=f"{redis_tls.USER}:{WRONG}") if server == "redis" else WRONG
    setting = PASSWORDS[server]
    for name in ASKED[server]:
        ran = command(environment | {setting: wrong}, *COMMANDS[name])
        assert (ran.returncode, f"{setting}: " in ran.stdout + ran.stderr) == (2, True), f"{name}: {ran}"
        assert_tells_none(secrets, ran.stdout, ran.stderr)


def test_no_command_tells_a_secret(
    environment: dict[str, str], secrets: list[str], topic: Topic, tmp_path: Path
) -> None:
    """Of good servers; secrets from files. What the commands do is other tests' matter."""
    for setting in PASSWORDS.values():
        file = tmp_path / setting
        file.write_text(f"{environment.pop(setting)}\n")
        environment[f"{setting}_FILE"] = str(file)
    for name, arguments in COMMANDS.items():
        if name != "run":
            ran = command(environment, *(str(tmp_path / each) if each == "recorded" else each for each in arguments))
            assert not ran.stderr.startswith("cdc-consumer: CDC_"), f"{name}: {ran}"
            assert_tells_none(secrets, ran.stdout, ran.stderr)
    port = Ports().take("metrics")
    process = Process(environment | {"CDC_METRICS__PORT": str(port), "CDC_LOG__LEVEL": "debug"}, tmp_path / "log")
    try:
        eventually(lambda: "group.assigned" in process.said(), 30)
        told = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert_tells_none(secrets, told, command_line(process.pid))
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert_tells_none(secrets, process.said())
    finally:
        process.close()


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        ("--redis-url", ["run", "--redis-url", "rediss://a:b@h/0"]),
        ("--url", ["connect", "status", "--url", "http://a:b@h"]),
    ],
)
def test_no_password_on_the_command_line(option: str, arguments: list[str]) -> None:
    ran = command({}, *arguments)
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"cdc-consumer: {option}: holds a password")


@pytest.mark.slow
def test_what_a_server_refuses_at_run_time_is_waited_out(
    broker: Broker,
    servers: RedisServers,
    authority: Authority,
    environment: dict[str, str],
    topic: Topic,
    tmp_path: Path,
    secrets: list[str],
) -> None:
    """A password that is changed and given back, a certificate that expires and is renewed: of Redis, and of Kafka."""
    process = Process(environment, tmp_path / "log")
    offset = 0
    try:
        with servers.server("good").connect() as client:

            def apply_one() -> None:
                nonlocal offset
                offset += 1
                send(broker, topic, offset)
                eventually(lambda: is_applied(client, offset), 60, process.said())

            def waits(action: str, cause: str) -> None:
                eventually(lambda: cause in said(process, action), 60, f"no {cause} in {process.said()}")

            apply_one()
            servers.set_password("good", "0ther-s3cret")
            send(broker, topic, offset)
            waits("redis.waiting", "WRONGPASS")
            servers.set_password("good", redis_tls.PASSWORD)
            apply_one()

            servers.show("good", authority.issue("redis-old", days=-1))
            send(broker, topic, offset)
            waits("redis.waiting", "certificate has expired")
            servers.show("good", authority.issue("redis-new"))
            apply_one()

            broker.set_password("0ther-s3cret")
            broker.restart()
            waits("kafka.waiting", "does not accept this user and password")
            broker.set_password(broker.password)
            apply_one()

            good = broker.shown.both.read_bytes()
            broker.shown.both.write_bytes(authority.issue("kafka-was", days=-1).both.read_bytes())
            broker.restart()
            waits("kafka.waiting", "its certificate has expired")
            broker.shown.both.write_bytes(good)
            broker.restart()
            apply_one()
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert_tells_none([*secrets, "0ther-s3cret"], process.said())
        assert "Traceback" not in process.said()
    finally:
        process.close()


def send(broker: Broker, topic: Topic, offset: int) -> None:
    record = deposit(7, offset, wallet_balance=f"{offset}.50")
    producer = KafkaProducer(bootstrap_servers=broker.listeners["OPEN"], acks="all")
    producer.send(topic.name, key=record.key, value=record.value, headers=list(record.headers)).get(20)
    producer.close()


def is_applied(client: redis.Redis, offset: int) -> bool:
    return client.hget("user:{live:7}:config", "wallet_balance") == f"{offset}.50"


def said(process: Process, action: str) -> str:
    return "\n".join(line for line in process.said().splitlines() if f'"{action}"' in line)
