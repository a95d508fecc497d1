"""The files of ``init``: checked before anything is written, so that all are written or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from consumer.errors import ConfigError


def check_free(folder: Path, names: Iterable[str], *, force: bool) -> None:
    """Refuse to overwrite a file.

    Raises:
        ConfigError: one of the files exists, or the folder is no folder.
    """
    try:
        _check_free(folder, names, force=force)
    except OSError as error:  # a name that is too long
        raise ConfigError("--to", f"{folder}: {error.strerror}", allowed="a folder that this user may write") from None


def _check_free(folder: Path, names: Iterable[str], *, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigError("--to", f"{folder} is not a folder", allowed="a folder; it is created if it does not exist")
    for name in names:
        if not force and (folder / name).exists():
            fix = "give another folder, or --force to overwrite; to compare with the catalogue: --diff"
            raise ConfigError("--to", f"{folder / name} exists", fix=fix)


def write(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write the texts by name; the paths.

    Raises:
        ConfigError: a file can't be written.
    """
    paths = []
    for name, text in texts.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            problem = f"{folder / name} can't be written: {error.strerror}"
            raise ConfigError("--to", problem, allowed="a folder that this user may write") from None
        paths.append(folder / name)
    return paths
