"""A run with --stack=docker, as far as it goes without an engine: which servers it asks for, and what it skips."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.docs.markdown import PROJECT
from tests.support.stack import docker
from tests.support.stack.fixtures import default_databases
from tests.support.stack.roster import DATABASES


def test_a_run_that_names_no_database_gets_those_that_its_stack_has() -> None:
    assert default_databases("docker") == docker.DATABASES == ("mysql",)
    assert default_databases("native") == default_databases("auto") == DATABASES


def test_tests_of_the_registry_are_skipped_with_the_reason() -> None:
    command = [sys.executable, "-m", "pytest", "--stack=docker", "-m", "registry", "-rs", "-p", "no:cacheprovider"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [*command, "tests/wire"], cwd=PROJECT, env=own, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout
    assert "the Docker stack has no schema registry" in ran.stdout
    assert " passed" not in ran.stdout
    assert " error" not in ran.stdout
