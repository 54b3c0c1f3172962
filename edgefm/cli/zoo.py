"""`edgefm zoo`: the architectures and what their sources claim; the documented systems trained anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.core.text import command as command_line
from edgefm.recipes import BACKENDS, PRECISIONS

if TYPE_CHECKING:
    from edgefm.zoo import Architecture


@click.group(invoke_without_command=True, epilog=exit_codes("it ran; whatever the verdicts of reproduce"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the architectures, with what their sources claim; or train the documented systems anew.

    Without a subcommand it lists them.
    """
    if context.invoked_subcommand is None:
        _list(as_json)


@command.command("list", epilog=exit_codes("always", failed="bad options"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the architectures, with what their sources claim."""
    _list(as_json)


@command.command(epilog=exit_codes("always", failed="no such architecture, system or experiment"))
@click.argument("name", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show an architecture: its pictures and options; a documented system or experiment: its training, its claims, too.

    Of a documented one it says how contradictions are read.
    """
    from edgefm import zoo
    from edgefm.core.errors import unknown_name
    from edgefm.jobs.reproduce.plan import checked_ids, known_ids, planned
    from edgefm.statistics.claim import figure
    from edgefm.zoo.documented import documented_system, system_ids
    from edgefm.zoo.experiments import experiment

    if name not in known_ids():
        if name not in zoo.names():
            listed = tuple(dict.fromkeys((*known_ids(), *zoo.names())))
            raise unknown_name("architecture, documented system or experiment", name, listed)
        _show_architecture(zoo.architecture(name), as_json=as_json)
        return
    (known,) = checked_ids([name])
    is_system = known in system_ids()
    entry = documented_system(known) if is_system else experiment(known)
    rows = planned([known], epochs=None)
    if as_json:
        trainings = [
            {"label": row.label, "claim": dataclasses.asdict(row.claim), "doubt": row.doubt, **row.recipe.to_json()}
            for row in rows
        ]
        assumed = list(getattr(entry, "assumed", ()))
        render.as_json(
            {
                "id": known,
                "document": entry.document,
                "reading": entry.reading,
                "assumed": assumed,
                "trainings": trainings,
            }
        )
        return
    if is_system:
        system = documented_system(known)
        render.echo(f"{known} ({system.document}): {system.architecture.title}. {system.architecture.summary}")
        for sentence in _pictures_and_options(system.architecture):
            render.echo(f"  {sentence}")
        for sentence in system.assumed:
            render.echo(f"  assumed: {sentence}")
    else:
        render.echo(f"{known} ({entry.document}): {experiment(known).title}")
    render.echo(f"  reading: {entry.reading}")
    for row in rows:
        if row.doubt:
            render.echo(f"  {row.label}, not credible: {row.doubt}")
    render.table(
        [
            (
                row.label,
                row.recipe.optimizer,
                f"{row.recipe.learning_rate:g}",
                row.recipe.batch_size,
                row.recipe.epochs,
                " / ".join(
                    figure(value)
                    for value in (row.claim.train_accuracy, row.claim.validation_accuracy, row.claim.test_accuracy)
                ),
            )
            for row in rows
        ],
        headers=("training", "optimiser", "rate", "batch", "epochs", "claimed train / val / test %"),
    )
    render.echo()
    render.echo(f"train it with: edgefm zoo reproduce {known}")


@command.command(epilog=exit_codes("the systems were trained and judged, whatever the verdicts"))
@click.argument("systems", metavar="[ID]...", nargs=-1)
@click.option("--seeds", type=int, default=3, help="Trainings of each.  [default: 3]")
@click.option("--epochs", type=int, default=None, help="At most so many epochs; the verdict says 'shortened'.")
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Further variant of each; repeatable.")
@click.option("--data", metavar="DATA", default=None, help="Instead of Fashion-MNIST: 28x28x1, ten classes.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of the Fashion-MNIST files.")
@click.option("--backend", default=None, help=f"{', '.join(BACKENDS)}.  [default: the first one installed]")
@click.option("--precision", default="float32", help=f"{', '.join(PRECISIONS)}.  [default: float32]")
@click.option("--rounds", type=int, default=None, help="Rounds of the benchmark.  [default: as many as p50 needs]")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Folder.  [default: runs/zoo]")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def reproduce(
    systems: tuple[str, ...],
    seeds: int,
    epochs: int | None,
    variants: tuple[str, ...],
    data: str | None,
    data_dir: Path | None,
    backend: str | None,
    precision: str,
    rounds: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Train documented systems as their documents say, and hold their claims against what comes out.

    Without an ID all systems are trained, which takes hours on a CPU. Stopped, the same command goes on where it was.
    """
    from edgefm.jobs.reproduce import reproduce as run

    result = run(
        systems or None,
        seeds=seeds,
        epochs=epochs,
        variants=variants or None,
        data=data,
        out=out,
        backend=backend,
        precision=precision,
        rounds=rounds,
        data_dir=data_dir,
        progress=True,
    )
    if as_json:
        render.as_json(result.to_json())
        return
    from edgefm.jobs.reproduce import page_compressed
    from edgefm.jobs.reproduce.page import SUMMARY, summary_rows, verdict_of

    if result.record["systems"]:
        shown = [
            (row[0].strip("`"), *row[3:]) for row in summary_rows(result.record["systems"], result.record["latency"])
        ]
        render.table(shown, headers=("system", *SUMMARY[3:]))
    made = [[cell.strip("`") for cell in row] for row in page_compressed.rows(result.record)]
    if made:
        render.echo()
        render.table(made, headers=page_compressed.COLUMNS)
    for experiment in result.record["experiments"]:
        render.echo()
        render.echo(f"{experiment['id']}: {experiment['title']}")
        rows = [(row["label"], verdict_of(row), row["verdict"]["reason"]) for row in experiment["trials"]]
        render.table(rows, headers=("trial", "verdict", "why"), widths=(None, None, 70))
    render.echo()
    render.echo(f"record and page: {result.folder / 'zoo.json'}, {result.page}")


def _show_architecture(known: Architecture, *, as_json: bool) -> None:
    """Show an architecture that no document's system has."""
    if as_json:
        render.as_json(dataclasses.asdict(known))
        return
    render.echo(f"{known.name}: {known.title}. {known.summary}")
    for sentence in _pictures_and_options(known):
        render.echo(f"  {sentence}")
    render.echo(f"train it with: {command_line('edgefm', 'train', '--model', known.name)}")


def _pictures_and_options(known: Architecture) -> list[str]:
    """Return what an architecture takes and has, in words."""
    from edgefm import zoo

    fixed = "no others"
    if zoo.is_sized(known.name):
        fixed = f"built for others from {known.smallest} x {known.smallest} pixels, and any number of classes"
    options = [
        f"--model-option {name}={'|'.join(values)}, by default {values[0]}" for name, values in known.options.items()
    ]
    return [
        f"in its source pictures of {' x '.join(map(str, known.input_shape))}, {known.classes} classes; {fixed}",
        f"{known.trainable:,} parameters, {known.non_trainable:,} more that are not trained",
        *options,
    ]


def _list(as_json: bool) -> None:
    from edgefm.statistics.claim import figure
    from edgefm.zoo import architectures
    from edgefm.zoo.experiments import experiment_ids

    known = architectures()
    if as_json:
        render.as_json([dataclasses.asdict(entry) for entry in known])
        return
    rows = [
        (
            entry.name,
            f"{entry.trainable:,} + {entry.non_trainable:,}",
            " / ".join(
                figure(value)
                for value in (entry.claim.train_accuracy, entry.claim.validation_accuracy, entry.claim.test_accuracy)
            ),
            entry.summary,
        )
        for entry in known
    ]
    headers = ("name", "parameters (+ non-trainable)", "claimed train / val / test %", "layers")
    render.table(rows, headers=headers)
    render.echo()
    render.echo(f"experiments of the documents: {', '.join(experiment_ids())}")
    render.echo("train as documented with: edgefm zoo reproduce ID; see one with: edgefm zoo show ID")
