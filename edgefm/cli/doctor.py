"""`edgefm doctor`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes

if TYPE_CHECKING:
    from edgefm.jobs.doctor.findings import Finding


@click.command(epilog=exit_codes("the machine was examined, whatever is missing", failed="bad options"))
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder to look for Fashion-MNIST in.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def command(data_dir: Path | None, json_: bool) -> None:
    """Show what is installed here, which runtimes work, and what to do about the rest."""
    from edgefm.jobs.doctor import doctor

    diagnosis = doctor(data_dir=data_dir)
    if json_:
        render.as_json(diagnosis.to_json())
        return
    _print_environment(diagnosis.environment)
    _print_findings("Runs models", diagnosis.runtimes)
    _print_findings("Targets", diagnosis.targets)
    if diagnosis.plugins:
        _print_findings("Plug-ins", diagnosis.plugins)
    _print_findings("Trains models (Keras backends)", diagnosis.backends)
    _print_findings("GPU", diagnosis.gpus)
    _print_findings("Data", [diagnosis.data])
    _print_findings("Installed parts", diagnosis.extras)


def _print_environment(environment: dict[str, Any]) -> None:
    from edgefm.core.environment import CPU_FEATURES

    governor = environment["governor"]
    features = [f"{name} ({CPU_FEATURES[name]})" for name in environment["cpu_features"]]
    _print_facts(
        {
            "system": environment["os"],
            "python": environment["python"],
            "processor": f"{environment['cpu']}, {environment['cores']} cores usable",
            "instructions": ", ".join(features) or "unknown: this system does not say",
            "governor": governor if isinstance(governor, str) else f"unknown: {governor['reason']}",
            "memory": f"{environment['memory_bytes'] / 1e9:.1f} GB",
            "versions": ", ".join(f"{name} {given}" for name, given in environment["versions"].items()),
        }
    )


def _print_facts(facts: dict[str, str]) -> None:
    indent = max(map(len, facts)) + 2
    for name, value in facts.items():
        lines = textwrap.wrap(value, width=100 - indent, break_on_hyphens=False) or [""]
        render.echo(f"{name:<{indent}}{lines[0]}")
        for line in lines[1:]:
            render.echo(" " * indent + line)


def _print_findings(title: str, findings: Sequence[Finding]) -> None:
    render.echo()
    render.echo(title, bold=True)
    width = max(len(finding.name) for finding in findings) + 2
    for finding in findings:
        usable = finding.found is not None
        render.echo(f"  {'yes' if usable else 'no':<5}", fg="green" if usable else "yellow", nl=False)
        first, *more = [*(finding.found or finding.reason or "").splitlines(), *_details(finding)]
        render.echo(f"{finding.name:<{width}}{first}")
        indent = " " * (7 + width)
        for line in more:
            render.echo(indent + line)
        if finding.remedy:
            render.echo(f"{indent}-> {finding.remedy}")


def _details(finding: Finding) -> list[str]:
    """Return what is known of a runtime beside its version, a line each."""
    from edgefm.jobs.doctor.findings import RuntimeFinding

    if not isinstance(finding, RuntimeFinding):
        return []
    lines = []
    if finding.found and finding.kernels:
        default, *others = finding.kernels
        lines.append(f"kernel sets: {', '.join([f'{default} (default)', *others])}")
    if finding.python:
        lines.append(f"in {finding.python}")
    return lines
