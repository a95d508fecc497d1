"""The notes of a release: what the changelog has under Unreleased."""

from __future__ import annotations

import re

from release import Refused

_HEADING = re.compile(r"^## +\[?([^\]\n]+?)\]?(?: .*)?$", re.MULTILINE)


def notes(changelog: str, version: str) -> str:
    """The section, under a heading with the version.

    Raises Refused if there is none, if it is empty, or if the version has a section already: that was released.
    """
    found = list(_HEADING.finditer(changelog))
    ends = [*(each.start() for each in found[1:]), len(changelog)]
    sections = {each[1]: changelog[each.end() : end].strip() for each, end in zip(found, ends, strict=True)}
    if version in sections:
        raise Refused(f"CHANGELOG.md has a section {version} already: raise the version in pyproject.toml")
    body = sections.get("Unreleased", "")
    if not re.search(r"^[-*] ", body, re.MULTILINE):
        raise Refused("CHANGELOG.md says nothing under Unreleased")
    return f"# cdc-consumer {version}\n\n{body}\n"
