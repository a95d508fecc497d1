"""The README's installation, which takes a minute, is made once for all workers of a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.docs.test_readme import installed
from tests.support.stack.cache import Cache


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs in a fresh environment, made by the README's own lines."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "readme-installation"
    found = folder / "programs"
    with Cache(folder).lock("installation"):
        if not found.exists():
            found.write_text(str(installed(folder)))
    return Path(found.read_text())
