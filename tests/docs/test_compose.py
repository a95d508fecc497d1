"""docker-compose.yml against the stack without Docker: same files, same settings, pinned images. No engine needed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

from consumer import __version__
from consumer.observability import metrics, probes
from consumer.settings.sections import Metrics as MetricsSettings
from consumer.settings.sources import Settings
from consumer.source.connect.client import load_connector
from consumer.source.connect.placeholder import PLACEHOLDER, expand
from tests.docs.markdown import PROJECT
from tests.support.stack import connect, kafka, mysql, redis
from tests.support.stack.images import IMAGES
from tests.support.stack.login import Logins
from tests.support.stack.machine import Apt

COMPOSE = PROJECT / "docker-compose.yml"
SET_UP = PROJECT / "deploy" / "mysql" / "set-up.sh"
# What differs between one machine and containers: addresses, listeners, files, names.
KAFKA_PLACES = {
    "listeners",
    "advertised.listeners",
    "listener.security.protocol.map",
    "controller.quorum.voters",
    "log.dirs",
}
# So that several stacks that mostly wait leave the processors to the tests.
IDLE = {"metadata.max.idle.interval.ms", "fetch.max.wait.ms"}
CONNECT_PLACES = {
    "listeners",
    "rest.advertised.host.name",
    "bootstrap.servers",
    "plugin.path",
    "group.id",
    *(f"{kind}.storage.topic" for kind in ("config", "offset", "status")),
}
# The image takes these without CONNECT_ in front; with it, its own defaults would win.
CONNECT_OWN = {"bootstrap.servers", "group.id", "key.converter", "value.converter", "offset.flush.interval.ms"}
# What the images' own Dockerfiles declare with VOLUME.
VOLUMES = {
    "mysql": {"/var/lib/mysql"},
    "kafka": {"/etc/kafka/secrets", "/mnt/shared/config", "/var/lib/kafka/data"},
    "connect": {"/kafka/config", "/kafka/data", "/kafka/logs"},
    "redis": {"/data"},
}
_SHELL_DEFAULT = re.compile(r"\$\{[A-Z_]+:-([^}]*)\}")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services, with the defaults of variables filled in."""
    found = yaml.safe_load(_SHELL_DEFAULT.sub(r"\1", COMPOSE.read_text()))
    return dict(found["services"])


def _environment(service: dict[str, Any]) -> dict[str, str]:
    values = service.get("environment", {})
    assert all(isinstance(value, str) for value in values.values()), "YAML would turn a bare number into another text"
    return dict(values)


def test_mysql_has_the_options_of_the_native_server(services: dict[str, Any]) -> None:
    given = dict(option.removeprefix("--").split("=", 1) for option in services["mysql"]["command"])
    assert given == {"mysqlx": "OFF", **mysql.BINLOG, **mysql.GTID, **mysql.COMMON, **mysql.SMALL}


def test_kafka_has_the_settings_of_the_native_broker(services: dict[str, Any]) -> None:
    given = _environment(services["kafka"])
    native = kafka.settings("127.0.0.1", 1, 2, Path("data"))
    wanted = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in native.items() if name not in IDLE}
    places = {f"KAFKA_{name.upper().replace('.', '_')}" for name in KAFKA_PLACES}
    assert wanted.keys() <= given.keys()
    assert given.keys() - wanted.keys() == {"KAFKA_INTER_BROKER_LISTENER_NAME"}
    assert {name: given[name] for name in wanted if name not in places} == {
        name: value for name, value in wanted.items() if name not in places
    }


def test_connect_has_the_settings_of_the_native_worker(services: dict[str, Any]) -> None:
    given = _environment(services["connect"])
    native = connect.settings("127.0.0.1", 1, "kafka:9092", Path("plugins"), flush_interval_ms=1_000)
    own = CONNECT_OWN | {name for name in native if name.endswith(".storage.topic")}
    for name, value in native.items():
        variable = name.upper().replace(".", "_")
        if name not in own:
            variable = f"CONNECT_{variable}"
        if name not in CONNECT_PLACES | IDLE:
            assert given[variable] == value, variable
    assert given["BOOTSTRAP_SERVERS"] == "kafka:9092"


def test_redis_has_the_settings_of_the_native_server(services: dict[str, Any]) -> None:
    program, *words = services["redis"]["command"]
    assert program == "redis-server"
    assert dict(zip(words[::2], words[1::2], strict=True)) == {f"--{key}": text for key, text in redis.DEFAULTS.items()}


