"""Mutations as data: which text of the package is put in place of which."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
FILES = sorted(Path(__file__).parent.glob("*.toml"))


class NotFound(Exception):
    """The text to replace does not stand there exactly once: the code has changed, and the mutation has to follow."""


@dataclass(frozen=True)
class Mutation:
    """One rule taken away. ``file`` is its path in the package."""

    rule: str
    title: str
    file: str
    find: str
    replace: str

    def applied(self, text: str) -> str:
        """``text`` with the rule taken away.

        Raises:
            NotFound: naming the mutation and the file.
        """
        if (count := text.count(self.find)) != 1:
            raise NotFound(f"{self.title!r}: the text to replace stands {count} times in consumer/{self.file}")
        return text.replace(self.find, self.replace)


@dataclass(frozen=True)
class Suite:
    """The mutations, and the tests that have to notice them: files or folders, and pytest's ``-k``."""

    mutations: list[Mutation]
    tests: list[str]
    select: str


def load() -> list[Suite]:
    """What the files say."""
    files = [tomllib.loads(each.read_text()) for each in FILES]
    return [Suite([Mutation(**each) for each in said["mutations"]], said["tests"], said["select"]) for said in files]


def copy(into: Path, mutation: Mutation | None = None) -> None:
    """The whole project, for tests import each other and the package by name; with the mutation applied."""
    shutil.copytree(PROJECT, into, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    if mutation is not None:
        file = into / "consumer" / mutation.file
        file.write_text(mutation.applied(file.read_text()))
