"""What `make compose-test` does where an image or an engine is missing, as far as no engine is needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from tests.docs.markdown import PROJECT, rows
from tests.support.engine import images, own
from tests.support.engine.choice import place
from tests.support.engine.docker import Docker
from tests.support.stack.errors import MissingTool


def test_every_image_of_the_compose_file_has_a_stand_in() -> None:
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    named = {service["image"] for service in services.values() if "build" not in service}
    built = services["consumer"]["image"]
    kinds = images.wanted()
    assert kinds.keys() >= named - {built}
    assert set(kinds.values()) == {*images.DIFFERS, "python"}
    for kind in images.DIFFERS:
        assert (images.FOLDER / kind / "Dockerfile").read_text().startswith(f"FROM {images.BASE}\n")


def test_the_page_says_of_every_image_what_stands_in_for_it() -> None:
    described = [name for (name,) in rows(PROJECT / "docs" / "containers.md", 1)]
    assert images.wanted().keys() <= set(described)


def test_without_an_engine_and_without_root_one_sentence_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with place(tmp_path) as where, pytest.raises(MissingTool) as missing, own.engine(where):
        pass
    assert "DOCKER_HOST" in str(missing.value)
    assert "or be root, and apt-get install debootstrap" in str(missing.value)
    assert "\n" not in str(missing.value)


def test_without_a_registry_and_without_root_one_sentence_names_the_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    nothing = Docker("has no image and pulls none", programs=tmp_path)
    with (
        place(tmp_path) as where,
        pytest.raises(MissingTool, match=r"^image mysql:[\d.]+ is missing; .*docker pull mysql:"),
    ):
        images.provided(nothing, where).__enter__()
