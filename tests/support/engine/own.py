"""A Docker engine of the run's own, on a machine without one: Debian's packages in namespaces of their own.

Nothing of it is installed. The packages lie in the cache; what the engine writes lies in a temporary folder, and its
network, its mounts and its processes are its own. All of it goes at the end, and if the run is killed too; only empty
control groups may stay then.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.support.engine.docker import Docker
from tests.support.image import debian
from tests.support.stack.child import Child, tail
from tests.support.stack.errors import MissingTool, StartFailed
from tests.support.stack.login import PROJECT
from tests.support.stack.native import Place

SUITE = "trixie"
PACKAGES = (
    "ca-certificates",
    "docker-buildx",
    "docker-cli",
    "docker-compose",
    "docker.io",
    "iproute2",
    "iptables",
    "slirp4netns",  # the way out of a network namespace, without a bridge on the machine
)
STARTS_WITHIN_S = 60
PROGRAM = """#!/bin/sh
exec nsenter --target {init} --mount --root sh -c 'cd "$1" && shift && exec docker "$@"' sh "$PWD" "$@"
"""


@contextmanager
def engine(place: Place) -> Iterator[Docker]:
    """An engine until the end of the block.

    Raises:
        MissingTool: this is not root, or debootstrap is missing and can't be installed.
        StartFailed: the engine ended or did not answer; shows the end of its log.
    """
    if not debian.can_bootstrap(place):
        raise MissingTool(
            "a Docker engine with Compose",
            "any package of Docker, then set DOCKER_HOST if it is not at the usual place; "
            f"or be root, and apt-get install {' '.join(debian.TOOLS)}, for an engine of the run's own",
        )
    root = place.installation(f"docker-{SUITE}", lambda into: debian.bootstrap(place, SUITE, PACKAGES, into))
    folder = Path(tempfile.mkdtemp(prefix="cdc-engine-"))
    script = Path(__file__).with_name("own.sh")
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", str(script)]
    arguments = [str(root), str(folder), str(PROJECT), folder.name]
    try:
        child = place.children.spawn([*command, *arguments], place.log("engine"), remove=folder)
        try:
            yield _answering(child, folder, place)
        finally:
            child.kill()
    finally:
        shutil.rmtree(folder)
        _remove_control_groups(folder.name)


def _answering(child: Child, folder: Path, place: Place) -> Docker:
    programs = folder / "bin"
    programs.mkdir()
    deadline = time.monotonic() + STARTS_WITHIN_S
    while child.running and time.monotonic() < deadline:
        first = psutil.Process(child.pid).children()
        if first and (folder / "run" / "docker.sock").exists():
            program = programs / "docker"
            program.write_text(PROGRAM.format(init=first[0].pid))
            program.chmod(0o755)
            # The machine's own DOCKER_HOST and context are of another engine.
            here = {"DOCKER_HOST": "unix:///run/docker.sock", "HOME": "/root"}
            docker = Docker(f"an engine of this run's own, of Debian {SUITE}'s packages", here, programs)
            if docker.tried("version", timeout_s=20).returncode == 0:
                return docker
        time.sleep(0.1)
    log = place.log("engine")
    raise StartFailed("dockerd", "did not answer", str(log), tail(log))


def _remove_control_groups(name: str) -> None:
    """The kernel keeps the empty groups of containers that ended; in version 1 there is one for each kind of limit."""
    for top in (*Path("/sys/fs/cgroup").glob(name), *Path("/sys/fs/cgroup").glob(f"*/{name}")):
        for group in sorted((each for each in top.rglob("*") if each.is_dir()), reverse=True):
            with suppress(OSError):
                group.rmdir()
        with suppress(OSError):
            top.rmdir()
