"""The program's entry as the system starts it: output that can't be written, and Ctrl-C in its first moments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CLI = str(Path(sys.executable).with_name("cdc-consumer"))


@pytest.mark.parametrize("arguments", [["mapping"], ["--help"], ["--version"]])
def test_output_that_cannot_be_written_is_one_sentence(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run([CLI, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (
        1,
        "cdc-consumer: the output could not be written: No space left on device\n",
    )


def test_a_reader_who_has_enough_is_no_failure_to_speak_of() -> None:
    with subprocess.Popen([CLI, "mapping"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == ""
