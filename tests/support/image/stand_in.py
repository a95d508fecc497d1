"""A base image for machines that reach no image registry: Debian with its own Python, under the base image's name."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.stack.native import Place

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
IS = f"Debian {SUITE} with the distribution's own Python"


def archive(place: Place) -> Path:
    """The root file system as a tar file, made once and kept in the cache. Needs root and debootstrap.

    Raises:
        StartFailed: debootstrap failed; shows the end of its log.
    """

    def fill(into: Path) -> None:
        root, log = into / "root", place.log("debootstrap")
        # In a mount namespace of its own, so that a broken run leaves no /proc behind.
        command = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        place.children.run([*command, SUITE, str(root)], log)
        for unneeded in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / unneeded)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        place.children.run(["tar", "--directory", str(root), "--create", "--file", str(into / "root.tar"), "."], log)
        shutil.rmtree(root)

    return place.installation(f"python-stand-in-{SUITE}", fill) / "root.tar"
