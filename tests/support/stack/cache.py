"""Downloads that are made once per user and shared by every run."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Cache:
    """A directory of finished installations. What exists under its final name is complete."""

    def __init__(self, root: Path | None = None) -> None:
        home = os.environ.get("XDG_CACHE_HOME")
        self.root = root or (Path(home) if home else Path.home() / ".cache") / "cdc-consumer"

    def entry(self, name: str, fill: Callable[[Path], None]) -> Path:
        """The directory ``name``, made by ``fill`` if this is the first use.

        ``fill`` writes into a scratch directory that is renamed when it is done, so a broken download
        leaves nothing behind, and a lock lets a second run wait for the first instead of racing it.
        """
        final = self.root / name
        if final.is_dir():
            return final
        with self.lock(name):
            if final.is_dir():
                return final
            scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self.root))
            scratch.chmod(0o755)
            try:
                fill(scratch)
                scratch.rename(final)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        return final

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """One holder at a time, over all processes of this user; the kernel drops it with the holder."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f".{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
