"""``python -m benchmarks`` on the real servers, made small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.markdown import PROJECT


@pytest.mark.stack
@pytest.mark.slow
def test_a_part_runs_by_itself_and_leaves_its_results(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--only", "latency", "--to", str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    (file,) = tmp_path.glob("*.json")
    first, *_ = json.loads(file.read_text())["latency"]
    assert [at["per_s"] for at in first["rates"]] == [100, 1000]
    assert all(0 < at["median"] <= at["p99"] <= at["most"] for at in first["rates"])
    assert "## Latency" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "latency.svg").exists()
    for name in tmp_path.iterdir():
        assert str(PROJECT) not in name.read_text()
