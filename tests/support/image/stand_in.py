"""A base image for machines that reach no image registry: Debian with its own Python, under the base image's name."""

from __future__ import annotations

from pathlib import Path

from tests.support.image import debian
from tests.support.stack.native import Place

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
IS = f"Debian {SUITE} with the distribution's own Python"


def archive(place: Place) -> Path:
    """The root file system as a tar file, made once and kept in the cache. Needs root and debootstrap.

    Raises:
        StartFailed: debootstrap failed; shows the end of its log.
    """
    return debian.archive(place, f"python-stand-in-{SUITE}", SUITE, PACKAGES, _finish)


def _finish(root: Path) -> None:
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
