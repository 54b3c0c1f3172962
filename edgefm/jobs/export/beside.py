"""Which other models stand beside a bundle's own in its page, and what they are written from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import artefacts
from edgefm.core.arguments import PathLike, as_path
from edgefm.core.documents import inside
from edgefm.core.errors import EdgefmError, ModelError, RunError, unknown_name
from edgefm.core.progress import Progress
from edgefm.core.runs import RunDirectory
from edgefm.jobs.export.facts import measured
from edgefm.jobs.inspect import tflite_in
from edgefm.tflite import contract as contracts
from edgefm.tflite.contract import Contract

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm_converters.bundles.golden import GoldenVectors
    from edgefm_converters.bundles.web_runtime import WebModel

# Of a run, beside the verdict's file: the float model, the int8 one, and the smallest file.
_FLOAT, _SMALLER_FLOAT, _INT8 = "float32", "float16", "int8_w8a8"


def files_meant(
    run: RunDirectory | None, chosen: Path, beside: Sequence[PathLike] | None
) -> tuple[tuple[Path, ...], bool]:
    """Return the files that are to stand beside a model, and whether they were named.

    Args:
      run: of the model, where it is of one.
      chosen: file of the model.
      beside: names of variants of the run, .tflite files or folders that hold one; None chooses from the run: float32,
        float16, int8_w8a8 and the smallest file, of which float16 is for a page that float32 is too large for.
    Raises:
      RecipeError: the run has no such variant, and there is no such file.
      ModelError: a folder holds no model.
    """
    known = {} if run is None else _variants(run)
    if beside is not None:
        return tuple(_named(str(each), known) for each in beside), True
    smallest = min(known.values(), key=lambda path: (path.stat().st_size, str(path)), default=None)
    names = [known.get(name) for name in (_FLOAT, _SMALLER_FLOAT, _INT8)]
    files = [path for path in (*names, smallest) if path is not None and path != chosen]
    return tuple(dict.fromkeys(files)), False


def web_model(path: Path, contract: Contract, golden: GoldenVectors, run: RunDirectory | None) -> WebModel:
    """Return a model as a page holds it.

    Raises:
      ModelError: LiteRT.js cannot run the file.
    """
    from edgefm.runtimes.litertjs.model import read_ends
    from edgefm_converters.bundles.web_runtime import WebModel

    ends, found = read_ends(path), measured(run, contract)
    return WebModel(
        contract=contract,
        model=path.read_bytes(),
        golden=golden,
        signature=ends.signature,
        order=ends.order,
        quality=None if found is None else found.quality,
    )


def models_beside(
    first: WebModel,
    files: Sequence[Path],
    *,
    named: bool,
    run: RunDirectory | None,
    dataset: Dataset | None,
    pictures: Mapping[str, Any],
    samples: int,
    seed: int,
    progress: Progress,
) -> tuple[dict[Path, WebModel], tuple[tuple[str, str], ...]]:
    """Return the models that stand beside the first, each by its file, and which do not, with the reason.

    Raises:
      ModelError: a file that was named has no contract, or takes other pictures, or cannot be run by LiteRT.js.
    """
    from edgefm_converters.bundles.web_runtime import file_name

    models: dict[Path, WebModel] = {}
    left_out: list[tuple[str, str]] = []
    for path in files:
        try:
            model = _model(
                first, path, run=run, dataset=dataset, pictures=pictures, samples=samples, seed=seed, progress=progress
            )
        except EdgefmError as error:
            if named:
                raise
            left_out.append((path.parent.name, error.message))
            continue
        if file_name(model.contract.variant) in {file_name(one.contract.variant) for one in (first, *models.values())}:
            raise ModelError(
                f"two models of the page are called {model.contract.variant}",
                hint="Each variant stands there once: its name tells it from the others.",
            )
        models[path] = model
    return models, tuple(left_out)


def as_shipped(contract: Contract, content: bytes, pictures: Mapping[str, Any]) -> Contract:
    """Return the contract of a model as a bundle holds it: called model.tflite, with its file's sum and size.

    Args:
      contract: of the file.
      content: of the file; a contract that was made up for a file without one does not know its sum.
      pictures: how pictures get in, where that is to be another way than the contract's: 'fit', 'filter', ...
    """
    from edgefm.runtimes.picture_answer import rechosen
    from edgefm_converters.bundles.parts import MODEL_FILE

    return dataclasses.replace(
        rechosen(contract, **pictures),
        file=MODEL_FILE,
        sha256=artefacts.sha256_bytes(content),
        size_bytes=len(content),
    )


def _model(
    first: WebModel,
    path: Path,
    *,
    run: RunDirectory | None,
    dataset: Dataset | None,
    pictures: Mapping[str, Any],
    samples: int,
    seed: int,
    progress: Progress,
) -> WebModel:
    from edgefm.agreement import arithmetic
    from edgefm.jobs.export.golden import golden_inputs, golden_vectors
    from edgefm.tflite.inspection import inspect
    from edgefm_converters.bundles.head import fields
    from edgefm_converters.bundles.web_runtime import check_beside

    written = contracts.read(path)
    if written is None:
        raise ModelError(
            f"{path} has no {contracts.FILE_NAME} beside it, and cannot stand beside another model",
            hint="edgefm quantize writes one beside each file.",
        )
    fields(written)
    contract = as_shipped(written, path.read_bytes(), pictures)
    check_beside(first.contract, contract)
    ends = arithmetic.ends(inspect(path))
    inputs = golden_inputs(
        path,
        ends,
        dataset=dataset,
        reordered=written.blue_first != contract.blue_first,
        reason=str(first.golden.source.get("reason")),
        samples=samples,
        seed=seed,
    )
    return web_model(path, contract, golden_vectors(path, contract, inputs, ends, progress), run)


def _variants(run: RunDirectory) -> dict[str, Path]:
    folder = run.folder(run.require("quantize"))
    files = sorted(folder.glob("*/model.tflite"))
    return {
        path.parent.name: inside(folder, f"{path.parent.name}/model.tflite", where=run.path, error=RunError)
        for path in files
    }


def _named(name: str, known: dict[str, Path]) -> Path:
    if name in known:
        return known[name]
    path = as_path(name, "beside")
    if not path.exists():
        raise unknown_name("model beside", name, (*known, "a .tflite file", "a folder that holds one"))
    return tflite_in(path)
