"""What this machine has, and what apt may add to it."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Self

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


# Another program of the machine may install something at this time. Runs of this project wait for each other by a lock.
_PATIENT = ("-q", "-o", "DPkg::Lock::Timeout=300")


class Apt:
    """Installs Debian packages where that is allowed: as root, with apt-get at hand.

    Every test that needs a package gets it here: two apt-get at a time fail, for one has the other's files locked.
    """

    @classmethod
    def of_a_test(cls, logs: Path) -> Self:
        """For a test without servers; the log goes to the folder ``logs``."""
        return cls(Cache(), Children(), logs)

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
        install = [apt_get, *_PATIENT, "install", "-y", "--no-install-recommends", *packages]
        with self._cache.lock("apt"):
            for command in (install, [apt_get, *_PATIENT, "update"], install):
                try:
                    self._children.run(command, self._log, environment=environment)
                except StartFailed:
                    continue
                if command is install:
                    return True
        return False

    def unpack(self, package: str, into: Path) -> None:
        """Unpack a package into a folder, without installing it.

        Raises:
            StartFailed: it can't be had.
        """
        with self._cache.lock("apt"):
            for command in ("update",), ("download", package):
                self._children.run(["apt-get", *_PATIENT, *command], self._log, cwd=into)
        (file,) = into.glob(f"{package}_*.deb")
        self._children.run(["dpkg-deb", "--extract", str(file), str(into)], self._log)


def _command(packages: Iterable[str]) -> str:
    return f"apt-get install {' '.join(packages)}"
