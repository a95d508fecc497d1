"""The Dockerfile as a text: what it copies, who it runs as. tests/deploy/test_container.py builds it and runs it."""

from __future__ import annotations

import json
import re
import shlex

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


def test_it_has_no_health_check_of_its_own() -> None:
    """It would ask /healthz of every command, also of those that serve none."""
    assert _all("HEALTHCHECK") == []
