"""The image, built from the Dockerfile and run as docker-compose.yml runs it: what a user gets, not the source tree."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from consumer import __version__
from tests.docs.markdown import PROJECT
from tests.e2e.feed import Feed, deposit
from tests.support.image.engine import HARDENED, Engine
from tests.support.redis_view import eventually

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900)]


def _service() -> dict[str, Any]:
    return dict(yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]["consumer"])


def test_it_runs_as_compose_runs_it() -> None:
    service = _service()
    assert service["read_only"] is True
    capabilities = [word for each in service["cap_drop"] for word in ("--cap-drop", each)]
    security = [word for each in service["security_opt"] for word in ("--security-opt", each)]
    assert ["--read-only", *capabilities, *security] == list(HARDENED)


def test_it_says_its_version(image: Engine) -> None:
    ran = image.run("--version")
    assert (ran.returncode, ran.stdout.strip()) == (0, __version__), ran.stderr


def test_it_explains_run(image: Engine) -> None:
    ran = image.run("run", "--help")
    assert ran.returncode == 0, ran.stderr
    assert "cdc-consumer run" in ran.stdout


def test_it_has_the_files_of_the_package(image: Engine) -> None:
    ran = image.run("grants", "mysql", environment={"CDC_MYSQL_PASSWORD": "p", "CDC_READER_PASSWORD": "q"})
    assert ran.returncode == 0, ran.stderr
    assert "IDENTIFIED BY 'q'" in ran.stdout


def test_without_servers_it_says_what_is_missing(image: Engine) -> None:
    nowhere = {"CDC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "CDC_REDIS__URL": "redis://127.0.0.1:1/0"}
    ran = image.run("check", environment=nowhere)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 1, said
    assert "no broker answers at 127.0.0.1:1" in said
    assert "Error 111 connecting to 127.0.0.1:1" in said
    assert "Traceback" not in said


def test_a_change_goes_through_it(image: Engine, feed: Feed) -> None:
    port = str(feed.stack.place.ports.take("metrics"))
    _, *health_check = _service()["healthcheck"]["test"]
    with image.container("run", environment={**feed.environment, "CDC_METRICS__PORT": port}) as container:
        feed.send(deposit(7, 0, wallet_balance="11500.500000"))
        eventually(lambda: feed.field(7, "wallet_balance") == "11500.50", 60)
        eventually(lambda: container.execute(*health_check).returncode == 0, 30)
        assert container.execute("id", "-u").stdout.strip() == "10001"
        # /tmp is for everybody: only the read-only file system can refuse it.
        assert "Read-only file system" in container.execute("touch", "/tmp/file").stderr
        eventually(lambda: feed.committed() == 1, 30)
        assert container.stop() == 0
        assert "Traceback" not in container.said()
