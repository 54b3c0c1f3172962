"""Golden vectors of a model: drawn from data, or at random, and asked of LiteRT's kernel sets on this machine."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.agreement import families, membership
from edgefm.agreement.arithmetic import ModelTensors
from edgefm.agreement.asking import ask
from edgefm.agreement.cells import HOST, AgreementCell
from edgefm.agreement.inputs import MatrixInputs
from edgefm.core.progress import Progress
from edgefm.tflite.contract import Contract
from edgefm_converters.bundles.golden import FamilyAnswers, GoldenVectors, Tolerance

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset

# One of each family that devices run: phones and browsers the first, microcontrollers and old interpreters the second.
_CELLS = ("litert:xnnpack", "litert:builtin")
_STEPS = 255
# What asks the kernels of a family on this machine again.
KERNELS = {"xnnpack": _CELLS[0], "builtin": _CELLS[1], "float": _CELLS[0]}


def golden_vectors(
    model: Path, contract: Contract, inputs: MatrixInputs, ends: ModelTensors, progress: Progress
) -> GoldenVectors:
    """Return what LiteRT's kernels on this machine answer to inputs, one family after the other.

    Where both kernel sets are of one family (float models), the first alone is taken.

    Raises:
      EdgefmError: LiteRT is not there, or the model crashed, hung or was refused.
    """
    answers: list[FamilyAnswers] = []
    for place, runtime in enumerate(_CELLS):
        cell = AgreementCell(runtime=runtime, target=HOST)
        belongs = membership.membership(cell, ends.arithmetic, ends.rounding)
        name = belongs.family or families.UNKNOWN.name
        if name in {answer.name for answer in answers}:
            continue
        progress.step("golden vectors", place, len(_CELLS), {"kernels": runtime})
        answer = ask(cell, model, inputs.values)
        answers.append(
            FamilyAnswers(
                name=name,
                title=families.family(name).title,
                made_by=f"{runtime} {answer.version or ''}".strip() + f" on {platform.machine()}",
                tolerance=_of_outputs(tolerance_elsewhere(name, ends), ends, answer.outputs),
                outputs=answer.outputs,
            )
        )
    progress.step("golden vectors", len(_CELLS), len(_CELLS))
    classes = inputs.task == "classification" and inputs.labels is not None and bool(contract.labels)
    known = ("name", "available", "reason", "seed")
    source = {"kind": inputs.source, **{name: getattr(inputs, name) for name in known}, "sha256": inputs.sha256}
    return GoldenVectors(
        inputs=inputs.values,
        families=tuple(answers),
        labels=tuple(int(label) for label in np.asarray(inputs.labels).reshape(len(inputs), -1)[:, 0])
        if classes
        else None,
        source=source,
    )


def golden_inputs(
    model: Path,
    ends: ModelTensors,
    *,
    dataset: Dataset | None,
    reordered: bool,
    reason: str,
    samples: int,
    seed: int,
    mean: float | None = None,
    std: float | None = None,
) -> MatrixInputs:
    """Return the golden inputs of a model: test samples of a data set, or random ones.

    Args:
      model: .tflite file.
      ends: its tensors.
      dataset: that samples are drawn from; None draws random ones.
      reordered: whether the order of colours was chosen to be another than that of the data.
      reason: why they are random.
      samples: number of them.
      seed: draws them.
      mean: of a file without a contract.
      std: see `mean`.
    """
    from edgefm.agreement.inputs import from_chance, from_data

    if dataset is None:
        return from_chance(model, ends=ends, samples=samples, seed=seed, reason=reason)
    inputs = from_data(model, dataset, ends=ends, samples=samples, seed=seed, mean=mean, std=std)
    if reordered and dataset.train.images.dtype.name == "uint8":
        inputs = dataclasses.replace(inputs, values=inputs.values[..., ::-1].copy())
    return inputs


def _of_outputs(tolerance: Tolerance, ends: ModelTensors, outputs: Sequence[NDArray[Any]]) -> Tolerance:
    """Return a tolerance in levels as one of each output: of a float one it is a share of its largest magnitude.

    A model with int8 weights, or int8 inside, may have float outputs: a level of them is the scale behind each.
    """
    each = tuple(
        tolerance.largest
        if ends.arithmetic == "float" or output.dtype.kind != "f"
        else tolerance.largest * level_of(ends, place, output) / max(float(np.abs(output).max()), 1e-30)
        for place, output in enumerate(outputs)
    )
    return Tolerance(largest=max(each), share=tolerance.share, outputs=each)


def level_of(ends: ModelTensors, place: int, output: NDArray[Any]) -> float:
    """Return the real value of a level of a float output: the scale behind it, else 1/255 of its values' spread."""
    known = ends.level[place]
    return float(np.ptp(output)) / _STEPS if known is None else known


def tolerance_elsewhere(family: str, ends: ModelTensors) -> Tolerance:
    """Return how far other builds of a family's kernels may lie, the widest of those that are known by name.

    In levels; of float models a share of the largest magnitude.
    """
    if ends.arithmetic == "float":
        return Tolerance(largest=membership.FLOAT_LIMIT, share=1.0)
    cells = (
        AgreementCell(runtime="litert:xnnpack", target="qemu-aarch64:cortex-a72"),
        AgreementCell(runtime="tflm", target=HOST),
        AgreementCell(runtime="cortex-m-firmware", target="cortex-m:m4"),
    )
    found = [membership.membership(cell, ends.arithmetic, ends.rounding) for cell in cells]
    mine = [one for one in found if one.family == family]
    return Tolerance(
        largest=max((float(one.limit) for one in mine), default=1.0),
        share=max((float(one.share) for one in mine), default=families.ROUNDING_SHARE),
    )
