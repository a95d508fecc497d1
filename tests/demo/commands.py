"""The demo's commands, run as a newcomer runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of this process, without the consumer's settings, and without colours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CDC_")}
    return {**kept, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", **(extra or {})}


def run(
    module: str, *arguments: str, extra: Mapping[str, str] | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=PROJECT,
        env=environment(extra),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
