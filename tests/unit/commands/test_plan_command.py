"""`cdc-consumer plan` on recordings of more than one database, and of a topic of another name."""

from __future__ import annotations

import gzip
import json
import sys
from io import BufferedReader, BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from consumer.commands.cli import app
from consumer.commands.plan import cli as plan_command
from consumer.errors import CdcError, ConfigError
from consumer.events.record import SourceRecord
from consumer.source import recording

FIELD = Path(__file__).parents[2] / "recordings" / "field"


def planned(name: str, code: int = 0) -> list[dict[str, Any]]:
    ran = CliRunner().invoke(app, ["plan", str(FIELD / f"{name}.jsonl"), "--json"])
    assert ran.exit_code == code, ran.output
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.parametrize(("database", "taken"), [("", 0), ("trading", 0), ("trading_restore", 1), ("none", None)])
def test_it_follows_the_database_that_is_set_else_the_first(
    monkeypatch: pytest.MonkeyPatch, database: str, taken: int | None
) -> None:
    monkeypatch.setenv("CDC_SOURCE__DATABASE", database)
    found = planned("u-two-databases")
    assert [at for at, each in enumerate(found) if each["outcome"] == "planned"] == ([] if taken is None else [taken])
    left = [each["reason"] for each in found if each["outcome"] == "ignored"]
    assert all("which is not consumed" in reason for reason in left)
    assert len(left) == 2 - (taken is not None)


def ran(*args: str) -> tuple[int, str]:
    """The exit code, and what was said or raised."""
    found = CliRunner().invoke(app, ["plan", *args])
    assert found.exception is None or isinstance(found.exception, CdcError | SystemExit), found.exception
    fault = found.exception if isinstance(found.exception, CdcError) else None
    return (
        (found.exit_code, found.stdout) if fault is None else (2 if isinstance(fault, ConfigError) else 1, str(fault))
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"garbage", "no JSON"),
        (b'["a"]', "no JSON object"),
        (b'{"topic": 1}', "topic: should be str"),
        (b'{"topic": "a", "partition": 0, "off', "no JSON"),
    ],
)
def test_a_damaged_recording_is_no_difference(tmp_path: Path, line: bytes, said: str) -> None:
    """Exit code 1 would say that records are decided otherwise."""
    file = tmp_path / "changes.jsonl"
    file.write_bytes((FIELD / "u-two-databases.jsonl").read_bytes() + line + b"\n")
    code, text = ran(str(file), "--against", "reference")
    assert (code, text.startswith(f"FILE: {file}, line 3: ")) == (2, True)
    assert said in text


def test_a_recording_in_a_pipe_may_be_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    def piped(given: bytes) -> list[SourceRecord]:
        reader = BufferedReader(BytesIO(given))  # as standard input is
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(reader))
        return list(recording.read(Path("-")))

    plain = (FIELD / "u-two-databases.jsonl").read_bytes()
    assert piped(gzip.compress(plain)) == piped(plain) != []
    with pytest.raises(ConfigError, match="standard input: a damaged or incomplete gzip file"):
        piped(gzip.compress(plain)[:-9])
    with pytest.raises(ConfigError, match="standard input, line 1: not a line of a recording"):
        piped(b"garbage")


def test_nothing_compared_is_no_proof(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"")
    code, text = ran(str(empty), "--against", "reference")
    assert (code, text.splitlines()[1]) == (1, "no record was compared, so this says nothing about them")


def test_an_empty_recording_is_told(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"\n")
    found = CliRunner().invoke(app, ["plan", str(empty)])
    assert (found.exit_code, found.stdout, found.stderr) == (0, "", f"no record in {empty}\n")
    packed = tmp_path / "empty.jsonl.gz"
    packed.write_bytes(b"")
    code, text = ran(str(packed))
    assert (code, text.partition(" (")[0]) == (2, f"FILE: {packed}: a damaged or incomplete gzip file")
    packed.write_bytes(gzip.compress(b""))
    assert ran(str(packed))[0] == 0


def test_a_closed_standard_input_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match=r"^FILE: standard input: it is closed \("):
        list(recording.read(Path("-")))


def test_a_person_who_gives_no_recording_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command would wait for what nobody types."""
    monkeypatch.setattr(sys, "stdin", Mock(isatty=lambda: True))
    with pytest.raises(ConfigError) as refusal:
        plan_command._check(None, "", "", "", None)
    assert str(refusal.value) == "FILE: missing (fix: give a recording, or --from for the live topics)"


@pytest.mark.parametrize(("name", "said"), [("x" * 300, "File name too long"), ("loop", "Too many levels of symbolic")])
def test_a_file_that_can_not_be_saved_is_one_sentence(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    code, text = ran(str(FIELD / "u-two-databases.jsonl"), "--save", str(tmp_path / name))
    assert (code, text.startswith(f"--save: {tmp_path / name}: {said}")) == (2, True)


def test_the_option_with_a_mapping_that_is_not_there_is_named() -> None:
    code, text = ran(str(FIELD / "u-two-databases.jsonl"), "--against", "nowhere.toml")
    allowed = "allowed: a TOML file, or the word reference"
    assert (code, text) == (2, f"--against: nowhere.toml: No such file or directory ({allowed})")


def test_one_that_can_not_be_read_among_others() -> None:
    found = planned("y2-unreadable-in-routed-topic", 1)
    assert [each["outcome"] for each in found] == ["planned", "rejected", "planned"]
