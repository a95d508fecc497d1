"""The systemd unit, as far as systemd's own checks go without running it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.settings import accepted, longest_stop_s
from tests.docs.markdown import PROJECT
from tests.support.stack.machine import Apt

FOLDER = PROJECT / "deploy" / "systemd"
UNIT = FOLDER / "cdc-consumer.service"
WATCH = FOLDER / "cdc-connect-watch.service"
EXPOSED = 20
"""Tenths of systemd's points from 0 to 10: what it calls OK begins below 50."""


def _lines(file: Path) -> list[tuple[str, str]]:
    """Names and values, without comments and sections."""
    return re.findall(r"^([A-Za-z_]\w*)=(.*)$", file.read_text(), re.MULTILINE)


SETTINGS = dict(_lines(UNIT))


def _variables() -> dict[str, str]:
    own = [value.split("=", 1) for name, value in _lines(UNIT) if name == "Environment"]
    return {**dict(_lines(FOLDER / "cdc-consumer.env")), **{name: value.replace("%H", "host-1") for name, value in own}}


def _analyze(folder: Path) -> str:
    """In CI nothing is skipped for want of a tool: it is installed."""
    if shutil.which("systemd-analyze") is None and os.environ.get("CI") == "true":
        assert Apt.of_a_test(folder).install("systemd")
    if (found := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    return found


@pytest.fixture(params=[UNIT, WATCH], ids=lambda path: path.stem)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit with a program that is there."""
    file: Path = request.param
    copy = tmp_path / file.name
    program = str(Path(sys.executable).with_name("cdc-consumer"))
    copy.write_text(file.read_text().replace("/opt/cdc-consumer/bin/cdc-consumer", program))
    return copy


def _run(*words: str) -> str:
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_systemd_accepts_it_without_a_word(unit: Path, tmp_path: Path) -> None:
    assert _run(_analyze(tmp_path), "verify", str(unit)) == ""


def test_systemd_finds_it_hardly_exposed(unit: Path, tmp_path: Path) -> None:
    _run(_analyze(tmp_path), "security", "--offline=true", "--no-pager", f"--threshold={EXPOSED}", str(unit))


def test_variables_are_settings_that_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = accepted(_variables(), monkeypatch)
    assert settings.kafka.instance_id == "host-1"
    assert float(SETTINGS["TimeoutStopSec"]) > longest_stop_s(settings)


def test_a_wrong_setting_does_not_start_it_again() -> None:
    assert SETTINGS["Restart"] == "on-failure"
    assert SETTINGS["RestartPreventExitStatus"] == "2"
    assert SETTINGS["ExecStart"].endswith("/cdc-consumer run")


def test_the_watch_uses_the_same_program_and_file_and_a_port_of_its_own() -> None:
    watch, variables = dict(_lines(WATCH)), dict(_lines(FOLDER / "cdc-consumer.env"))
    program = SETTINGS["ExecStart"].removesuffix(" run")
    assert watch["ExecStart"].startswith(f"{program} connect watch --metrics-port ")
    assert watch["ExecStart"].rpartition(" ")[2] != variables["CDC_METRICS__PORT"]
    assert watch["EnvironmentFile"] == SETTINGS["EnvironmentFile"]
    assert "CDC_CONNECT__URL" in variables
    assert watch["RestartPreventExitStatus"] == "2"


def test_the_consumer_brings_the_watch_along() -> None:
    """And each ends alone: a watch that is stopped, or that can't start, leaves the consumer as it is."""
    assert WATCH.name in SETTINGS["Wants"].split()
    for settings, other in ((SETTINGS, WATCH), (dict(_lines(WATCH)), UNIT)):
        bound = [
            name for name in ("Requires", "Requisite", "BindsTo", "PartOf") if other.name in settings.get(name, "")
        ]
        assert bound == []
