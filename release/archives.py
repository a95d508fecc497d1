"""The sdist and the wheel: built with the pinned backend of the environment, the same bytes for the same commit."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from release import PROJECT, Refused


def build(folder: Path, epoch: int, project: Path = PROJECT) -> Mapping[str, str]:
    """Build both into the folder: file name to SHA-256.

    ``epoch`` is the time of every file in them, in seconds. Raises Refused with the backend's words if a build fails.
    """
    # Not isolated: an isolated build would take the newest backend from an index, and its archives would differ.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(project)]
    # The wheel is made from the unpacked sdist: what is missing in one is missing in both. Where it is unpacked is
    # no part of the archives.
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise Refused(f"the build failed:\n{ran.stdout}{ran.stderr}".rstrip())
    return {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.suffix in (".whl", ".gz")}


def build_twice(folder: Path, epoch: int, project: Path = PROJECT) -> Mapping[str, str]:
    """``build``, and once more elsewhere. Raises Refused, with the file's name, if the second has other bytes."""
    first = build(folder, epoch, project)
    with tempfile.TemporaryDirectory() as elsewhere:
        second = build(Path(elsewhere), epoch, project)
    if first != second:
        names = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
        raise Refused(f"two builds of one commit differ: {', '.join(names)}")
    return first


def sha256(file: Path) -> str:
    """In hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def committed_at(project: Path = PROJECT) -> int:
    """Seconds of the last commit. Raises Refused outside a repository."""
    return int(git(project, "log", "-1", "--format=%ct"))


def changed(project: Path = PROJECT) -> list[str]:
    """Every file that is not as the last commit has it, also one that git does not know, and does not ignore."""
    return git(project, "status", "--porcelain", "--untracked-files=all").splitlines()


def git(project: Path, *words: str) -> str:
    """What git prints. Raises Refused with its error."""
    ran = subprocess.run(["git", *words], cwd=project, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise Refused(f"git {words[0]}: {ran.stderr.strip()}")
    return ran.stdout
