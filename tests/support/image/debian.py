"""Debian's own packages as a root file system, where no image registry answers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.stack.native import Place

TOOLS = ("debootstrap", "debian-archive-keyring")


def can_bootstrap(place: Place) -> bool:
    """Whether this is root, and debootstrap is here or can be installed."""
    return os.geteuid() == 0 and (shutil.which("debootstrap") is not None or place.apt.install(*TOOLS))


def bootstrap(place: Place, suite: str, packages: Sequence[str], root: Path) -> None:
    """Make a root file system with ``packages`` at ``root``. Needs root and debootstrap.

    Raises:
        StartFailed: debootstrap failed; shows the end of its log.
    """
    # In a mount namespace of its own, so that a broken run leaves no /proc behind.
    command = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={','.join(packages)}"]
    place.children.run([*command, suite, str(root)], place.log("debootstrap"))
    for unneeded in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / unneeded)


def archive(
    place: Place, name: str, suite: str, packages: Sequence[str], finish: Callable[[Path], None] = lambda root: None
) -> Path:
    """The same as a tar file, made once and kept in the cache under ``name``. ``finish`` changes the root before."""

    def fill(into: Path) -> None:
        root = into / "root"
        bootstrap(place, suite, packages, root)
        finish(root)
        command = ["tar", "--directory", str(root), "--create", "--file", str(into / "root.tar"), "."]
        place.children.run(command, place.log("debootstrap"))
        shutil.rmtree(root)

    return place.installation(name, fill) / "root.tar"
