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
from tests.integration.secure import gateway as http
from tests.integration.secure import redis_tls
from tests.integration.secure.authority import Authority
from tests.integration.secure.broker import USER, Broker
from tests.integration.secure.gateway import Gateway
from tests.integration.secure.redis_tls import RedisServers
from tests.support.redis_view import eventually
from tests.support.stack.kafka import PATIENT
from tests.support.stack.port import Ports

pytestmark = pytest.mark.stack
WRONG, OTHER = "wr0ng-s3cret", "0ther-s3cret"
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
    "audit": ["audit"],
    "explain": ["explain", "live:7"],
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
    topic = Topic(broker.stack, topic_prefix, "kafka-python")
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
        "CDC_API__TOKEN": "t0ken-s3cret-of-16",
    }


@pytest.fixture
def secrets(broker: Broker, gateway: Gateway) -> list[str]:
    own = [broker.password, gateway.password, redis_tls.PASSWORD, WRONG, "datab4se-s3cret", "t0ken-s3cret-of-16"]
    return [*own, *(quote(each, safe="") for each in own)]


def assert_tells_none(secrets: list[str], *texts: str) -> None:
    for text in texts:
        assert [each for each in secrets if each in text] == [], text


def words(name: str, folder: Path) -> list[str]:
    """Of a command; what it writes goes into the folder."""
    return [str(folder / each) if each == "recorded" else each for each in COMMANDS[name]]


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.parametrize("server", ASKED)
def test_a_refused_account_ends_every_command(
    environment: dict[str, str], servers: RedisServers, secrets: list[str], server: str, tmp_path: Path
) -> None:
    wrong = servers.url("good", login=f"{redis_tls.USER}:{WRONG}") if server == "redis" else WRONG
    setting = PASSWORDS[server]
    for name in ASKED[server]:
        ran = command(environment | {setting: wrong}, *words(name, tmp_path))
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
    for name in COMMANDS:
        if name != "run":
            ran = command(environment, *words(name, tmp_path))
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
        ("--connect-url", ["connect", "status", "--connect-url", "http://a:b@h"]),
        ("--connect-url", ["connect", "status", "--url", "http://a:b@h"]),
        ("--database-url", ["audit", "--database-url", "mysql://a:b@h/d"]),
    ],
)
def test_no_password_on_the_command_line(option: str, arguments: list[str]) -> None:
    ran = command({}, *arguments)
    assert ran.returncode == 2
    assert f"cdc-consumer: {option}: contains a password" in ran.stderr


class Followed:
    """The program while it follows a topic, with one change after the other."""

    def __init__(self, process: Process, broker: Broker, client: redis.Redis, topic: Topic) -> None:
        self.process = process
        self._broker = broker
        self._client = client
        self._topic = topic
        self._number = 0

    def send(self) -> None:
        self._number += 1
        record = deposit(7, self._number, wallet_balance=f"{self._number}.50")
        producer = KafkaProducer(**PATIENT, bootstrap_servers=self._broker.listeners["OPEN"], acks="all")
        producer.send(self._topic.name, key=record.key, value=record.value, headers=list(record.headers)).get(20)
        producer.close()

    def applies(self) -> None:
        self.send()
        key, last = "user:{live:7}:config", f"{self._number}.50"
        eventually(lambda: self._client.hget(key, "wallet_balance") == last, 60, "the change does not arrive")

    def waits(self, action: str, cause: str) -> None:
        try:
            eventually(lambda: cause in self._said(action), 60, f"does not say: {cause}")
        except AssertionError as error:
            error.add_note(f"it said:\n{self.process.said()}")
            raise

    def _said(self, action: str) -> str:
        return "\n".join(line for line in self.process.said().splitlines() if f'"{action}"' in line)


@pytest.fixture
def followed(
    broker: Broker, servers: RedisServers, environment: dict[str, str], topic: Topic, secrets: list[str], tmp_path: Path
) -> Iterator[Followed]:
    with servers.server("good").connect() as client:
        client.flushall()
    process = Process(environment, tmp_path / "log")
    try:
        with servers.server("good").connect() as client:
            followed = Followed(process, broker, client, topic)
            followed.applies()
            yield followed
            followed.applies()
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert_tells_none([*secrets, OTHER], process.said())
        assert "Traceback" not in process.said()
    except BaseException as error:
        error.add_note(f"it said:\n{process.said()}")
        raise
    finally:
        process.close()


def test_redis_refuses_at_run_time(followed: Followed, servers: RedisServers, authority: Authority) -> None:
    """A password is changed and given back, a certificate expires and is renewed."""
    servers.set_password("good", OTHER)
    try:
        followed.send()
        followed.waits("redis.waiting", "WRONGPASS")
    finally:
        servers.set_password("good", redis_tls.PASSWORD)
    followed.applies()
    servers.show("good", authority.issue("redis-old", days=-1))
    try:
        followed.send()
        followed.waits("redis.waiting", "certificate has expired")
    finally:
        servers.show("good", authority.issue("redis-new"))


@pytest.mark.slow
def test_kafka_refuses_the_account_at_run_time(followed: Followed, broker: Broker) -> None:
    broker.set_password(OTHER)
    try:
        broker.restart()
        followed.waits("kafka.waiting", "does not accept this user and password")
    finally:
        broker.set_password(broker.password)


@pytest.mark.slow
def test_kafkas_certificate_expires_and_is_renewed(followed: Followed, broker: Broker, authority: Authority) -> None:
    good = broker.shown.both.read_bytes()
    broker.shown.both.write_bytes(authority.issue("kafka-was", days=-1).both.read_bytes())
    try:
        broker.restart()
        followed.waits("kafka.waiting", "its certificate has expired")
    finally:
        broker.shown.both.write_bytes(good)
        broker.restart()
