"""The manifests for Kubernetes, without a cluster: their schemas, their settings, and that they fit each other."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from consumer import __version__
from tests.deploy.settings import accepted, longest_stop_s
from tests.docs.markdown import PROJECT

FOLDER = PROJECT / "deploy" / "kubernetes"
VERSIONS = ("1.29", "1.34")
KEDA = json.loads(gzip.decompress(Path(__file__).with_name("keda-2.20.2.schema.json.gz").read_bytes()))
# The Kafka scaler's of KEDA 2.20, as far as they may stand in a trigger's metadata.
KAFKA_TRIGGER = {
    *("bootstrapServers", "consumerGroup", "topic", "partitionLimitation", "version", "tls", "unsafeSsl", "sasl"),
    *("lagThreshold", "activationLagThreshold", "offsetResetPolicy", "allowIdleConsumers", "excludePersistentLag"),
    *("scaleToZeroOnInvalidOffset", "limitToPartitionsWithLag", "ensureEvenDistributionOfPartitions"),
}
DOCUMENTS: dict[tuple[str, str], dict[str, Any]] = {
    (document["kind"], document["metadata"]["name"]): document
    for file in sorted(FOLDER.glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
    if document["kind"] != "Kustomization"
}
SET = DOCUMENTS["StatefulSet", "cdc-consumer"]["spec"]
POD = SET["template"]["spec"]
(CONTAINER,) = POD["containers"]
PODS: dict[str, dict[str, Any]] = {
    name: document["spec"]["template"]["spec"]
    for (kind, name), document in DOCUMENTS.items()
    if kind in ("StatefulSet", "Deployment")
}
COMMANDS = {"cdc-consumer": ["run"], "cdc-consumer-audit": ["audit", "--watch"], "cdc-consumer-api": ["api"]}
COMMANDS["cdc-connect-watch"] = ["connect", "watch"]
SCALING = DOCUMENTS["ScaledObject", "cdc-consumer"]["spec"]
each_pod = pytest.mark.parametrize("pod", PODS.values(), ids=list(PODS))


def _environment(container: dict[str, Any] = CONTAINER) -> dict[str, str]:
    """What it is given."""
    kinds = {"configMapRef": ("ConfigMap", "data"), "secretRef": ("Secret", "stringData")}
    found: dict[str, str] = {}
    for each in container["envFrom"]:
        ((reference, named),) = each.items()
        kind, part = kinds[reference]
        found |= DOCUMENTS[kind, named["name"]][part]
    for each in container.get("env", ()):
        found[each["name"]] = each["value"] if "value" in each else _looked_up(each["valueFrom"])
    return found


def _looked_up(source: dict[str, Any]) -> str:
    if source == {"fieldRef": {"fieldPath": "metadata.name"}}:
        return "cdc-consumer-0"
    of_secret = source["secretKeyRef"]
    return str(DOCUMENTS["Secret", of_secret["name"]]["stringData"][of_secret["key"]])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", DOCUMENTS, ids=" ".join)
def test_the_schemas_of_kubernetes_and_keda_accept_them(name: tuple[str, str], version: str) -> None:
    document = DOCUMENTS[name]
    if document["apiVersion"].startswith("keda.sh/"):
        jsonschema.validate(document, _closed(KEDA[document["kind"]]))
    else:
        kubernetes_validate.validate(document, version, strict=True)


def _closed(schema: Any) -> Any:
    """A schema that does not accept what it does not name: a misspelt field would be passed over."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(each) for name, each in schema.items()}
    is_object = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    # That of metadata is Kubernetes' own, and not told here.
    return {"additionalProperties": False, **closed} if is_object else closed


def test_a_misspelt_field_is_noticed() -> None:
    wrong = {**DOCUMENTS["ScaledObject", "cdc-consumer"], "spec": {**SCALING, "maxReplicas": 3}}
    with pytest.raises(jsonschema.ValidationError, match="maxReplicas"):
        jsonschema.validate(wrong, _closed(KEDA["ScaledObject"]))


def test_kustomize_takes_every_file_but_the_pattern_of_the_secret() -> None:
    resources = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert sorted([*resources, "kustomization.yaml", "secret.example.yaml"]) == sorted(
        file.name for file in FOLDER.iterdir()
    )


def test_variables_are_settings_that_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = accepted(_environment(), monkeypatch)
    assert settings.kafka.instance_id == "cdc-consumer-0"
    assert settings.log.format == "json"


def test_no_secret_stands_outside_the_secret() -> None:
    text = "".join(file.read_text() for file in FOLDER.glob("*.yaml") if file.name != "secret.example.yaml")
    for value in DOCUMENTS["Secret", "cdc-consumer"]["stringData"].values():
        assert value not in text or value == "cdc-consumer"


