"""The steps of a release: their order and end, the notes, and the answers of pip-audit."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from release import Refused, __main__, advisories, archives, steps
from release.advisories import Unknown
from release.dependencies import Package
from release.notes import notes
from tests.docs.markdown import PROJECT

PACKAGES = [Package(name, "1", ()) for name in ("one", "two")]


def test_the_steps_are_in_this_order() -> None:
    assert [name for name, _ in steps.release("1.2.3")] == [
        "every file is committed",
        "make test",
        "the tests left no file behind",
        "sdist, wheel, bill of materials, licences",
        "no known vulnerability",
        "release notes",
    ]


@pytest.mark.parametrize("kind", [Refused, Unknown])
def test_the_first_step_that_fails_ends_it_and_is_named(kind: type[Refused]) -> None:
    done: list[str] = []

    def fail() -> None:
        raise kind("the reason")

    with pytest.raises(kind, match=r"^second: the reason$"):
        steps.run(
            (("first", lambda: done.append("1")), ("second", fail), ("third", lambda: done.append("3"))), done.append
        )
    assert done == ["1/3 first", "1", "2/3 second"]


def test_tests_that_fail_are_a_failed_step() -> None:
    steps.run_tests([sys.executable, "-c", ""])
    with pytest.raises(Refused, match=r"ended with 7$"):
        steps.run_tests([sys.executable, "-c", "raise SystemExit(7)"])


def test_a_tree_with_a_file_that_is_not_committed_is_refused(tmp_path: Path) -> None:
    archives.git(tmp_path, "init", "--quiet")
    steps.clean(tmp_path)
    (tmp_path / "new.txt").touch()
    with pytest.raises(Refused, match=r"^not committed: new\.txt$"):
        steps.clean(tmp_path)


def test_dist_leaves_the_archives_and_what_is_in_them(tmp_path: Path) -> None:
    project, folder = tmp_path / "project", tmp_path / "dist"
    # Not this folder: other tests may write files into it between the two builds.
    archives.git(tmp_path, "clone", "--quiet", str(PROJECT), str(project))
    folder.mkdir()
    (folder / "of an earlier release").touch()
    steps.dist("1.2.3", folder, project)
    names = {file.name for file in folder.iterdir()}
    sums = dict(line.split("  ")[::-1] for line in (folder / steps.SUMS).read_text().splitlines())
    assert sums == {name: archives.sha256(folder / name) for name in names - {steps.SUMS}}
    assert {Path(name).suffix for name in names} == {"", ".gz", ".json", ".tsv", ".whl"}
    (wheel,) = (name for name in names if name.endswith(".whl"))
    (hashed,) = json.loads((folder / steps.BOM).read_text())["metadata"]["component"]["hashes"]
    assert hashed["content"] == sums[wheel]


def test_a_refused_licence_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("release.licences.stated", lambda _: "GPL-3.0-only")
    folder = tmp_path / "dist"
    folder.mkdir()
    with pytest.raises(Refused, match=r"redis: the licence GPL-3\.0-only"):
        steps.dist("1.2.3", folder)
    assert not folder.exists()


CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- One.\n\n## [0.1.0] - 2026-01-01\n\n- Old.\n"


def test_the_notes_are_the_section_unreleased() -> None:
    assert notes(CHANGELOG, "0.2.0") == "# cdc-consumer 0.2.0\n\n### Added\n\n- One.\n"


def test_this_changelog_gives_notes() -> None:
    text = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert notes(text, "99.0.0").count("\n- ") > 0


@pytest.mark.parametrize(
    ("changelog", "why"),
    [
        (CHANGELOG.replace("Unreleased", "0.2.0"), "a section 0.2.0 already"),
        (CHANGELOG.replace("- One.", ""), "nothing under Unreleased"),
        (CHANGELOG.replace("[Unreleased]", "Later"), "nothing under Unreleased"),
    ],
)
def test_a_changelog_without_notes_is_refused(changelog: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        notes(changelog, "0.2.0")


def _answer(*dependencies: Mapping[str, object]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def _good(name: str) -> dict[str, object]:
    return {"name": name, "version": "1", "vulns": []}


SKIPPED = {"name": "two", "skip_reason": "Dependency not found on PyPI and could not be audited: two (1)"}
BAD = {"name": "two", "version": "1", "vulns": [{"id": "CVE-2026-1", "fix_versions": ["2"], "aliases": []}]}


def _asking(answer: str) -> advisories.Ask:
    return lambda packages: _answer(_good("one")) if len(packages) == 1 else answer


def test_no_known_vulnerability_passes() -> None:
    advisories.check(PACKAGES, _asking(_answer(_good("one"), _good("two"))))


def test_a_known_vulnerability_is_named_also_beside_a_package_without_data() -> None:
    with pytest.raises(Refused, match=r"^known vulnerabilities: two CVE-2026-1$") as refused:
        advisories.check([*PACKAGES, Package("three", "1", ())], _asking(_answer(_good("one"), BAD)))
    assert not isinstance(refused.value, Unknown)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (_answer(_good("one"), SKIPPED), "no data about two$"),
        (_answer(_good("one")), "no data about two$"),
        ("ERROR: a traceback\nConnectionError: no route\n", "no data here: ConnectionError: no route$"),
        ("", "no data here: no answer$"),
        ("[]", "no data here"),
    ],
)
def test_no_data_are_no_pass(answer: str, why: str) -> None:
    """pip-audit itself ends with 0 if it skipped a package."""
    with pytest.raises(Unknown, match=f"^NOT CHECKED for known vulnerabilities, .*{why}"):
        advisories.check(PACKAGES, _asking(answer))


def test_without_data_about_the_first_package_the_others_are_not_asked_about() -> None:
    asked: list[int] = []

    def ask(packages: Sequence[Package]) -> str:
        asked.append(len(packages))
        return _answer({"name": "one", "skip_reason": "not found"})

    with pytest.raises(Unknown, match=r"no data about one$"):
        advisories.check(PACKAGES, ask)
    assert asked == [1]


@pytest.mark.parametrize(("fault", "code"), [(Refused("known"), 1), (Unknown("NOT CHECKED"), 3), (None, 0)])
def test_the_exit_code_tells_unknown_from_known(
    fault: Refused | None, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def audit() -> None:
        if fault is not None:
            raise fault

    monkeypatch.setattr("sys.argv", ["release", "audit"])
    monkeypatch.setattr(steps, "audit", audit)
    assert __main__.main() == code
    said = capsys.readouterr()
    assert (said.err or said.out).strip() == (
        f"release audit: {fault}" if fault else "No known vulnerability in the runtime dependencies."
    )
