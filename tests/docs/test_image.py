"""The Dockerfile, as far as it can be tested without an engine: what it copies, who it runs as, its health check."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys

import pytest

from consumer.observability import metrics, probes
from consumer.settings.sections import Metrics as MetricsSettings
from tests.docs.markdown import PROJECT

LINES = (PROJECT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()


def _all(instruction: str) -> list[str]:
    return [line.partition(" ")[2].strip() for line in LINES if line.startswith(f"{instruction} ")]


def test_base_images_are_pinned_and_one() -> None:
    images = {line.split()[0] for line in _all("FROM")}
    assert len(_all("FROM")) == 2
    (image,) = images
    assert re.fullmatch(r"python:3\.12\.\d+-slim-\w+", image)


def test_it_runs_the_consumer_as_nobody_in_particular() -> None:
    assert json.loads(_all("ENTRYPOINT")[-1]) == ["cdc-consumer"]
    assert json.loads(_all("CMD")[-1]) == ["run"]
    assert _all("USER") == ["10001"]


def test_what_it_copies_exists_and_is_in_the_build_context() -> None:
    allowed = [line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [word for line in _all("COPY") if not line.startswith("--from") for word in shlex.split(line)[:-1]]
    assert sorted(copied) == sorted(allowed)
    assert [name for name in copied if not (PROJECT / name).exists()] == []


def test_it_installs_the_versions_that_the_tests_ran_with() -> None:
    assert any("--constraint constraints.txt" in line for line in _all("RUN"))


@pytest.mark.parametrize("is_up", [True, False])
def test_the_health_check_asks_healthz(is_up: bool) -> None:
    check = json.loads(_all("HEALTHCHECK")[-1].partition("CMD ")[2])
    assert check[0] == "python"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    stop = (
        probes.serve(MetricsSettings(host="127.0.0.1", port=port), metrics.Metrics(), lambda: True)
        if is_up
        else lambda: None
    )
    try:
        environment = os.environ | {"CDC_METRICS__PORT": str(port)}
        ran = subprocess.run(
            [sys.executable, *check[1:]], env=environment, capture_output=True, timeout=20, check=False
        )
    finally:
        stop()
    assert (ran.returncode == 0) is is_up
