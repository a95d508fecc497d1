"""Two builds of the same files are the same bytes, wherever and whenever they are made; and what is in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from release import Refused, archives
from tests.docs.markdown import PROJECT

EPOCH = 1_700_000_000


def _copied(folder: Path) -> Path:
    """The files that git knows, as they are now: another folder, other times of the files, no repository."""
    for name in archives.git(PROJECT, "ls-files").splitlines():
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Mapping[str, str]]:
    """The copied project, its archives, and their hashes."""
    project, folder = _copied(tmp_path_factory.mktemp("project")), tmp_path_factory.mktemp("archives")
    return project, folder, archives.build(folder, EPOCH, project)


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


def test_another_folder_other_times_and_other_rights_give_the_same_bytes(
    built: tuple[Path, Path, Mapping[str, str]], tmp_path: Path
) -> None:
    project, _, hashes = built
    moved = shutil.copytree(project, tmp_path / "another place", copy_function=shutil.copyfile)
    for file in moved.rglob("*"):
        os.utime(file, (1, 1_600_000_000))
        if file.is_file():
            file.chmod(0o600)
    assert len(hashes) == 2
    assert archives.build(tmp_path / "again", EPOCH, moved) == hashes


def test_builds_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    """A project whose archive holds the moment of its build."""
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "odd"\nversion = "1"\n[tool.hatch.build.hooks.custom]\n'
    )
    (tmp_path / "odd.py").touch()
    (tmp_path / "hatch_build.py").write_text(
        "import uuid, pathlib\nfrom hatchling.builders.hooks.plugin.interface import BuildHookInterface\n"
        "class Hook(BuildHookInterface):\n    def initialize(self, version, data):\n"
        "        pathlib.Path(self.root, 'odd.py').write_text(f'# {uuid.uuid4()}')\n"
    )
    with pytest.raises(Refused, match=r"differ: odd-1-py2\.py3-none-any\.whl, odd-1\.tar\.gz$"):
        archives.build_twice(tmp_path / "dist", EPOCH, tmp_path)


def test_a_build_that_fails_says_what_the_backend_says(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n[project]\nname = "odd"\n'
    )
    with pytest.raises(Refused, match="version"):
        archives.build(tmp_path / "dist", EPOCH, tmp_path)


def test_the_wheel_has_every_file_of_the_package_and_those_of_connect(
    built: tuple[Path, Path, Mapping[str, str]],
) -> None:
    project, folder, _ = built
    (wheel,) = folder.glob("*.whl")
    names = _names(wheel)
    package = {file.relative_to(project).as_posix() for file in (project / "consumer").rglob("*") if file.is_file()}
    connect = {
        f"consumer/commands/shared/connect/{file.relative_to(project / 'connect').as_posix()}"
        for file in (project / "connect").rglob("*")
        if file.suffix in (".json", ".sql")
    }
    assert len(connect) == 6
    assert any("/static/" in name for name in package)
    assert any("/templates/" in name for name in package)
    assert {name for name in names if ".dist-info/" not in name} == package | connect
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_can_be_built_from_the_sdist(built: tuple[Path, Path, Mapping[str, str]], tmp_path: Path) -> None:
    _, folder, hashes = built
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        opened.extractall(tmp_path, filter="data")
    (project,) = tmp_path.iterdir()
    again = archives.build(tmp_path / "again", EPOCH, project)
    (wheel,) = (name for name in hashes if name.endswith(".whl"))
    assert again[wheel] == hashes[wheel]


def test_a_file_that_is_not_committed_is_named(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    git("init", "--quiet")
    (tmp_path / "one").touch()
    git("add", "one")
    git("commit", "--quiet", "--message", "one")
    assert archives.changed(tmp_path) == []
    assert archives.committed_at(tmp_path) > EPOCH
    (tmp_path / "new folder").mkdir()
    (tmp_path / "new folder" / "two").touch()
    (tmp_path / "one").write_text("changed")
    assert [line[:2] for line in archives.changed(tmp_path)] == [" M", "??"]
