"""The steps of a release, in their order. The first that fails ends it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from release import PROJECT, Refused, advisories, archives, bom, dependencies, licences
from release.notes import notes

DIST = PROJECT / "dist"
BOM, LICENCES, SUMS, NOTES = "sbom.cdx.json", "licences.tsv", "SHA256SUMS", "release-notes.md"
Step = tuple[str, Callable[[], object]]


def release(version: str) -> Sequence[Step]:
    """All steps. Nothing is published."""
    return (
        ("every file is committed", clean),
        ("make test", run_tests),
        ("the tests left no file behind", clean),
        ("sdist, wheel, bill of materials, licences", lambda: dist(version)),
        ("no known vulnerability", audit),
        ("release notes", lambda: write_notes(version)),
    )


def run(steps: Sequence[Step], say: Callable[[str], object]) -> None:
    """Do one after the other. Raises what a step raises, with the step's name if it is Refused."""
    for number, (name, step) in enumerate(steps, 1):
        say(f"{number}/{len(steps)} {name}")
        try:
            step()
        except Refused as fault:
            raise type(fault)(f"{name}: {fault}") from None


def clean(project: Path = PROJECT) -> None:
    """Raises Refused with the first files that are not committed."""
    if found := archives.changed(project):
        raise Refused(f"not committed: {', '.join(line[3:] for line in found[:5])}{', …' if found[5:] else ''}")


def run_tests(command: Sequence[str] = ("make", "test")) -> None:
    """Raises Refused if the tests fail. What they print is shown as they print it."""
    if (code := subprocess.run(command, cwd=PROJECT, check=False).returncode) != 0:
        raise Refused(f"{' '.join(command)} ended with {code}")


def dist(version: str, folder: Path = DIST, project: Path = PROJECT) -> None:
    """Both archives, built twice, and beside them their hashes, the bill of materials and the licences.

    Raises Refused if two builds differ, or a licence is not allowed. Then the folder is not there.
    """
    shutil.rmtree(folder, ignore_errors=True)
    tree = dependencies.runtime()
    found = licences.licences(tree.packages, licences.policy(), licences.stated)
    epoch = archives.committed_at(project)
    with tempfile.TemporaryDirectory() as built:
        hashes = archives.build_twice(Path(built), epoch, project)
        folder.mkdir(parents=True)
        for name in hashes:
            shutil.copyfile(Path(built) / name, folder / name)
    (wheel,) = (each for name, each in hashes.items() if name.endswith(".whl"))
    texts = {
        BOM: bom.document(tree, found, version, wheel, epoch),
        LICENCES: licences.table(tree.packages, found),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    every = {**hashes, **{name: archives.sha256(folder / name) for name in texts}}
    (folder / SUMS).write_text("".join(f"{each}  {name}\n" for name, each in sorted(every.items())))


def audit() -> None:
    """Raises Refused with what is known of the runtime dependencies, and advisories.Unknown if nothing can be known."""
    advisories.check(dependencies.runtime().packages)


def write_notes(version: str, folder: Path = DIST) -> None:
    """Raises Refused if the changelog has none for this version."""
    text = notes((PROJECT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NOTES).write_text(text, encoding="utf-8")
