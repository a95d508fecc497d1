"""The progress of a replay where there is no terminal: a line every few seconds, and no more."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from consumer.observability.progress import Progress


def test_every_five_seconds_it_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    now = 0.0
    with capture_logs() as lines, Progress(action="replay.progress", unit="offsets", clock=lambda: now) as progress:
        progress.begin("replay", 1000)
        for _ in range(12):
            now += 1.0
            progress.advance(50)
    assert [(line["read"], line["left"], line["per_s"], line["seconds_left"]) for line in lines] == [
        (250, 750, 50, 15),
        (500, 500, 50, 10),
    ]


def test_a_terminal_shows_a_bar_and_logs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    now = 0.0
    bar = Progress(action="explain.progress", unit="offsets", clock=lambda: now)
    with capture_logs() as lines, bar as progress:
        progress.begin("explain", 1000)
        now = 10.0
        progress.advance(500)
    assert lines == []
    said = capsys.readouterr().err
    assert "500 offsets, 50/s" in said
    assert "explain" in said
    assert "replay" not in said
