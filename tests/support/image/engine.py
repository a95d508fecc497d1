"""Builds the image and runs containers of it: with Docker where an engine answers, else with Buildah and Podman.

Buildah and Podman need no daemon. Their images lie in a temporary folder, which goes at the end.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.image import machine_pip, stand_in
from tests.support.stack import docker
from tests.support.stack.errors import MissingTool, StartFailed
from tests.support.stack.login import PROJECT
from tests.support.stack.native import Place

TAG = "cdc-consumer:tested"
EPOCH = "1577836800"
"""The time that Buildah gives to all files, as the Dockerfile does to the rest: any will do, if it is the same."""
PACKAGES = ("buildah", "podman", "runc", "debootstrap", "debian-archive-keyring")
# As docker-compose.yml has them.
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true")
# Debian's crun and Podman's own limits need CAP_SYS_RESOURCE, which a container that runs the tests may lack. The image
# must need no place to write: without the second line Podman would mount a writable /tmp.
PODMAN = ("--cgroups=enabled", "--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000", "--read-only-tmpfs=false")


@dataclass(frozen=True)
class Container:
    """A container that runs."""

    words: Sequence[str]
    name: str

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        return _run([*self.words, "exec", self.name, *command])

    def said(self) -> str:
        ran = _run([*self.words, "logs", self.name])
        return ran.stdout + ran.stderr

    def stop(self) -> int:
        """Ask it to end as an orchestrator does, with SIGTERM; its exit code."""
        _run([*self.words, "stop", "--time", "30", self.name])
        return int(_run([*self.words, "inspect", "--format", "{{.State.ExitCode}}", self.name]).stdout)


@dataclass(frozen=True)
class Engine:
    """The built image. ``words`` begin each command, ``options`` are those of each container, ``base`` says what the
    image was built on. ``build``: builds it once more, with all files of one time, under another name.
    """

    words: Sequence[str]
    options: Sequence[str]
    base: str
    build: Callable[[str], None] | None = None

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """One command of the image, to its end."""
        return _run([*self.words, "run", "--rm", *self._options(environment or {}), TAG, *arguments])

    def layers(self, tag: str = TAG) -> list[str]:
        """The digests of an image's layers."""
        (found,) = json.loads(_run([*self.words, "image", "inspect", tag]).stdout)
        return list(found["RootFS"]["Layers"])

    @contextmanager
    def container(self, *arguments: str, environment: Mapping[str, str]) -> Iterator[Container]:
        """A container until the end of the block; what it said goes with whatever fails in there."""
        container = Container(self.words, f"cdc-{secrets.token_hex(4)}")
        options = ["--detach", "--name", container.name, *self._options(environment)]
        try:
            started = _run([*self.words, "run", *options, TAG, *arguments])
            assert started.returncode == 0, started.stderr
            yield container
        except BaseException as error:
            error.add_note(f"the container said:\n{container.said()}")
            raise
        finally:
            _run([*self.words, "rm", "--force", container.name])

    def _options(self, environment: Mapping[str, str]) -> list[str]:
        given = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        return ["--network", "host", *HARDENED, *self.options, *given]


@contextmanager
def built(place: Place) -> Iterator[Engine]:
    """The image of this checkout, until the end of the block.

    Raises:
        MissingTool: no engine answers, and Buildah and Podman are missing and can't be installed.
        StartFailed: the build failed; shows the end of its log.
    """
    if shutil.which("docker") and docker.answers():
        with place.announcer.step("building the image with Docker"):
            place.children.run(["docker", "build", "--tag", TAG, str(PROJECT)], place.log("image"))
        try:
            yield Engine(["docker"], (), base())
        finally:
            _run(["docker", "image", "rm", "--force", TAG])
        return
    _install(place)
    with _folder() as folder:
        storage = _storage(folder)
        podman = ["podman", *storage, "--runtime", "runc"]
        on = _base(place, podman)
        # Without a user namespace and without a network of its own, so that it works inside a container too.
        options = ["--isolation", "chroot", "--network", "host", "--pull-never", "--no-cache", "--timestamp", EPOCH]
        command = ["buildah", *storage, "bud", *options, *machine_pip.options(folder)]

        def build(tag: str) -> None:
            with place.announcer.step(f"building the image with Buildah, on {on}"):
                place.children.run([*command, "--tag", tag, str(PROJECT)], place.log("image"))

        build(TAG)
        yield Engine(podman, PODMAN, on, build)


def base() -> str:
    """The image that the Dockerfile begins with."""
    lines = (PROJECT / "Dockerfile").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("FROM "))


def _install(place: Place) -> None:
    wanted = ("buildah", "podman", "runc", "debootstrap")
    if not all(map(shutil.which, wanted)) and not place.apt.install(*PACKAGES):
        raise MissingTool("a Docker engine, or Buildah and Podman,", f"apt-get install {' '.join(PACKAGES)}, as root")


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="cdc-image-"))
    try:
        yield folder
    finally:
        for mounted in (folder / "images" / "overlay", folder / "images"):
            if mounted.is_mount():
                subprocess.run(["umount", str(mounted)], check=False, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def _storage(folder: Path) -> list[str]:
    """Overlay where this machine may mount one: a container starts in half a second. Else vfs, which copies it all."""
    places = ["--root", str(folder / "images"), "--runroot", str(folder / "run")]
    overlay = [*places, "--storage-driver", "overlay"]
    if _run(["podman", *overlay, "info"]).returncode == 0:
        return overlay
    shutil.rmtree(folder / "images", ignore_errors=True)
    shutil.rmtree(folder / "run", ignore_errors=True)
    return [*places, "--storage-driver", "vfs"]


def _base(place: Place, podman: Sequence[str]) -> str:
    """Bring the base image into the storage, the real one where a registry answers. Says which one it is."""
    name = f"docker.io/library/{base()}"
    try:
        place.children.run(["timeout", "120", *podman, "pull", "--quiet", name], place.log("pull"))
    except StartFailed as failed:
        place.announcer.say(
            f"{base()} can't be pulled, so the base is a stand-in: {stand_in.IS}. {failed.tail.splitlines()[-1]}"
        )
    else:
        return base()
    place.children.run([*podman, "import", "--quiet", str(stand_in.archive(place)), name], place.log("image"))
    return f"a stand-in for {base()}: {stand_in.IS}"


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
