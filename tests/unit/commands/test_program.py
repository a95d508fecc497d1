"""The program's entry as the system starts it: output that can't be written, and Ctrl-C in its first moments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CLI = str(Path(sys.executable).with_name("cdc-consumer"))
RECORDING = Path(__file__).parents[2] / "recordings" / "field" / "u-two-databases.jsonl"


@pytest.mark.parametrize("arguments", [["mapping"], ["--help"], ["--version"]])
def test_output_that_cannot_be_written_is_one_sentence(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run([CLI, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (
        1,
        "cdc-consumer: the output could not be written: No space left on device\n",
    )


def test_a_reader_who_has_enough_is_no_failure_to_speak_of() -> None:
    """Exit code 1 would say that the command found something wrong."""
    with subprocess.Popen([CLI, "mapping"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == ""
    assert program.returncode == 128 + signal.SIGPIPE


def test_a_closed_output_is_one_sentence() -> None:
    ran = subprocess.run(["sh", "-c", 'exec "$0" mapping >&-', CLI], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (1, "cdc-consumer: the output could not be written: it is closed\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("arguments", [["--help"], ["mapping"], ["plan", "RECORDING", "--json"]])
def test_every_character_can_be_printed_in_every_locale(tmp_path: Path, encoding: str, arguments: list[str]) -> None:
    """In the locale C of Python without its UTF-8 mode, as in many containers and cron jobs."""
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('extends = "reference"\n[names]\nlifecycle_channel = "\u20ac"\n', encoding="utf-8")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": encoding}
    ran = subprocess.run(
        [CLI, *(str(RECORDING) if each == "RECORDING" else each for each in arguments)],
        capture_output=True,
        env=os.environ | locale | {"CDC_MAPPING": str(mapping)},
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    if arguments == ["mapping"]:
        assert tomllib.loads(ran.stdout.decode())["names"]["lifecycle_channel"] == "\u20ac"
