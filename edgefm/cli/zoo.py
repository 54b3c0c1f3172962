"""`edgefm zoo`: list the architectures."""

from __future__ import annotations

import dataclasses

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes


@click.command(epilog=exit_codes("always", failed="bad options"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the architectures, with what their sources claim."""
    from edgefm.zoo import architectures

    known = architectures()
    if as_json:
        render.as_json([dataclasses.asdict(entry) for entry in known])
        return
    rows = [
        (
            entry.name,
            f"{entry.trainable:,} + {entry.non_trainable:,}",
            " / ".join(_percent(value) for value in (entry.claim.train_accuracy, entry.claim.validation_accuracy)),
            entry.summary,
        )
        for entry in known
    ]
    render.table(rows, headers=("name", "parameters (+ non-trainable)", "claimed train / val %", "layers"))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
