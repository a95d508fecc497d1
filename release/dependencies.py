"""The packages that a user gets with the wheel and all of its extras, in the versions of constraints.txt."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from release import PROJECT, Refused


@dataclass(frozen=True)
class Package:
    """One pinned package; ``needs`` has the canonical names of the packages that it needs here."""

    name: str
    version: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Tree:
    """The canonical names that the wheel itself needs, and every package below, in the order of their names."""

    direct: tuple[str, ...]
    packages: tuple[Package, ...]


Needs = Callable[[str, str], Sequence[str]]
"""Name and pinned version of a package to the requirements that it states."""


def runtime() -> Tree:
    """That of this checkout.

    Raises Refused, with the package's name, if one has no pin or is not installed as pinned.
    """
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    stated = [*project["dependencies"], *(each for extra in extras for each in extra)]
    return resolve(stated, pins(PROJECT / "constraints.txt"), installed_needs)


def pins(file: Path) -> Mapping[str, str]:
    """Canonical name to version. Raises Refused for a line that is no ``name==version``."""
    found: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if not (text := line.partition("#")[0].strip()):
            continue
        try:
            requirement = Requirement(text)
            (pin,) = requirement.specifier
        except (InvalidRequirement, ValueError):
            pin = None
        if pin is None or pin.operator != "==" or requirement.url is not None:
            raise Refused(f"{file.name}: not name==version: {text}")
        found[canonicalize_name(requirement.name)] = pin.version
    return found


def resolve(stated: Iterable[str], pinned: Mapping[str, str], needs: Needs) -> Tree:
    """Follow the requirements, with the extras that each asks for, on this Python and this kind of machine."""
    asked: dict[str, set[str]] = {}
    edges: dict[str, set[str]] = {}
    direct: set[str] = set()
    waiting = [(direct, Requirement(text), frozenset({""})) for text in stated]
    while waiting:
        parents, requirement, extras = waiting.pop()
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        name = canonicalize_name(requirement.name)
        if name not in pinned:
            raise Refused(f"{name}: needed at run time, and not pinned in constraints.txt")
        parents.add(name)
        wanted = {"", *requirement.extras}
        if name in asked and wanted <= asked[name]:
            continue
        asked[name] = asked.get(name, set()) | wanted
        below = edges.setdefault(name, set())
        waiting += [(below, Requirement(text), frozenset(asked[name])) for text in needs(name, pinned[name])]
    packages = (Package(name, pinned[name], tuple(sorted(edges[name]))) for name in sorted(edges))
    return Tree(tuple(sorted(direct)), tuple(packages))


def installed_needs(name: str, version: str) -> Sequence[str]:
    """What the installed package states. Raises Refused if another version is installed, or none."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        raise Refused(f"{name}: not installed, so its needs and its licence are not known") from None
    if found.version != version:
        raise Refused(f"{name}: {found.version} is installed, constraints.txt has {version}")
    return found.requires or ()
