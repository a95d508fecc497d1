"""How log lines reach the stream."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from consumer.observability.log import configure
from consumer.settings.sections import Log


class Unbuffered(io.StringIO):
    """A stream that keeps each write by itself, as with PYTHONUNBUFFERED."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


def test_a_line_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several workers write to one stream: else two lines may stand on one."""
    stream = Unbuffered()
    monkeypatch.setattr("sys.stderr", stream)
    configure(Log(format="json"), worker=1)
    structlog.get_logger("test").info("said", action="a.test")
    (line,) = stream.writes
    assert line.endswith("}\n")
    assert json.loads(line)["action"] == "a.test"
