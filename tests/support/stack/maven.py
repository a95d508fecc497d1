"""Downloads by Maven coordinates, through the user's own Maven and its settings (mirrors, proxies)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from tests.support.stack.cache import Cache
from tests.support.stack.child import Children
from tests.support.stack.machine import program

POM = """<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>stack</groupId><artifactId>stack</artifactId><version>1</version>
  <dependencies>{dependencies}</dependencies>
</project>
"""


class Maven:
    """Runs ``mvn``, one at a time: two that fill one local repository at once can break its files."""

    def __init__(self, cache: Cache, children: Children, logs: Path) -> None:
        self._cache = cache
        self._children = children
        self._log = logs / "maven.log"

    def archive(self, artifact: str, into: Path) -> Path:
        """Download one file, ``group:name:version[:type[:classifier]]``, and return its path."""
        into.mkdir(parents=True, exist_ok=True)
        self._run(["dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={into}"], into)
        (file,) = (each for each in into.iterdir() if each.is_file())
        return file

    def libraries(self, artifacts: Sequence[str], into: Path) -> None:
        """Download ``group:name:version`` jars with everything they need at run time."""
        into.mkdir(parents=True, exist_ok=True)
        pom = into / "pom.xml"
        pom.write_text(POM.format(dependencies="".join(_dependency(each) for each in artifacts)))
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}"]
        self._run(["-f", str(pom), *goal], into)
        pom.unlink()

    def _run(self, arguments: list[str], cwd: Path) -> None:
        with self._cache.lock("maven"):
            self._children.run([program("mvn"), "-q", "-B", *arguments], self._log, cwd=cwd)


def _dependency(artifact: str) -> str:
    group, name, version = (escape(part) for part in artifact.split(":"))
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
        f"<version>{version}</version></dependency>"
    )
