"""`edgefm.agree`: the same inputs through runtimes, kernel sets and targets; where their answers differ."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import artefacts, html, whole_folders
from edgefm.core.arguments import PathLike, as_path, check_items, check_number
from edgefm.core.progress import Progress, shown
from edgefm.jobs.arguments import dataset_and_quality
from edgefm.jobs.inspect import tflite_in
from edgefm.jobs.quantize import TfliteFile

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource

_NO_DATA = "no data were given"


@dataclass(frozen=True, kw_only=True)
class AgreementResult:
    """How far the answers of runtimes, kernel sets and targets agree.

    Attributes:
      document: the content of agreement.json, see edgefm/schemas/agreement-1.schema.json.
    """

    document: Mapping[str, Any] = field(repr=False, hash=False)

    @property
    def held(self) -> bool:
        """Whether all cells are within the tolerance of their family."""
        return bool(self.document["verdict"]["held"])

    @property
    def verdict(self) -> str:
        """What was found, in words."""
        return "\n".join(self.document["verdict"]["lines"])

    def to_json(self) -> dict[str, Any]:
        """Return the content of agreement.json."""
        return dict(self.document)

    def save(self, folder: PathLike) -> list[Path]:
        """Write agreement.json and, where matplotlib is installed, its pictures, all or none; return the paths."""
        from edgefm.agreement import document

        path = as_path(folder, "folder")
        files = {document.FILE_NAME: artefacts.json_bytes(self.document)}
        with contextlib.suppress(ImportError):
            from edgefm.report.tools.agreement import agreement_pictures

            files |= agreement_pictures(self.document)
        whole_folders.write(path, files, gone=document.PICTURES)
        return [path / name for name in files]

    def _repr_html_(self) -> str:
        unit = self.document["unit"]
        parts = [html.table([_cell(cell) for cell in self.document["cells"]], [*_HEADERS, "verdict"])]
        between = [
            [f"{pair['first']} and {pair['second']}", *_figures(pair), "information"]
            for pair in self.document["between_families"]
        ]
        if between:
            parts.append(html.table(between, ["kernel families", *_HEADERS[1:], "verdict"]))
        samples = f"Largest difference of an output value in {unit}, on {self.document['inputs']['samples']} samples."
        return "".join([*parts, *map(html.paragraph, (samples, *self.document["verdict"]["lines"]))])


_HEADERS = ("cell", "largest difference", "equal samples", "changed classes")


def _cell(cell: Mapping[str, Any]) -> list[Any]:
    if cell["status"] != "ran":
        return [cell["name"], "", "", "", f"did not run: {cell['reason']}"]
    compared = cell["against_reference"]
    verdict = cell["verdict"]
    if cell["spread"] is not None:
        verdict = f"as far apart as LiteRT's own kernel sets: {cell['spread']['largest']:.3g} levels"
    return [cell["name"], *(("", "", "") if compared is None else _figures(compared)), verdict]


def _figures(compared: Mapping[str, Any]) -> tuple[str, str, str]:
    changes, largest = compared["argmax_changes"], compared["largest"]
    equal = f"{compared['equal_samples']} of {compared['samples']}"
    return "NaN" if largest is None else f"{largest:.3g}", equal, "" if changes is None else str(changes)


def agree(
    model: PathLike | TfliteFile,
    *,
    runtime: Sequence[str] = (),
    target: Sequence[str] = (),
    samples: int = 1000,
    seed: int = 0,
    data: Dataset | DataSource | PathLike | None = None,
    quality: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    first_difference: bool = True,
    out: PathLike | None = None,
    progress: Progress | bool | None = None,
    reason: str = _NO_DATA,
) -> AgreementResult:
    """Run the same inputs through every runtime and kernel set that is here, and through targets.

    Args:
      model: .tflite file, or a folder with a model.tflite.
      runtime: only these, e.g. ('litert', 'litert:builtin'); by default all that work here.
      target: beside this machine; 'all' stands for all but ssh, adb and cortex-m.
      samples: how many inputs.
      seed: draws the samples, or random inputs.
      data: test samples; None takes random inputs, and measures no quality.
      quality: measure of quality; by default that of the data's task.
      mean: without a contract: input = (pixel - mean) / std.
      std: see `mean`.
      first_difference: of what is outside its tolerance, search the first layer that differs; at most 40 s.
      out: folder for agreement.json and its pictures.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
      reason: why the inputs are random, for the document.
    Raises:
      ArgumentError: an argument of another type.
      ModelError: no such file, or one that cannot be read.
      RecipeError: an unknown runtime or target.
      DataError: the data cannot be read or do not fit.
    """
    from edgefm.agreement import arithmetic, document
    from edgefm.agreement.cells import cells
    from edgefm.agreement.inputs import from_chance, from_data
    from edgefm.agreement.matrix import agree as agree_in_cells
    from edgefm.benchmarking.step import sample_task
    from edgefm.tflite.inspection import inspect

    check_items(runtime, "runtime", str, "the name of a runtime")
    check_items(target, "target", str, "the address of a target")
    check_number(samples, "samples", int)
    check_number(seed, "seed", int)
    path = model.path if isinstance(model, TfliteFile) else tflite_in(as_path(model, "model"))
    with shown(progress) as receiver:
        ends = arithmetic.ends(inspect(path))
        task = sample_task([path]) if data is not None else None
        dataset, measure = dataset_and_quality(
            data, quality=quality, input_shape=ends.source.shape[1:], task=task, progress=receiver
        )
        if dataset is None:
            inputs = from_chance(path, ends=ends, samples=samples, seed=seed, reason=reason)
        else:
            inputs = from_data(path, dataset, ends=ends, samples=samples, seed=seed, mean=mean, std=std)
        known, absent = cells(runtime=tuple(runtime), target=tuple(target))
        agreement = agree_in_cells(
            path,
            cells=known,
            inputs=inputs,
            quality=measure,
            absent=absent,
            first_difference=first_difference,
            progress=receiver,
        )
    result = AgreementResult(document=document.to_json(agreement))
    if out is not None:
        result.save(out)
    return result
