"""When a connector counts as silent, and what `run` says, counts and answers about it."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from consumer.errors import ServerUnavailable
from consumer.observability.heartbeat import HeartbeatWatch
from consumer.observability.silence import Silence, SilenceChange

TOPIC = "__debezium-heartbeat.trading"
LIMIT = 30.0


def test_a_connector_that_sends_is_not_silent() -> None:
    silence = Silence(LIMIT)
    for now in range(1000, 1100, 5):
        assert silence.looked(float(now), now + 1.0) is None
    assert silence.age_s(1100.0) == 5.0


def test_a_silence_begins_and_ends_once() -> None:
    silence = Silence(LIMIT)
    assert silence.looked(1000.0, 1000.0) is None
    assert silence.looked(1000.0, 1030.0) is None
    assert silence.looked(1000.0, 1031.0) is SilenceChange.BEGAN
    assert silence.looked(1000.0, 1032.0) is None
    assert silence.looked(1033.0, 1033.5) is SilenceChange.ENDED
    assert silence.looked(1033.0, 1034.0) is None


def test_one_that_was_silent_long_before_is_silent_at_the_first_look() -> None:
    assert Silence(LIMIT).looked(0.0, 1000.0) is SilenceChange.BEGAN


def test_where_there_was_no_sign_yet_it_is_counted_from_the_first_look() -> None:
    silence = Silence(LIMIT)
    assert silence.looked(None, 1000.0) is None
    assert silence.looked(None, 1030.0) is None
    assert silence.age_s(1030.0) == 30.0
    assert silence.looked(None, 1031.0) is SilenceChange.BEGAN


def test_what_was_not_looked_for_is_no_silence() -> None:
    """Kafka was away for a minute; the connector needs a moment too."""
    silence = Silence(LIMIT)
    silence.looked(1000.0, 1001.0)
    silence.blind()
    assert silence.looked(1000.0, 1061.0) is None
    assert silence.looked(1000.0, 1091.0) is None
    assert silence.looked(1000.0, 1092.0) is SilenceChange.BEGAN
    assert silence.age_s(1092.0) == 92.0


def test_a_silence_goes_on_while_nobody_can_look() -> None:
    silence = Silence(LIMIT)
    silence.looked(1000.0, 1031.0)
    silence.blind()
    assert silence.looked(1000.0, 1100.0) is None
    assert silence.is_silent
    assert silence.looked(1101.0, 1101.0) is SilenceChange.ENDED


def test_an_older_sign_does_not_make_it_older_and_a_clock_ahead_no_age_negative() -> None:
    silence = Silence(LIMIT)
    silence.looked(1000.0, 1000.0)
    silence.looked(900.0, 1001.0)
    assert silence.newest == 1000.0
    assert silence.age_s(990.0) == 0.0


def test_without_a_limit_nothing_is_silent() -> None:
    assert Silence(0).looked(0.0, 1e9) is None


class _Kafka:
    """What a look finds, and the time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.newest: dict[str, float | None] = {TOPIC: 1000.0}
        self.is_away = False
        self.watch = HeartbeatWatch(self.found, [TOPIC], LIMIT, lambda: self.now)

    def found(self) -> dict[str, float | None]:
        if self.is_away:
            raise ServerUnavailable("Kafka", "no")
        return self.newest

    def look(self, at: float) -> list[str]:
        """The actions of the lines that it wrote."""
        self.now = at
        with capture_logs() as lines:
            self.watch.look()
        return [line["action"] for line in lines]

    def age(self) -> float | None:
        registry = CollectorRegistry()
        registry.register(self.watch)
        found = registry.get_sample_value("cdc_source_heartbeat_age_seconds", {"topic": TOPIC})
        assert self.watch.age_s() == found
        return found


@pytest.fixture
def kafka() -> _Kafka:
    return _Kafka()


def test_it_is_told_when_it_begins_and_when_it_ends(kafka: _Kafka) -> None:
    assert kafka.look(1001.0) == []
    assert kafka.watch.unready() == ""
    assert kafka.look(1031.0) == ["source.silent"]
    assert kafka.look(1032.0) == []
    assert kafka.watch.unready() == f"no heartbeat in {TOPIC} for 32 s, more than 30"
    assert kafka.age() == 32.0
    kafka.newest = {TOPIC: 1040.0}
    kafka.now = 1041.0
    with capture_logs() as lines:
        kafka.watch.look()
    assert [(line["action"], line["silent_s"]) for line in lines] == [("source.heard", 41.0)]
    assert kafka.watch.unready() == ""
    assert kafka.age() == 1.0


def test_a_missing_topic_is_told_once_and_is_no_reason(kafka: _Kafka) -> None:
    kafka.newest = {}
    assert kafka.look(1001.0) == [], "the connector makes it with its first heartbeat"
    assert kafka.look(1030.0) == ["source.no_heartbeats"]
    assert kafka.look(1031.0) == []
    assert kafka.watch.unready() == ""
    assert kafka.age() is None
    kafka.newest = {TOPIC: 1050.0}
    assert kafka.look(1051.0) == []
    assert kafka.age() == 1.0


def test_a_topic_that_was_deleted_is_a_silence(kafka: _Kafka) -> None:
    kafka.look(1001.0)
    kafka.newest = {}
    assert kafka.look(1031.0) == ["source.silent"]


def test_kafka_away_is_no_silence_and_told_once(kafka: _Kafka) -> None:
    kafka.look(1001.0)
    kafka.is_away = True
    assert kafka.look(1031.0) == ["source.unknown"]
    assert kafka.look(1091.0) == []
    assert kafka.watch.unready() == ""
    kafka.is_away = False
    assert kafka.look(1092.0) == []
    assert kafka.look(1123.0) == ["source.silent"]
