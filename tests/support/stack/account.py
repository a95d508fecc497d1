"""The system account that servers run under: database servers refuse to be root."""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

CANDIDATES = ("nobody", "daemon")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, written as the guard reads it."""

    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


def unprivileged() -> Account | None:
    """Who to be instead of root; None when this is not root and one may stay oneself."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise KeyError(f"root can't run a database server and none of {CANDIDATES} exists")


def own(directory: Path, account: Account | None) -> Path:
    """A new directory that ``account`` may write."""
    directory.mkdir(parents=True, exist_ok=True)
    if account:
        os.chown(directory, account.uid, account.gid)
    return directory


def own_copy(prepared: Path, target: Path, account: Account | None) -> Path:
    """A copy of a prepared directory, with all that is in it ``account``'s."""
    shutil.copytree(prepared, target)
    if account:
        for each in (target, *target.rglob("*")):
            os.chown(each, account.uid, account.gid)
    return target


def within_reach(installation: Path, directory: Path, account: Account | None) -> Path:
    """``installation``, or a copy of it in ``directory`` for an account that can't look into root's home.

    The copy is made of hard links where the file system allows: quick, and no space.
    """
    if account is None or all(parent.stat().st_mode & 0o001 for parent in installation.parents):
        return installation
    target = directory / installation.name
    if not target.exists():
        shutil.copytree(installation, target, symlinks=True, copy_function=_link_or_copy)
    return target


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
