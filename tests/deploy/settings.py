"""Whether variables of a deployment are settings of this program, and are accepted."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from consumer.settings.sources import Settings, load
from consumer.source.clients.kafka_python_member import _CLOSE_TIMEOUT_MS, _COMMIT_TIMEOUT_MS
from tests.docs.markdown import PROJECT, rows

KNOWN = {name for (name,) in rows(PROJECT / "docs" / "settings.md", 1) if name.startswith("CDC_")}


def accepted(variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that these make, with every other at its default."""
    own = {name: value for name, value in variables.items() if name.startswith("CDC_")}
    assert own.keys() - KNOWN == set()
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    return load()


def longest_stop_s(settings: Settings) -> float:
    """How long a stop in good order may take: one answer of Redis, one commit there and in Kafka, and to leave."""
    return (2 * settings.redis.timeout_ms + _COMMIT_TIMEOUT_MS + _CLOSE_TIMEOUT_MS) / 1000
