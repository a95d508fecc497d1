"""The program's end where its output can't be written, or it is interrupted before it has begun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).with_name("cdc-consumer"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
def test_output_that_can_not_be_written_is_one_sentence() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([PROGRAM, "mapping"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_interrupted_while_it_loads_it_ends_quietly(tmp_path: Path) -> None:
    """A module that the command line imports says so and does not end.

    It sleeps for short times: Python handles a signal that comes just before a sleep only after it.
    """
    (tmp_path / "typer.py").write_text("import time\nprint('.', flush=True)\nwhile True:\n    time.sleep(0.05)\n")
    # If the tests run in a shell's background, SIGINT is ignored here and in every child.
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    child = subprocess.Popen(
        [sys.executable, "-c", f"{heeds}; import runpy; runpy.run_module('consumer', run_name='__main__')"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert child.stdout is not None
    assert child.stdout.read(1) == b"."
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (130, b"")


def test_the_second_interrupt_ends_what_a_server_that_hangs_keeps_waiting() -> None:
    """A worker whose terminal was interrupted gets SIGTERM from its supervisor besides: that is one wish, not two."""
    listens = "from consumer.commands.shared.stop import Stop; Stop().listen(); print('.', flush=True)"
    waiting = f"import time; {listens}; [time.sleep(0.05) for _ in range(1200)]"
    with subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.read(1) == b"."
        for number in (signal.SIGINT, signal.SIGTERM):
            child.send_signal(number)
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.5)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (-signal.SIGINT, b"")
