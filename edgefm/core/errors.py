"""Errors a person can act on: what was given, what is allowed, what to do next."""

from __future__ import annotations

import re
from collections.abc import Iterable

# A file or a folder that is being written has another name until it is whole, see `edgefm.core.artefacts` and `runs`.
_UNFINISHED_FILE = re.compile(r"(?<=/)\.([^/\s]+)\.\w{8}\.partial\b")
_UNFINISHED_SET = re.compile(r"/\.edgefm\.\w{8}\.partial/new(?=/)")
# Letters of a name that an error repeats.
_SHOWN = 100
_UNFINISHED_FOLDER = re.compile(r"(?<=\w)\.partial(?=/)")


class EdgefmError(Exception):
    """Base of every error that edgefm raises for bad input or a broken environment.

    The message says what was given and what is allowed; `hint` says what to do next. The command line shows
    both and exits with code 2.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        message = by_final_names(message)
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  {self.hint}"


class DataError(EdgefmError):
    """A data file is missing, truncated, swapped or not what its checksum says."""


class NoQualityError(DataError):
    """A quality measure of the user's own gives no finite number for what a model answers."""


class MeasureError(DataError):
    """A quality measure of the user's own raised an exception: by its own fault, or by that of what it was given."""


class ModelError(EdgefmError):
    """A model file cannot be read, or its graph cannot be handled."""


class NonFiniteError(ModelError):
    """A weight or an answer is NaN, infinite, or beyond what its type can hold.

    Attributes:
      layer: that holds the weight, or the first one whose output is not finite; None where it is not known.
      variable: of the layer, e.g. 'kernel'; None where it is no weight.
      sample: index of the first sample, among those that were given, whose answer is not finite; None for a weight.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        layer: str | None = None,
        variable: str | None = None,
        sample: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.layer = layer
        self.variable = variable
        self.sample = sample


class NothingToQuantizeError(ModelError):
    """A scheme finds nothing in a model that it would store otherwise: its file would be another variant's."""


class RecipeError(EdgefmError):
    """A recipe, preset, variant or option has an unknown name or a value out of range."""


class RunError(EdgefmError):
    """A run directory is missing, in use, of a newer schema, or lacks a needed step."""


class ArgumentError(EdgefmError, TypeError):
    """A Python argument has a type that is not allowed."""


class TrainingDivergedError(EdgefmError):
    """The loss became NaN or infinite; the last good weights were kept."""


class RuntimeUnavailableError(EdgefmError):
    """A runtime or an optional library is not installed or cannot be used here."""


def by_final_names(text: str) -> str:
    """Return a text in which files and folders that were being written have the names that they get when whole.

    The unfinished ones are removed when something fails: their names help nobody.

    >>> by_final_names("cannot load runs/a/01-quantize.partial/int8/model.tflite")
    'cannot load runs/a/01-quantize/int8/model.tflite'
    >>> by_final_names("no space left: runs/a/.record.json.x_3kq9ab.partial")
    'no space left: runs/a/record.json'
    """
    return _UNFINISHED_FOLDER.sub("", _UNFINISHED_FILE.sub(r"\1", _UNFINISHED_SET.sub("", text)))


def unknown_name(what: str, given: str, allowed: Iterable[str]) -> RecipeError:
    """Return the error for an unknown name, with the nearest known one: the first that begins so, else the likest.

    >>> print(unknown_name("preset", "quik", ["quick", "standard"]))
    unknown preset 'quik'; did you mean 'quick'?
      Known: quick, standard.
    """
    import difflib  # not needed until something is wrong

    names = list(allowed)
    known, wanted = {name.lower(): name for name in names}, given.lower()
    near = [name for name in known if wanted and name.startswith(wanted)]
    near = near or difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    guess = f"; did you mean '{known[near[0]]}'?" if near else ""
    name = given if len(given) <= _SHOWN else f"{given[:_SHOWN]}…"
    return RecipeError(f"unknown {what} '{name}'{guess}", hint=f"Known: {', '.join(names)}.")


def missing_extra(library: str, extra: str) -> RuntimeUnavailableError:
    """Return the error for an optional library that is not installed."""
    return RuntimeUnavailableError(
        f"this needs {library}, which is not installed",
        hint=f"Install it with: pip install 'edgefm[{extra}]'",
    )
