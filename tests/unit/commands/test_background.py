"""Looks in a thread beside the loop."""

from __future__ import annotations

import threading

from structlog.testing import capture_logs

from consumer.commands.run.background import every


def test_a_look_that_fails_is_told_once_and_the_next_one_is_made() -> None:
    looks: list[str] = []
    enough, closed = threading.Event(), threading.Event()

    def look() -> None:
        looks.append(threading.current_thread().name)
        if len(looks) == 3:
            enough.set()
        raise ValueError("hunter2")

    with capture_logs() as lines:
        stop = every(0.0, look, "heartbeats", closed.set)
        assert enough.wait(10)
        stop()
    assert closed.is_set()
    assert set(looks) == {"heartbeats"}
    assert [line["action"] for line in lines] == ["background.failed"]
    assert lines[0]["error"] == "ValueError"
    assert lines[0]["where"].startswith(f"{__name__}:")
    assert "exc_info" not in lines[0]  # a console would show the local variables, which may be a row's values
    count = len(looks)
    assert not any(thread.name == "heartbeats" for thread in threading.enumerate())
    assert len(looks) == count
