"""Known vulnerabilities of the runtime dependencies, as pip-audit finds them in the data of the package index.

pip-audit ends with 0 also if the index answered nothing about a package: it only lists the package as skipped. Here
that is no pass but an answer of its own, Unknown.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from release import Refused
from release.dependencies import Package

Ask = Callable[[Sequence[Package]], str]
"""Packages to pip-audit's JSON answer, or to other text if it has none."""
_LIMIT_S = 15
_WHOLE_LIMIT_S = 900


class Unknown(Refused):
    """The data can't be had here, or not for every package: nothing is known, neither good nor bad."""


def check(packages: Sequence[Package], ask: Ask | None = None) -> None:
    """Return if no vulnerability of any package is known.

    Raises Refused with packages and vulnerabilities, and Unknown if there are no data. One package is asked about
    first: where the index has no data, the others would only wait for the same answer.
    """
    ask = ask or pip_audit
    _judge(packages[:1], ask(packages[:1]))
    _judge(packages, ask(packages))


def _judge(packages: Sequence[Package], answer: str) -> None:
    try:
        audited = {each["name"]: each for each in json.loads(answer)["dependencies"]}
    except (ValueError, KeyError, TypeError):
        last = (answer.strip().splitlines() or ["no answer"])[-1]
        raise Unknown(f"NOT CHECKED for known vulnerabilities, there are no data here: {last}") from None
    found = [f"{name} {vuln['id']}" for name, each in sorted(audited.items()) for vuln in each.get("vulns", ())]
    if found:
        raise Refused(f"known vulnerabilities: {', '.join(found)}")
    silent = [each.name for each in packages if "vulns" not in audited.get(each.name, {})]
    if silent:
        raise Unknown(f"NOT CHECKED for known vulnerabilities, the index has no data about {', '.join(silent)}")


def pip_audit(packages: Sequence[Package]) -> str:
    """Ask the package index about pinned packages, without installing one. A wait has an end."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pins.txt"
        file.write_text("".join(f"{each.name}=={each.version}\n" for each in packages))
        command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
        command += ["--no-deps", "--disable-pip", "--timeout", str(_LIMIT_S), "--requirement", str(file)]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_WHOLE_LIMIT_S)
        except subprocess.TimeoutExpired:
            return f"no answer within {_WHOLE_LIMIT_S} s"
    return ran.stdout if ran.stdout.strip() else ran.stderr
