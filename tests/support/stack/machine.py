"""What this machine has, and what apt may add to it."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.support.stack.cache import Cache
from tests.support.stack.child import Children
from tests.support.stack.errors import MissingTool, StartFailed

INSTALLS = {
    "java": "apt-get install openjdk-17-jre-headless (17 or later)",
    "mvn": "apt-get install maven",
}


def program(name: str) -> str:
    """The path of a program that the stack needs and does not install by itself."""
    found = shutil.which(name)
    if found is None:
        raise MissingTool(name, INSTALLS[name])
    return found


def has_library(soname: str) -> bool:
    """Whether the dynamic linker finds a shared library."""
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


class Apt:
    """Installs Debian packages where that is allowed: as root, with apt-get at hand."""

    def __init__(self, cache: Cache, children: Children, logs: Path) -> None:
        self._cache = cache
        self._children = children
        self._log = logs / "apt.log"

    def libraries(self, wanted: dict[str, str]) -> None:
        """Make sure of shared libraries, given as soname -> Debian package."""
        missing = {soname: package for soname, package in wanted.items() if not has_library(soname)}
        if missing and not self.install(*missing.values()):
            raise MissingTool(", ".join(missing), _command(missing.values()))

    def install(self, *packages: str) -> bool:
        """Try to install; False where it may not or can't be done."""
        apt_get = shutil.which("apt-get")
        if apt_get is None or os.geteuid() != 0:
            return False
        # No package may start its service: invoke-rc.d starts nothing in run level 1.
        environment = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        install = [apt_get, "install", "-y", "-q", "--no-install-recommends", *packages]
        with self._cache.lock("apt"):
            for command in (install, [apt_get, "update", "-q"], install):
                try:
                    self._children.run(command, self._log, environment=environment)
                except StartFailed:
                    continue
                if command is install:
                    return True
        return False


def _command(packages: Iterable[str]) -> str:
    return f"apt-get install {' '.join(packages)}"
