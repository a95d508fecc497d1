"""How the stack's Java servers are run: small, and quick to start rather than fast for long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.stack.machine import program

FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.net.preferIPv4Stack=true")
LOG4J = """<Configuration status="WARN">
  <Appenders><Console name="out" target="SYSTEM_OUT">
    <PatternLayout pattern="%d{ISO8601} %-5p %c{1} %m%n"/>
  </Console></Appenders>
  <Loggers><Root level="INFO"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""


def no_options() -> Sequence[str]:
    """No more options of Java than those that every server has."""
    return ()


def command(
    home: Path, libraries: Path, main: str, *arguments: str, heap_mb: int = 512, options: Sequence[str] = ()
) -> list[str]:
    """Run class ``main`` with the jars of ``libraries``; ``home`` takes the logging configuration.

    ``options``: more options of Java.
    """
    logging = home / "log4j2.xml"
    logging.write_text(LOG4J)
    classes = ["-cp", f"{libraries}/*", main, *arguments]
    return [program("java"), f"-Xmx{heap_mb}m", *FLAGS, *options, f"-Dlog4j2.configurationFile={logging}", *classes]


def properties(path: Path, settings: dict[str, str]) -> Path:
    """Write a Java properties file (no value of ours needs escaping but backslashes)."""
    lines = (f"{key}={value}".replace("\\", "\\\\") for key, value in settings.items())
    path.write_text("\n".join(lines) + "\n")
    return path
