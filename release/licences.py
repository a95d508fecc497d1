"""The licence of each package as an SPDX expression, and whether ``[tool.release]`` of pyproject.toml allows it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path

from license_expression import ExpressionError, LicenseSymbol, Licensing, get_spdx_licensing

from release import PROJECT, Refused
from release.dependencies import Package

_SPDX: Licensing = get_spdx_licensing()


@dataclass(frozen=True)
class Policy:
    """What may be used.

    ``allowed``: SPDX names. ``read``: by package, the licence that a person read, where the package's own words are no
    SPDX expression.
    """

    allowed: frozenset[str]
    read: Mapping[str, str]


def policy(file: Path = PROJECT / "pyproject.toml") -> Policy:
    """That of this checkout."""
    table = tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["release"]
    return Policy(frozenset(table["allowed-licences"]), table["licences-read"])


def stated(name: str) -> str:
    """What the installed package says of itself: its expression, or else its older free text. May be empty."""
    said = metadata(name)
    return next((said[field] for field in ("License-Expression", "License") if said[field]), "")


def licences(packages: Iterable[Package], rules: Policy, say: Callable[[str], str]) -> Mapping[str, str]:
    """Name to expression.

    Raises Refused with every package whose licence is not known or not allowed, so that one run shows them all.
    """
    found: dict[str, str] = {}
    faults = []
    for package in packages:
        text = rules.read.get(package.name) or say(package.name)
        expression = _parsed(text)
        if expression is None:
            faults.append(f"{package.name}: its licence is no SPDX expression: read it, and add it to licences-read")
        elif not _is_allowed(expression, rules.allowed):
            faults.append(f"{package.name}: the licence {expression} is not in allowed-licences")
        found[package.name] = str(expression)
    if unused := sorted(set(rules.read) - set(found)):
        faults.append(f"{', '.join(unused)}: in licences-read, and no runtime dependency")
    if faults:
        raise Refused("; ".join(faults))
    return found


def table(packages: Iterable[Package], found: Mapping[str, str]) -> str:
    """One line a package: name, version, licence, separated by tabs."""
    return "".join(f"{each.name}\t{each.version}\t{found[each.name]}\n" for each in packages)


def _parsed(text: str) -> LicenseSymbol | None:
    try:
        return _SPDX.parse(text, validate=True) if text.strip() else None
    except ExpressionError:
        return None


def _is_allowed(expression: LicenseSymbol, allowed: frozenset[str]) -> bool:
    """Of licences joined by OR the user takes one; of those joined by AND all hold."""
    if isinstance(expression, _SPDX.OR):
        return any(_is_allowed(each, allowed) for each in expression.args)
    if isinstance(expression, _SPDX.AND):
        return all(_is_allowed(each, allowed) for each in expression.args)
    return str(expression) in allowed
