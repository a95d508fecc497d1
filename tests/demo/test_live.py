"""``python -m demo.live --exit``: the real servers, started by the command itself."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from demo.admin import STEPS
from tests.demo import commands

MISSING = 2


@pytest.mark.stack
def test_every_step_leads_to_what_it_should() -> None:
    shown = commands.run("demo.live", "--exit", timeout_s=240)
    if shown.returncode == MISSING and os.environ.get("CI") != "true":
        pytest.skip(shown.stderr.strip().splitlines()[-1])
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert shown.stdout.count("from commit to Redis") == len(STEPS) - 2  # of a password and a rollback nobody is told
    assert re.search(r"commit to Redis: median [\d.]+ ms, worst [\d.]+ ms, of 100 changes", shown.stdout)
    assert f"all {len(STEPS)} steps led to what they should" in shown.stdout


def test_a_missing_tool_is_one_clear_sentence(tmp_path: Path) -> None:
    shown = commands.run("demo.live", "--exit", extra={"PATH": str(tmp_path)})
    assert shown.returncode == MISSING
    assert "is missing; install it with" in shown.stderr
    assert "Traceback" not in shown.stderr
