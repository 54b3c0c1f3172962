"""What is installed here, what works, and for what does not: why, and the command that helps."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from edgefm.core import html
from edgefm.core.arguments import PathLike, as_path
from edgefm.core.environment import environment
from edgefm.core.results import JsonResult
from edgefm.jobs.doctor.findings import Finding, RuntimeFinding
from edgefm.jobs.doctor.installed import backends, extras, fashion_mnist, gpus
from edgefm.jobs.doctor.usable import plugin_findings, runtimes, targets


@dataclass(frozen=True, kw_only=True)
class Diagnosis(JsonResult):
    """What `doctor` found.

    Attributes:
      environment: machine and versions, as in benchmark records.
      extras: edgefm's optional parts; 'edgefm' itself first.
      runtimes: what runs models.
      targets: where models are run or estimated; a board is known only by its address, so `ssh` says what it needs.
      backends: what trains models.
      gpus: NVIDIA's graphics processors, or one finding with the reason why there is none.
      plugins: runtimes, targets and passes of other packages.
      data: Fashion-MNIST's place; its content is not verified here.
    """

    environment: dict[str, Any] = field(hash=False)
    extras: tuple[Finding, ...]
    runtimes: tuple[RuntimeFinding, ...]
    targets: tuple[Finding, ...]
    backends: tuple[Finding, ...]
    gpus: tuple[Finding, ...]
    plugins: tuple[Finding, ...]
    data: Finding

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as a JSON object."""
        return asdict(self)

    def _repr_html_(self) -> str:
        findings = [
            *self.runtimes,
            *self.targets,
            *self.plugins,
            *self.backends,
            *self.gpus,
            self.data,
            *self.extras,
        ]
        rows = [
            [finding.name, finding.found or "no", finding.reason or "", finding.remedy or ""] for finding in findings
        ]
        return html.table(rows, ["what", "found", "reason", "remedy"])


def doctor(*, data_dir: PathLike | None = None) -> Diagnosis:
    """Return what is installed here and what works; about a second, and no Keras backend is imported.

    Args:
      data_dir: folder to look for Fashion-MNIST in.
    """
    return Diagnosis(
        environment=environment(),
        extras=tuple(extras()),
        runtimes=tuple(runtimes()),
        targets=tuple(targets()),
        backends=tuple(backends()),
        gpus=tuple(gpus()),
        plugins=tuple(plugin_findings()),
        data=fashion_mnist(None if data_dir is None else as_path(data_dir, "data_dir")),
    )
