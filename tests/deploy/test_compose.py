"""docker-compose.yml brought up whole on a Docker engine (`make compose-test`): README's block, a change that reaches
Redis after each container was killed or restarted, and nothing left at the end.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from tests.docs.markdown import PROJECT, blocks
from tests.docs.test_readme import commands
from tests.support.engine import images
from tests.support.engine.choice import engine, place
from tests.support.engine.docker import Docker
from tests.support.redis_view import eventually
from tests.support.stack.errors import StackError

pytestmark = pytest.mark.timeout(1800)

UP, INSERT, HGETALL, LOGS, AUDIT, DOWN = next(
    found for text in blocks(PROJECT / "README.md", "sh") if "docker compose up" in (found := commands(text))[0]
)
SERVERS = ("mysql", "kafka", "connect", "redis")
PROGRAMS = ("connector-watch", "consumer")
ARRIVES_WITHIN_S = 300
"""Measured were 2 to 31 s, and two minutes on a machine where twenty processes waited for each processor."""


@dataclass(frozen=True)
class System:
    """The containers of docker-compose.yml, under a project name of this run."""

    docker: Docker
    project: str

    def line(self, line: str) -> str:
        """What a line of the README printed."""
        ran = self.docker.shell(line)
        assert ran.returncode == 0, f"{line}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def compose(self, *arguments: str) -> str:
        return self.docker.run("compose", *arguments)

    def sql(self, statement: str) -> None:
        """As the platform. A server that was just started may refuse."""
        words = ["mysql", "-utrading_app", "-ponly-for-development", "trading", f"--execute={statement}"]
        eventually(
            lambda: self.docker.tried("compose", "exec", "-T", "mysql", *words).returncode == 0,
            ARRIVES_WITHIN_S,
            f"MySQL takes no statement\n{self.said('mysql')}",
        )

    def balance(self, user: int) -> str:
        words = ["redis-cli", "HGET", f"user:{{live:{user}}}:config", "wallet_balance"]
        return self.docker.tried("compose", "exec", "-T", "redis", *words).stdout.strip()

    def container(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        name = self.compose("ps", "--all", "--quiet", service).strip()
        (found,) = json.loads(self.docker.run("inspect", name))
        return dict(found)

    def healthy(self, *services: str) -> None:
        """Return when the engine calls the containers healthy."""
        for service in services:
            eventually(partial(self._is_healthy, service), ARRIVES_WITHIN_S, f"{service} does not become healthy")

    def _is_healthy(self, service: str) -> bool:
        return bool(self.container(service)["State"]["Health"]["Status"] == "healthy")

    def follows(self) -> None:
        """A change of a row reaches Redis."""
        amount = f"{secrets.randbelow(10**6)}.25"
        self.sql(f"UPDATE live_users SET wallet_balance = {amount} WHERE id = 123")
        eventually(lambda: self.balance(123) == amount, ARRIVES_WITHIN_S, f"no change\n{self.said()}")

    def said(self, *services: str) -> str:
        return self.docker.tried("compose", "logs", "--no-color", "--tail", "20", *services).stdout

    def left(self, *kind: str) -> list[str]:
        """Names of what the engine has of this run: ``ps --all``, ``volume ls``, ``network ls``."""
        label = f"label=com.docker.compose.project={self.project}"
        return self.docker.run(*kind, "--quiet", "--filter", label).split()

    def volumes(self) -> set[str]:
        """All volumes, of whatever name: an anonymous one bears no label of Compose."""
        return set(self.docker.run("volume", "ls", "--quiet").split())


@pytest.fixture(scope="module")
def docker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """An engine that has the images. What is missing ends the run with exit code 2: nothing else can be tested."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with ExitStack() as held:
        where = held.enter_context(place(tmp_path_factory.mktemp("compose")))
        try:
            with capture.global_and_fixture_disabled():
                docker = held.enter_context(engine(where))
                where.announcer.say(f"Docker: {docker.description}, {docker.versions()}")
                made = held.enter_context(images.provided(docker, where))
                if made:
                    where.announcer.say(f"NOT the published images, but stand-ins: {', '.join(made)}")
        except StackError as missing:
            pytest.exit(str(missing), returncode=2)
        yield docker


@pytest.fixture(scope="module")
def before(docker: Docker) -> set[str]:
    """The engine's volumes before anything was started."""
    return System(docker, "").volumes()


@pytest.fixture(scope="module")
def system(docker: Docker, before: set[str]) -> Iterator[System]:
    """All services, brought up by README's line."""
    project = f"cdc-test-{secrets.token_hex(3)}"
    running = System(replace(docker, environment={**docker.environment, "COMPOSE_PROJECT_NAME": project}), project)
    try:
        running.line(UP)
        yield running
    except BaseException as error:
        error.add_note(running.said())
        raise
    finally:
        running.docker.tried("compose", "down", "--volumes", "--remove-orphans")


