"""What pip is told on this machine, for the build too: behind a proxy of a company, its certificate and its index."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

NAMES = ("cert", "index-url", "extra-index-url", "trusted-host")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def options(folder: Path) -> list[str]:
    """Options of ``buildah bud`` that mount what :func:`files` names. The image keeps none of it."""
    return [word for inside, path in files(folder).items() for word in ("--volume", f"{path}:{inside}:ro")]


def files(folder: Path) -> dict[str, Path]:
    """What pip reads in a container, and the file here: a pip.conf, written into ``folder``, and the certificates."""
    settings = _settings()
    found = {}
    if "cert" in settings:
        found[CERTIFICATES] = Path(settings["cert"])
        settings["cert"] = CERTIFICATES
    file = folder / "pip.conf"
    file.write_text("".join(["[global]\n", *(f"{name} = {value}\n" for name, value in settings.items())]))
    return found | {"/etc/pip.conf": file}


def _settings() -> dict[str, str]:
    """Those of ``NAMES`` that are set; a variable of the environment, which pip lists first, before a file."""
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=60, check=True
    )
    found: dict[str, str] = {}
    for line in ran.stdout.splitlines():
        name, _, value = line.partition("=")
        if (short := name.rpartition(".")[2]) in NAMES:
            found.setdefault(short, str(ast.literal_eval(value)))
    return found
