"""Options by which a command takes a user's own data, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.core.errors import DataError, RecipeError
from edgefm.core.given import limits, regular
from edgefm.core.task_names import HEADS, TASKS

if TYPE_CHECKING:
    from edgefm.data.source import DataSource

_PATH = click.Path(path_type=Path)
_OPTIONS = (
    click.option(
        "--data", "where", metavar="DATA", help="A .npz, a folder of class folders, TFRecord files, or module:function."
    ),
    click.option("--spec", type=_PATH, default=None, help="JSON that describes the TFRecord files."),
    click.option(
        "--task",
        type=click.Choice(TASKS),
        default=None,
        help="Task of the model.  [default: from the labels]",
    ),
    click.option("--quality", metavar="NAME", default=None, help="accuracy, map, f1, mse, ... or module:function."),
    click.option("--labels", type=_PATH, default=None, help="Text file of class names, one per line."),
    click.option(
        "--head",
        type=click.Choice(HEADS),
        default="auto",
        help="What outputs become; logits: left as they are.  [default: by the model, its loss and the labels]",
    ),
    click.option("--value-range", metavar="LO,HI", default=None, help="Input range of the model for pixels 0 to 255."),
    click.option("--trust", is_flag=True, help="Run code that the model or data hold (Lambda layers, pickled arrays)."),
)


def data_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command's function with the options of a user's own data."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def given_data(options: Mapping[str, Any]) -> DataSource | None:
    """Return where the data come from by these options, or None where none were given.

    Raises:
      RecipeError: an option that says something of data, but no data.
    """
    if options["where"] is None:
        alone = [f"--{name}" for name in ("spec", "task", "quality") if options[name] is not None]
        if alone:
            raise RecipeError(f"{', '.join(alone)} goes with --data", hint="Say where the data are with --data DATA.")
        return None
    from edgefm.data.source import DataSource

    where: str = options["where"]
    path = Path(where)
    return DataSource(
        # A run is found again from another folder, too.
        where=str(path.resolve()) if path.exists() else where,
        spec=str(options["spec"].resolve()) if options["spec"] is not None else None,
        task=options["task"],
        labels=labels_of(options["labels"]),
        quality=options["quality"],
        trust=bool(options.get("trust")),
    )


def value_range_of(given: str | None) -> tuple[float, float] | None:
    """Return the two numbers of --value-range."""
    if given is None:
        return None
    try:
        low, high = (float(part) for part in given.split(","))
    except ValueError:
        raise RecipeError(
            f"--value-range {given} is not allowed: two numbers LO,HI are expected",
            hint="For example: --value-range 0,1",
        ) from None
    return low, high


def labels_of(path: Path | None) -> tuple[str, ...] | None:
    """Return the class names in a text file, one a line."""
    if path is None:
        return None
    each_line = "Give a text file with one class name per line."
    with regular.open_file(path, DataError, missing=f"no labels at {path}", hint=each_line) as file:
        content = file.read(limits.TEXT_BYTES + 1)
    if len(content) > limits.TEXT_BYTES:
        raise DataError(f"{path} has more than {limits.TEXT_BYTES:,} bytes: these are no class names", hint=each_line)
    try:
        lines = content.decode("utf-8-sig").splitlines()  # Windows editors write a byte order mark
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from error
    labels = tuple(line.strip() for line in lines if line.strip())
    if not labels:
        raise DataError(f"{path} holds no labels", hint=each_line)
    return labels