def test_the_connector_is_the_native_one_with_every_placeholder_set(services: dict[str, Any]) -> None:
    service = services["connector"]
    values = _environment(service)
    assert service["command"] == ["connect", "apply", "/connect/mysql.json"]
    assert "./connect:/connect:ro" in service["volumes"]
    config = load_connector(PROJECT / "connect" / "mysql.json", values).config
    assert config["database.hostname"] in services
    assert config["schema.history.internal.kafka.bootstrap.servers"] == "kafka:9092"
    assert values["CDC_CONNECT__URL"] == "http://connect:8083"
    known = {match["name"] for match in PLACEHOLDER.finditer((PROJECT / "connect" / "mysql.json").read_text())}
    assert set(values) - known == {"CDC_CONNECT__URL"}


def test_the_connector_and_the_server_speak_of_one_account(services: dict[str, Any]) -> None:
    server, connector = _environment(services["mysql"]), _environment(services["connector"])
    for name in ("CDC_MYSQL_USER", "CDC_MYSQL_PASSWORD", "CDC_MYSQL_DATABASE"):
        assert server[name] == connector[name]
    assert server["MYSQL_DATABASE"] == server["CDC_MYSQL_DATABASE"]


def test_the_consumer_follows_what_the_connector_writes(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = _environment(services["consumer"])
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.kafka.topic_prefix == _environment(services["connector"])["CDC_TOPIC_PREFIX"]
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert settings.redis.url.get_secret_value() == "redis://redis:6379/0"
    # The Redis there comes back empty from each restart, and a rebuild that outgrows its memory needs a folder.
    assert settings.redis.when_emptied == "rebuild"
    assert services["consumer"]["tmpfs"] == ["/tmp"]
    assert f"127.0.0.1:9108:{settings.metrics.port}" in services["consumer"]["ports"]
    assert settings.database.url is not None
    url = make_url(settings.database.url.get_secret_value())
    password = _environment(services["mysql"])["CDC_READER_PASSWORD"]
    assert (url.drivername, url.host, url.database) == ("mysql", "mysql", "trading")
    assert (url.username, url.password) == (Logins().reader.user, password)


def test_the_connector_is_watched_by_a_service_and_by_the_consumer(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The health check asks the default port of metrics, which both serve."""
    watch = services["connector-watch"]
    assert watch["command"] == ["connect", "watch"]
    for service in (watch, services["consumer"]):
        for name, value in _environment(service).items():
            monkeypatch.setenv(name, value)
        settings = Settings()
        assert settings.connect.url == _environment(services["connector"])["CDC_CONNECT__URL"]
        assert settings.kafka.topic_prefix == _environment(services["connector"])["CDC_TOPIC_PREFIX"]
        assert settings.metrics.port == 9108
    assert watch["restart"] == "unless-stopped"
    assert [name for name, service in services.items() if "build" in service] == ["consumer"]


def test_images_are_pinned_and_those_of_the_tests(services: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in services.items()}
    assert {name: images[name] for name in ("mysql", "kafka", "redis")} == {
        name: IMAGES[name] for name in ("mysql", "kafka", "redis")
    }
    assert images["connect"] == f"quay.io/debezium/connect:{connect.DEBEZIUM}"
    assert images["kafka"].endswith(f":{kafka.VERSION}")
    assert images["consumer"] == images["connector"] == images["connector-watch"] == f"cdc-consumer:{__version__}"
    for image in images.values():
        assert re.fullmatch(r"[a-z0-9./-]+:\d+\.\d+\.\d+[\w.-]*", image), image


def test_ports_are_published_on_the_loopback_address_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert len(ports) == len(set(ports)) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_everything_that_stays_up_has_a_health_check_and_waits_for_it(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name != "connector":  # which ends
            assert service["healthcheck"]["test"], name
        for other, how in service.get("depends_on", {}).items():
            ends = other == "connector"
            assert how == {"condition": "service_completed_successfully" if ends else "service_healthy"}
    assert services["consumer"]["depends_on"].keys() == {"kafka", "redis", "connector"}


@pytest.mark.parametrize("is_up", [True, False])
@pytest.mark.parametrize("name", ["consumer", "connector-watch"])
def test_the_health_check_asks_healthz(services: dict[str, Any], name: str, is_up: bool) -> None:
    kind, program, *words = services[name]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "python")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    stop = (
        probes.serve(MetricsSettings(host="127.0.0.1", port=port), metrics.Metrics(), lambda: True)
        if is_up
        else lambda: None
    )
    try:
        environment = os.environ | {"CDC_METRICS__PORT": str(port)}
        ran = subprocess.run([sys.executable, *words], env=environment, capture_output=True, timeout=20, check=False)
    finally:
        stop()
    assert (ran.returncode == 0) is is_up


def test_mysql_has_the_time_that_it_needs_to_stop(services: dict[str, Any]) -> None:
    """11 to 13 s were measured with Debezium attached, and Docker's own limit is 10 s."""
    assert int(services["mysql"]["stop_grace_period"].removesuffix("s")) >= 30


def test_down_leaves_no_anonymous_volume(services: dict[str, Any]) -> None:
    """Each path that an image declares as a volume has a named one here, or a tmpfs."""
    named = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for name, paths in VOLUMES.items():
        mounts = [mount.split(":") for mount in services[name].get("volumes", ())]
        placed = {mount[1] for mount in mounts if mount[0] in named} | set(services[name].get("tmpfs", ()))
        assert paths <= placed, name


def test_mounted_files_exist_and_are_read_only(services: dict[str, Any]) -> None:
    mounts = [mount for service in services.values() for mount in service.get("volumes", ()) if mount.startswith(".")]
    for mount in mounts:
        path, _, mode = mount.split(":")
        assert (PROJECT / path).exists(), path
        assert mode == "ro"
    mounted = {mount.split(":")[0] for mount in mounts}
    schema = "./tests/support/stack/schema/mysql.sql"
    assert {"./connect/grants/mysql.sql", schema, "./deploy/mysql/set-up.sh"} <= mounted


def test_the_set_up_script_gives_the_sql_of_the_native_stack(services: dict[str, Any], tmp_path: Path) -> None:
    values = _environment(services["mysql"]) | {"CDC_MYSQL_PASSWORD": r"p&w/\1 ${HOME}"}
    ran = _set_up(tmp_path, values)
    assert ran.returncode == 0, ran.stderr
    wanted = [_without_comments(path) for path in (mysql.MySql.schema, mysql.MySql.grants)]
    sent = (tmp_path / "sent.sql").read_text()
    expected = "SET SESSION sql_log_bin = 0;\n" + expand("".join(wanted), values, "grants")
    assert [line for line in sent.splitlines() if line] == [line for line in expected.splitlines() if line]
    assert (tmp_path / "arguments").read_text().split() == ["--protocol=socket", "--user=root", "trading"]


def test_the_set_up_script_refuses_a_missing_value_by_name(services: dict[str, Any], tmp_path: Path) -> None:
    values = _environment(services["mysql"])
    del values["CDC_READER_PASSWORD"]
    ran = _set_up(tmp_path, values)
    assert ran.returncode != 0
    assert "CDC_READER_PASSWORD" in ran.stderr
    assert not (tmp_path / "sent.sql").exists()


def _without_comments(path: Path) -> str:
    return "".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("--"))


def _set_up(folder: Path, values: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the script with a client that keeps what it is given."""
    client = folder / "mysql"
    client.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments\ncat > {folder}/sent.sql\n')
    client.chmod(0o755)
    files = {"CDC_SCHEMA_FILE": str(mysql.MySql.schema), "CDC_GRANTS_FILE": str(mysql.MySql.grants)}
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", **files, **values}
    # As the image does with a file that is not executable: it reads it into its own shell.
    command = ["bash", "-c", f"set -eo pipefail; . {SET_UP}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)


def _compose() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            ran = subprocess.run([*command, "version"], capture_output=True, timeout=60, check=False)
            if ran.returncode == 0:
                return command
    return None


def _installed_in_ci(folder: Path) -> list[str] | None:
    """In CI nothing is skipped for want of a tool: it is installed."""
    if os.environ.get("CI") != "true":
        return None
    assert Apt.of_a_test(folder).install("docker-compose")
    return _compose()


def test_docker_compose_accepts_the_file(services: dict[str, Any], tmp_path: Path) -> None:
    command = _compose() or _installed_in_ci(tmp_path)
    if command is None:
        pytest.skip("docker compose is missing, and needs no engine for this: apt-get install docker-compose")
    ran = subprocess.run(
        [*command, "--file", str(COMPOSE), "config"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert yaml.safe_load(ran.stdout)["services"].keys() == services.keys()