def test_the_block_of_the_readme(system: System) -> None:
    system.line(INSERT)
    eventually(lambda: "wallet_balance\n10000.50\n" in system.line(HGETALL), ARRIVES_WITHIN_S, system.said())
    assert '"action": "run.following"' in system.line(LOGS)
    assert system.line(AUDIT).splitlines()[-1] == "1 users compared, 0 wrong (100.000000% right)"


def test_every_service_is_well(system: System) -> None:
    system.healthy(*SERVERS, *PROGRAMS)
    assert system.container("connector")["State"]["ExitCode"] == 0
    # One image for all commands, and not all of them serve what its health check would ask.
    (image,) = json.loads(system.docker.run("image", "inspect", system.container("consumer")["Config"]["Image"]))
    assert not image["Config"].get("Healthcheck")


@pytest.mark.parametrize("service", PROGRAMS)
def test_the_programs_may_do_little(system: System, service: str) -> None:
    host = system.container(service)["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert system.compose("exec", "-T", service, "id", "-u").strip() == "10001"
    assert system.docker.tried("compose", "exec", "-T", service, "touch", "/etc/file").returncode != 0


def test_a_rebuild_has_a_place_for_what_its_memory_does_not_hold(system: System) -> None:
    system.compose("exec", "-T", "consumer", "python", "-c", "import tempfile; tempfile.TemporaryFile().close()")


def test_programs_on_the_host_reach_the_servers(system: System) -> None:
    """By the published ports, as `check` there does; and these are on the loopback address alone."""
    where = {
        "CDC_KAFKA__BOOTSTRAP_SERVERS": "localhost:9092",
        "CDC_REDIS__URL": "redis://localhost:6379/0",
        "CDC_CONNECT__URL": "http://localhost:8083",
        "CDC_DATABASE__URL": "mysql://cdc_reader:only-for-development@127.0.0.1:3306/trading",
    }
    options = [word for name, value in where.items() for word in ("--env", f"{name}={value}")]
    image = system.container("consumer")["Config"]["Image"]
    system.docker.run("run", "--rm", "--network", "host", *options, image, "audit")
    for service in (*SERVERS, "consumer"):
        published = system.container(service)["NetworkSettings"]["Ports"]
        assert {each["HostIp"] for port in published.values() for each in port or ()} == {"127.0.0.1"}


@pytest.mark.parametrize("service", [*SERVERS, *PROGRAMS])
def test_a_change_follows_after_a_container_was_killed(system: System, service: str) -> None:
    system.compose("kill", service)
    assert system.container(service)["State"]["ExitCode"] == 137
    system.compose("start", service)
    system.follows()
    system.healthy(service)


def test_a_redis_that_came_back_empty_has_everybody_again(system: System) -> None:
    """Also a user whose row does not change afterwards."""
    system.sql(
        "REPLACE INTO live_users (id, name, email, password, wallet_balance) "
        "VALUES (124, 'Bob', 'bob@example.com', 'hash', 7.25)"
    )
    eventually(lambda: system.balance(124) == "7.25", ARRIVES_WITHIN_S, system.said("consumer"))
    system.compose("restart", "redis")
    eventually(lambda: system.balance(124) == "7.25", ARRIVES_WITHIN_S, system.said("consumer"))


@pytest.mark.parametrize("service", PROGRAMS)
def test_the_engine_starts_a_program_that_died(system: System, service: str) -> None:
    """Its process is killed, not the container: as a fault of the program is."""
    began = system.container(service)["State"]["StartedAt"]
    script = (
        "import os, pathlib\n"
        "for each in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "    if b'cdc-consumer' in each.read_bytes() and int(each.parent.name) not in (1, os.getpid()):\n"
        "        os.kill(int(each.parent.name), 9)\n"
    )
    system.docker.tried("compose", "exec", "-T", service, "python", "-c", script)
    eventually(
        lambda: (state := system.container(service)["State"])["Running"] and state["StartedAt"] != began,
        ARRIVES_WITHIN_S,
        f"{service} was not started again",
    )
    system.healthy(service)
    system.follows()


def test_a_change_follows_after_the_database_was_restarted(system: System) -> None:
    """Debezium's task fails then, and stays failed: connector-watch starts it again."""
    system.compose("stop", "mysql")
    assert system.container("mysql")["State"]["ExitCode"] == 0, "the engine killed it"
    system.compose("start", "mysql")
    system.follows()
    assert '"action": "connector.restarted"' in system.compose("logs", "connector-watch")


def test_down_keeps_the_data_and_no_volume_without_a_name(system: System, before: set[str]) -> None:
    system.compose("down")
    assert system.left("ps", "--all") == system.left("network", "ls") == []
    names = ("mysql", "kafka", "connect-config", "connect-data", "connect-logs")
    assert system.volumes() - before == {f"{system.project}_{name}" for name in names}
    system.line(UP)
    system.follows()
    eventually(lambda: system.balance(124) == "7.25", ARRIVES_WITHIN_S, system.said("consumer"))


def test_readmes_last_line_leaves_nothing(system: System, before: set[str]) -> None:
    system.line(DOWN)
    assert system.left("ps", "--all") == system.left("network", "ls") == []
    assert system.volumes() == before
