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
    """The import of the command line is held up by a module that says so."""
    (tmp_path / "typer.py").write_text("import sys, time\nsys.stdout.write('.')\nsys.stdout.flush()\ntime.sleep(60)\n")
    child = subprocess.Popen(
        [sys.executable, "-m", "consumer"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert child.stdout is not None
    assert child.stdout.read(1) == b"."
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (130, b"")
