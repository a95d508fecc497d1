"""schemas/ holds what the models and the rules say, and its AsyncAPI document is one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from consumer.mapping import file as mapping
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.planning.message_schema import asyncapi, channels, event_type
from schemas import FOLDER, documents, examples
from tests.docs.markdown import PROJECT
from tests.schemas.validation import validate

DOCUMENT = json.loads((FOLDER / "asyncapi.json").read_text(encoding="utf-8"))
# Of the npm package @asyncapi/specs 6.11.1, Apache-2.0.
SPECIFICATION = Path(__file__).parent / "asyncapi-3.0.0.schema.json.gz"


def test_the_files_are_what_the_models_and_the_rules_say() -> None:
    generated = documents()
    found = {file for file in FOLDER.rglob("*") if file.suffix in (".avsc", ".json")}
    assert found == set(generated), "run: make schemas"
    for file, content in generated.items():
        assert file.read_text(encoding="utf-8") == content, f"{file.name}: run make schemas"


def test_the_documents_channels_are_the_mappings() -> None:
    rules = reference()
    every = (*rules.consequences, rules.profile, rules.outside)
    named = {channel for each in every for channel in each.channels} | {rules.names.lifecycle_channel}
    assert set(DOCUMENT["channels"]) == named
    for name, models in channels(rules).items():
        assert set(DOCUMENT["channels"][name]["messages"]) == {event_type(model) for model in models}
    sends = {operation["channel"]["$ref"].rpartition("/")[2] for operation in DOCUMENT["operations"].values()}
    assert sends == named


@pytest.mark.parametrize(
    "rules",
    [reference(), mapping.load(PROJECT / "tests" / "unit" / "mapping" / "broker.toml")],
    ids=["reference", "broker"],
)
def test_the_document_is_valid_asyncapi(rules: Rules) -> None:
    with gzip.open(SPECIFICATION) as file:
        specification = json.load(file)
    document = json.loads(json.dumps(asyncapi(rules, examples(), "1.0.0")))
    jsonschema.Draft7Validator(specification).validate(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(specification).validate(document | {"chanels": {}})


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(target := value.get("$ref"), str):
            yield target
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _references(each)


def _at(pointer: str) -> Any:
    found = DOCUMENT
    for part in pointer.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def test_every_reference_leads_somewhere() -> None:
    targets = list(_references(DOCUMENT))
    assert targets
    assert all(_at(target) for target in targets)


def test_the_examples_are_valid_where_their_type_is_sent() -> None:
    shown = 0
    for name, channel in DOCUMENT["channels"].items():
        for kind in channel["messages"]:
            for example in DOCUMENT["components"]["messages"][kind]["examples"]:
                validate(name, example["payload"])
                shown += 1
    assert shown >= 5
    assert all(message["examples"] for message in DOCUMENT["components"]["messages"].values())