def test_each_container_is_the_image_with_a_command_of_its_own() -> None:
    user = next(
        line.split()[1] for line in (PROJECT / "Dockerfile").read_text().splitlines() if line.startswith("USER")
    )
    for name, pod in PODS.items():
        (container,) = pod["containers"]
        assert container["image"] == f"cdc-consumer:{__version__}"
        assert container["args"] == COMMANDS[name]
        assert pod["securityContext"]["runAsUser"] == int(user)
    assert PODS.keys() == COMMANDS.keys()


def test_the_image_has_what_the_commands_import() -> None:
    installed = re.search(r"whl\)\[([a-z,]+)\]", (PROJECT / "Dockerfile").read_text())
    assert installed
    assert {"api", "mysql", "postgres"} <= set(installed[1].split(","))


@each_pod
def test_it_may_do_nothing_but_its_work(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False, "its variables begin with CDC_"
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"].keys() == {"requests", "limits"}
    assert container["resources"]["limits"].keys() == {"cpu", "memory"}


def test_the_audit_and_the_api_are_where_they_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    audit, api = (PODS[name]["containers"][0] for name in ("cdc-consumer-audit", "cdc-consumer-api"))
    settings = accepted(_environment(audit) | _environment(api), monkeypatch)
    assert settings.database.url is not None
    assert settings.api.token is not None
    assert audit["ports"] == [{"name": "metrics", "containerPort": settings.metrics.port}]
    assert api["ports"] == [{"name": "http", "containerPort": settings.api.port}]
    assert settings.api.host == "0.0.0.0"  # inside its pod
    (port,) = DOCUMENTS["Service", "cdc-consumer-api"]["spec"]["ports"]
    assert port["targetPort"] == "http"
    for name in ("cdc-consumer-audit", "cdc-consumer-api"):
        spec = DOCUMENTS["Deployment", name]["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]


def test_the_watch_knows_connect_and_is_restarted_when_it_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = PODS["cdc-connect-watch"]["containers"]
    settings = accepted(_environment(container), monkeypatch)
    assert "url" in settings.connect.model_fields_set
    assert container["ports"] == [{"name": "metrics", "containerPort": settings.metrics.port}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    spec = DOCUMENTS["Deployment", "cdc-connect-watch"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]


def test_probes_ask_what_they_should_and_wait_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = accepted(_environment(), monkeypatch)
    (port,) = CONTAINER["ports"]
    assert port == {"name": "metrics", "containerPort": settings.metrics.port}
    assert CONTAINER["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert CONTAINER["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert CONTAINER["readinessProbe"]["timeoutSeconds"] > settings.redis.timeout_ms / 1000
    annotations = SET["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(settings.metrics.port)


def test_a_stop_has_the_time_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = accepted(_environment(), monkeypatch)
    assert POD["terminationGracePeriodSeconds"] > longest_stop_s(settings)


def test_all_select_the_same_pods() -> None:
    labels = SET["template"]["metadata"]["labels"]
    assert SET["selector"]["matchLabels"] == labels
    assert DOCUMENTS["Service", SET["serviceName"]]["spec"]["selector"] == labels
    assert DOCUMENTS["PodDisruptionBudget", "cdc-consumer"]["spec"]["selector"]["matchLabels"] == labels
    assert "replicas" not in SET, "KEDA's are the replicas"
    assert SET["podManagementPolicy"] == "Parallel", "behind a backlog no pod is ready"


def test_keda_follows_the_same_group_on_the_same_brokers_and_makes_no_idle_member() -> None:
    given = _environment()
    target = SCALING["scaleTargetRef"]
    assert (target["kind"], target["name"]) in DOCUMENTS
    (trigger,) = SCALING["triggers"]
    metadata = trigger["metadata"]
    assert metadata.keys() <= KAFKA_TRIGGER
    assert all(isinstance(value, str) for value in metadata.values())
    assert metadata["bootstrapServers"] == given["CDC_KAFKA__BOOTSTRAP_SERVERS"]
    assert metadata["consumerGroup"] == given["CDC_KAFKA__GROUP_ID"]
    connector = json.loads((PROJECT / "connect" / "mysql.json").read_text())["config"]
    partitions = connector["topic.creation.default.partitions"]
    assert partitions == f"${{CDC_PARTITIONS:-{SCALING['maxReplicaCount']}}}"
    secret = DOCUMENTS["TriggerAuthentication", trigger["authenticationRef"]["name"]]["spec"]["secretTargetRef"]
    assert {(each["name"], each["key"]) for each in secret} <= {
        ("cdc-consumer", key) for key in DOCUMENTS["Secret", "cdc-consumer"]["stringData"]
    }
