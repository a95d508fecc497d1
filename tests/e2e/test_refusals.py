"""A broker that begins to refuse this account while the program runs, and one that refused it from the start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from kafka.admin import ACL, ACLFilter, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from consumer.commands.shared.check.kafka_survey import topic_settings
from consumer.errors import ConfigError
from consumer.observability.metrics import Metrics
from consumer.source.dead_letter_topic import DeadLetterTopic
from tests.e2e.process import Process
from tests.e2e.topic import EITHER_CLIENT, Topic
from tests.support.redis_view import eventually
from tests.support.stack import Stack, kafka
from tests.support.stack.fixtures import started

pytestmark = [pytest.mark.stack, pytest.mark.slow]
EVERYBODY = "User:*"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Stack]:
    """A broker of its own, which knows permissions; the stack's lets everybody do everything."""
    plain = kafka.settings
    patch = pytest.MonkeyPatch()
    patch.setattr(
        kafka,
        "settings",
        lambda *places: (
            plain(*places)
            | {
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "allow.everyone.if.no.acl.found": "true",
            }
        ),
    )
    try:
        stack = started(lambda: Stack.start((), ("standalone",), False, kind="native"))
    finally:
        patch.undo()
    with stack:
        yield stack


@pytest.fixture
def topic(guarded: Stack, topic_prefix: str, client: str) -> Iterator[Topic]:
    topic = Topic(guarded, topic_prefix, client)
    try:
        yield topic
    finally:
        topic.close()


@contextmanager
def _denied(stack: Stack, kind: ResourceType, name: str, operation: ACLOperation = ACLOperation.READ) -> Iterator[None]:
    """Nobody may do that to that topic, or as that group; all else is allowed."""
    pattern = ResourcePattern(kind, name)
    allowed = (EVERYBODY, "*", ACLOperation.ALL, ACLPermissionType.ALLOW)
    denied = (EVERYBODY, "*", operation, ACLPermissionType.DENY)
    admin = stack.kafka.admin()
    try:
        admin.create_acls([ACL(*allowed, pattern), ACL(*denied, pattern)])
        try:
            yield
        finally:
            admin.delete_acls([ACLFilter(*denied, pattern), ACLFilter(*allowed, pattern)])
    finally:
        admin.close()


@EITHER_CLIENT
@pytest.mark.parametrize("kind", [ResourceType.TOPIC, ResourceType.GROUP], ids=["topic", "group"])
def test_refused_at_run_time_is_waited_out(
    topic: Topic, guarded: Stack, kind: ResourceType, capsys: pytest.CaptureFixture[str]
) -> None:
    topic.make()
    topic.send(1)
    metrics = Metrics()
    with topic.member(metrics, session_timeout_ms=3000) as member:
        is_ready = partial(member.is_ready, metrics)
        member.read([0])
        assert member.source.commit({topic.part: 1})
        eventually(is_ready)
        with _denied(guarded, kind, topic.name if kind is ResourceType.TOPIC else topic.prefix):
            topic.send(1)
            eventually(lambda: not (member.source.commit({topic.part: 1}) or is_ready()))
        eventually(is_ready, 30)

        def is_done() -> bool:
            member.poll()  # a membership that ran out meanwhile is taken up again, and the record read again
            return member.offsets[-1] == 1 and member.source.commit({topic.part: 2}) and topic.committed() == 2

        eventually(is_done)
        assert set(member.offsets) == {0, 1}
    said = [line for line in capsys.readouterr().out.splitlines() if "action=kafka." in line]
    assert ["kafka.waiting" in line for line in said] == [True, False]
    assert "AuthorizationFailedError" in said[0]
    assert "grant this account READ" in said[0]


@EITHER_CLIENT
def test_a_refusal_is_noticed_for_as_long_as_it_lasts(
    topic: Topic, guarded: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if nothing is to be committed: a refused commit is not what tells it."""
    topic.make()
    topic.send(1)
    metrics = Metrics()
    with topic.member(metrics) as member:
        is_ready = partial(member.is_ready, metrics)
        member.read([0])
        assert member.source.commit({topic.part: 1})
        eventually(is_ready)
        with _denied(guarded, ResourceType.TOPIC, topic.name):
            eventually(lambda: not is_ready())
            until = time.monotonic() + 10  # more than twice as long as an outage must be over to count as over
            while time.monotonic() < until:
                assert not is_ready()
            topic.send(1)
        member.read([0, 1])
        eventually(is_ready, 30)
    assert "action=kafka.resumed" in capsys.readouterr().out


@EITHER_CLIENT
def test_refused_at_the_start_is_a_setting(topic: Topic, guarded: Stack, tmp_path: Path) -> None:
    topic.make()
    with _denied(guarded, ResourceType.GROUP, topic.prefix):
        with topic.member() as member, pytest.raises(ConfigError, match="GroupAuthorizationFailedError"):
            eventually(member.poll)
        process = Process(topic.environment() | {"CDC_REDIS__URL": guarded.redis.url}, tmp_path / "log")
        assert process.wait(30) == 2
        assert "CDC_KAFKA__SECURITY" in process.said()
        assert "Traceback" not in process.said()


def test_what_check_may_not_ask_is_not_known(topic: Topic, guarded: Stack) -> None:
    topic.make()
    settings = topic.settings()
    eventually(lambda: topic.name in topic_settings(settings, [topic.name]))
    with _denied(guarded, ResourceType.TOPIC, topic.name, ACLOperation.DESCRIBE_CONFIGS):
        eventually(lambda: topic_settings(settings, [topic.name]) == {})


def test_dead_letters_that_could_not_be_kept_are_known_before(topic: Topic, guarded: Stack) -> None:
    name = f"{topic.prefix}.dlq"
    letters = DeadLetterTopic(topic.settings(), name)

    def is_refused() -> bool:
        try:
            letters.check_creation()
        except ConfigError as error:
            return str(error).startswith(
                f"CDC_DEAD_LETTERS__TOPIC: the topic {name} does not exist and can't be created: Topic"
            )
        return False

    assert not is_refused()
    with (
        _denied(guarded, ResourceType.CLUSTER, "kafka-cluster", ACLOperation.CREATE),
        _denied(guarded, ResourceType.TOPIC, name, ACLOperation.CREATE),
    ):
        eventually(is_refused)
    eventually(lambda: not is_refused())
    assert topic_settings(topic.settings(), [name]) == {}
