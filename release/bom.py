"""The bill of materials of the wheel: CycloneDX, the same text for the same commit, pins and kind of machine.

It has no hashes of the packages: a package has another wheel for each kind of machine, and pip does not keep the hash
of what it installed. It names no download host for the same reason: where a user installs from is the user's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from release.dependencies import Tree

_NAME = "cdc-consumer"
_LICENCE = "Apache-2.0"


def document(tree: Tree, licences: Mapping[str, str], version: str, wheel_sha256: str, epoch: int) -> str:
    """The document as JSON. ``epoch``: seconds of the commit, its only time. Its serial number comes from the wheel."""
    of = LicenseFactory()
    wheel = Component(
        name=_NAME,
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref=f"{_NAME}=={version}",
        licenses=[of.make_from_string(_LICENCE)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel_sha256)],
    )
    packages = {
        each.name: Component(
            name=each.name,
            version=each.version,
            bom_ref=f"{each.name}=={each.version}",
            purl=PackageURL("pypi", name=each.name, version=each.version),
            licenses=[of.make_from_string(licences[each.name])],
        )
        for each in tree.packages
    }
    bom = Bom(
        components=packages.values(),
        metadata=BomMetaData(component=wheel, timestamp=datetime.fromtimestamp(epoch, UTC)),
        serial_number=UUID(hex=wheel_sha256[:32], version=4),
    )
    bom.register_dependency(wheel, [packages[name] for name in tree.direct])
    for each in tree.packages:
        bom.register_dependency(packages[each.name], [packages[name] for name in each.needs])
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"
