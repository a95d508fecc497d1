"""Workers that can't all be started."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from consumer.commands.run import workers
from consumer.commands.run.workers import Ended, supervise
from consumer.commands.shared.stop import Stop
from consumer.errors import ConfigError
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.settings.sections import Kafka, Metrics, Redis
from consumer.settings.sources import Settings


class Started:
    """Stands for a process. The third one can't be started."""

    def __init__(self, number: int, settings: Settings, rules: Rules) -> None:
        if number == 2:
            raise BlockingIOError("no more processes")
        self.is_running = False
        self.was_ended = False
        STARTED.append(self)

    def terminate(self) -> None:
        self.was_ended = True

    def finish(self) -> Ended:
        return Ended()


STARTED: list[Started] = []


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    STARTED.clear()
    monkeypatch.setattr(workers, "_Worker", Started)


def settings(port: int) -> Settings:
    redis, kafka = Redis(url=SecretStr("redis://127.0.0.1:1/0")), Kafka(topic_prefix="p")
    return Settings.model_construct(redis=redis, kafka=kafka, metrics=Metrics(port=port))


def test_a_port_that_the_last_worker_can_not_have_starts_none() -> None:
    with pytest.raises(ConfigError, match="worker 1 would listen on 65536"):
        supervise(settings(65_535), reference(), 2, Stop())
    assert STARTED == []


def test_if_a_worker_can_not_be_started_the_others_end() -> None:
    with pytest.raises(BlockingIOError):
        supervise(settings(0), reference(), 3, Stop())
    assert [each.was_ended for each in STARTED] == [True, True]
