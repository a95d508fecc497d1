"""The ``docker`` program with an engine behind it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.support.stack.errors import StackError
from tests.support.stack.login import PROJECT

# What docker-compose.yml takes from a person's environment: here its defaults count.
_OWN = ("CDC_", "MYSQL_", "COMPOSE_")


@dataclass(frozen=True)
class Docker:
    """Runs ``docker`` as a person does who types it in the checkout.

    ``programs``: a folder that comes first in PATH, with the ``docker`` to use.
    """

    description: str
    """Which engine it is, for a person."""
    environment: Mapping[str, str] = field(default_factory=dict)
    programs: Path | None = None

    def versions(self) -> str:
        """Those of the engine and of Compose."""
        engine = self.run("version", "--format", "{{.Server.Version}}").strip()
        return f"Docker Engine {engine}, Compose {self.run('compose', 'version', '--short').strip()}"

    def run(self, *arguments: str, timeout_s: float = 600, stdin: IO[bytes] | None = None) -> str:
        """What a command printed.

        Raises:
            StackError: it failed; with what it said.
        """
        ran = self.tried(*arguments, timeout_s=timeout_s, stdin=stdin)
        if ran.returncode:
            raise StackError(f"docker {' '.join(arguments)}: code {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def tried(
        self, *arguments: str, timeout_s: float = 600, stdin: IO[bytes] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command that may fail."""
        return self._run(["docker", *arguments], timeout_s, stdin)

    def shell(self, line: str, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        """A line of a document, as a shell runs it."""
        return self._run(["bash", "-c", line], timeout_s, None)

    def _run(
        self, command: Sequence[str], timeout_s: float, stdin: IO[bytes] | None
    ) -> subprocess.CompletedProcess[str]:
        machine = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
        if self.programs:
            machine["PATH"] = f"{self.programs}:{machine['PATH']}"
        return subprocess.run(
            command,
            cwd=PROJECT,
            env=machine | {"COMPOSE_DISABLE_ENV_FILE": "true"} | dict(self.environment),
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
