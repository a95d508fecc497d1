"""The image is built a second time (`make image`): the same commit gives the same layers."""

from __future__ import annotations

import pytest

from tests.support.image.engine import Engine

pytestmark = pytest.mark.timeout(900)


def test_a_second_build_has_the_same_layers(image: Engine) -> None:
    """So a person who builds a commit gets the image that was published, if base and dependencies are the same."""
    if image.build is None:
        pytest.skip("Docker's builder puts the time of the build into its layers; Buildah is told a time")
    image.build("cdc-consumer:again")
    assert image.layers("cdc-consumer:again") == image.layers()
