"""The images that docker-compose.yml and the Dockerfile name: those that are there, else a registry's, else stand-ins.

A stand-in has the name of the real image and differs from it: Debian's base system and packages, the servers that the
native stack runs, and an entrypoint of stand_in/ that does what the real one does with what the file gives it.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.support.engine.docker import Docker
from tests.support.image import debian, machine_pip
from tests.support.image import engine as image
from tests.support.image import stand_in as python
from tests.support.stack import connect, kafka, mysql
from tests.support.stack.errors import MissingTool
from tests.support.stack.login import PROJECT
from tests.support.stack.native import Place

BASE = "cdc-stand-in:base"
SUITE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "curl",
    "libaio1",
    "libnuma1",
    "mariadb-client-core",  # MySQL's archive has no client
    "openjdk-17-jre-headless",
    "redis-server",
)
FOLDER = Path(__file__).with_name("stand_in")
DIFFERS = {
    "mysql": f"MySQL {mysql.VERSION}, with MariaDB's client",
    "kafka": f"Kafka {kafka.VERSION} on Java 17, without its other scripts",
    "connect": f"Kafka Connect {kafka.VERSION} with Debezium {connect.DEBEZIUM} for MySQL alone, on Java 17",
    "redis": f"the Redis of Debian {SUITE}",
}


def wanted() -> dict[str, str]:
    """Names of images, and of what each one is: a service, or ``python`` for the Dockerfile's base."""
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    (built,) = (service["image"] for service in services.values() if "build" in service)
    found = {service["image"]: name for name, service in services.items() if service["image"] != built}
    return found | {image.base(): "python"}


@contextmanager
def provided(docker: Docker, place: Place) -> Iterator[list[str]]:
    """Have every image in the engine; answers the names of the stand-ins that were made.

    At the end these are removed: a real image of the name must be pulled the next time that somebody asks for it.

    Raises:
        StackError: a stand-in can't be made.
    """
    made: list[str] = []
    try:
        for name, kind in wanted().items():
            if docker.tried("image", "inspect", name).returncode == 0:
                place.announcer.say(f"image {name}: it is there already")
            elif (pulled := docker.tried("pull", "--quiet", name, timeout_s=1800)).returncode == 0:
                place.announcer.say(f"image {name}: pulled")
            else:
                place.announcer.say(f"image {name} can't be pulled: {(pulled.stderr.splitlines() or [''])[-1]}")
                made.append(name)
                with place.announcer.step(f"image {name}: making a stand-in, {DIFFERS.get(kind, python.IS)}"):
                    _make(docker, place, name, kind)
        yield made
    finally:
        if made:
            docker.tried("image", "rm", "--force", BASE, *made)


def _make(docker: Docker, place: Place, name: str, kind: str) -> None:
    if not debian.can_bootstrap(place):
        raise MissingTool(
            f"image {name}",
            f"docker pull {name}, or build one of that name; or be root on Debian, where a stand-in is made",
        )
    if kind == "python":
        _import(docker, python.archive(place), name)
        # What pip needs on this machine, for the Dockerfile: the stand-in stays here, and goes with the run.
        settings = machine_pip.files(place.directory("pip"))
        copied = "".join(f"COPY {inside[1:]} {inside}\n" for inside in settings)
        file = place.directory("pip") / "Dockerfile"
        file.write_text(f"FROM {name}\n{copied}")
        _build(docker, name, {"Dockerfile": file} | {inside[1:]: path for inside, path in settings.items()})
        return
    if docker.tried("image", "inspect", BASE).returncode:
        _import(docker, debian.archive(place, f"server-stand-in-{SUITE}", SUITE, PACKAGES), BASE)
    _build(docker, name, {".": FOLDER / kind} | _servers(place, kind))


def _servers(place: Place, kind: str) -> dict[str, Path]:
    """What the native stack runs, by the names that the Dockerfile of the stand-in has for it."""
    if kind == "mysql":
        return {"server": mysql.installation(place)}
    if kind == "kafka":
        return {"libs": kafka.libraries(place)}
    if kind == "connect":
        return {"libs": kafka.libraries(place), "plugins": connect.plugin(place, "mysql")}
    return {}


def _import(docker: Docker, archive: Path, name: str) -> None:
    with archive.open("rb") as file:
        docker.run("import", "-", name, stdin=file)


def _build(docker: Docker, name: str, context: Mapping[str, Path]) -> None:
    """Build from files and folders, by their names in the context. It is sent: an engine may not see our files."""
    with tempfile.TemporaryFile() as file:
        # Docker takes Python's own format for a Dockerfile.
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT, dereference=True) as tar:
            for inside, path in context.items():
                tar.add(path, arcname=inside)
        file.seek(0)
        docker.run("build", "--quiet", "--tag", name, "-", stdin=file)
