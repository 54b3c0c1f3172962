"""What a bundle is made of and needs, as a bill of materials (CycloneDX 1.6, by its library)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgefm.core.errors import missing_extra
from edgefm.tflite.contract import Contract


@dataclass(frozen=True, kw_only=True)
class Needed:
    """A library that the bundle's code needs where it runs.

    Attributes:
      name: of the package.
      version: that it was tested with, '' where any will do.
      purl: package URL (github.com/package-url), without the version.
      licence: SPDX identifier.
    """

    name: str
    version: str
    purl: str
    licence: str


def sbom_bytes(contracts: Sequence[Contract], needs: tuple[Needed, ...], *, version: str) -> bytes:
    """Return the bill of materials of a bundle; the same input gives the same bytes: no time, no chance.

    It is of the model, or of the bundle where that holds several.

    Args:
      contracts: of the models in it; two folders may hold the same file.
      needs: software that its code needs where it runs.
      version: of edgefm.
    Raises:
      RuntimeUnavailableError: cyclonedx-python-lib is not installed.
    """
    try:
        from cyclonedx.model import HashAlgorithm, HashType, Property
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.model.license import DisjunctiveLicense
        from cyclonedx.output.json import JsonV1Dot6
        from packageurl import PackageURL
    except ImportError:
        raise missing_extra("cyclonedx-python-lib", "export") from None
    written_by = Property(name="edgefm:version", value=version)
    sums = {contract.sha256: contract for contract in contracts}
    models = [
        Component(
            name=contract.name,
            version=contract.variant or None,
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref="model" if len(sums) == 1 else f"model-{sha256}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
            properties=[written_by],
        )
        for sha256, contract in sums.items()
    ]
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_OID, f"{' '.join(sums)} {[need.name for need in needs]}"))
    bom.metadata.timestamp = None  # the schema allows it, and equal input gives equal bytes
    whole = models[0]
    if len(models) > 1:
        whole = Component(name="edge-model", type=ComponentType.LIBRARY, bom_ref="bundle", properties=[written_by])
    bom.metadata.component = whole
    libraries: list[Any] = models if len(models) > 1 else []
    for need in needs:
        purl = PackageURL.from_string(need.purl + (f"@{need.version}" if need.version else ""))
        libraries.append(
            Component(
                name=need.name,
                version=need.version or None,
                type=ComponentType.LIBRARY,
                bom_ref=need.name,
                purl=purl,
                licenses=[DisjunctiveLicense(id=need.licence)],
            )
        )
    for library in libraries:
        bom.components.add(library)
    bom.register_dependency(whole, libraries)
    return (JsonV1Dot6(bom).output_as_string(indent=2) + "\n").encode()
