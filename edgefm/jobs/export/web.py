"""What the pages of a web bundle hold: the models beside each other, LiteRT.js, and what is unlike the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgefm
from edgefm.core import documents
from edgefm.core.arguments import PathLike
from edgefm.core.errors import ModelError
from edgefm.core.progress import Progress
from edgefm.core.runs import RunDirectory
from edgefm.jobs.export.beside import files_meant, models_beside, web_model
from edgefm.jobs.export.unlike import NO_DATA, unlike_data
from edgefm.jobs.export.web_runtime import web_runtime
from edgefm.tflite.contract import Contract

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm_converters.bundles.golden import GoldenVectors
    from edgefm_converters.bundles.web_runtime import WebModel, WebPage

_AGAIN = "Write the bundle again with: edgefm export"


def check_web(path: Path) -> None:
    """Raise an error where LiteRT.js cannot run a file, or is not here: before anything is asked of the model."""
    from edgefm.runtimes.litertjs.model import read_ends

    read_ends(path)
    web_runtime()


def web_page(
    run: RunDirectory | None,
    path: Path,
    contract: Contract,
    golden: GoldenVectors,
    *,
    dataset: Dataset | None,
    pictures: Mapping[str, Any],
    beside: Sequence[PathLike] | None,
    served: bool,
    samples: int,
    seed: int,
    progress: Progress,
) -> WebPage:
    """Return what the pages of a bundle hold.

    Args:
      run: of the model, where it is of one.
      path: of the model.
      contract: of the model, as the bundle holds it.
      golden: its vectors.
      dataset: that golden inputs are drawn from; None where they are random.
      pictures: how pictures get in, where that is to be another way than the contracts'.
      beside: see `edgefm.export`.
      served: see `edgefm.export`.
      samples: number of golden vectors.
      seed: draws them.
      progress: receives progress.
    Raises:
      RecipeError: the run has no variant of a name in `beside`.
      ModelError: a model of `beside` cannot stand there.
    """
    from edgefm_converters.bundles.for_web import fitted
    from edgefm_converters.bundles.web_runtime import WebPage

    first = web_model(path, contract, golden, run)
    files, named = files_meant(run, path, beside)
    others, reasons = models_beside(
        first,
        files,
        named=named,
        run=run,
        dataset=dataset,
        pictures=pictures,
        samples=samples,
        seed=seed,
        progress=progress,
    )
    files_of = [(path, contract), *((file, model.contract) for file, model in others.items())]
    unlike, why = unlike_data(files_of, dataset, seed=seed)
    web = WebPage(
        runtime=web_runtime(),
        models=(first, *others.values()),
        unlike=unlike,
        unlike_reason=why,
        served=served,
        left_out=reasons,
    )
    return fitted(web, version=edgefm.__version__, stand_in=not named)


def page_of_bundle(bundle: Path) -> WebPage:
    """Return what a page of a bundle holds, read from its models, contracts, golden vectors and thresholds.

    Raises:
      ModelError: a file is missing or damaged, or LiteRT.js cannot run the model.
    """
    from edgefm_converters.bundles.for_web import PAGE_FACTS
    from edgefm_converters.bundles.golden import read_golden
    from edgefm_converters.bundles.manifest import model_folders, read_manifest
    from edgefm_converters.bundles.unlike import read_unlike
    from edgefm_converters.bundles.web_runtime import WebPage, folders

    # A bundle of several has none at its top: its page shows the first.
    first = next(iter(model_folders(read_manifest(bundle))), "")
    own = {"folder": f"{first}/" if first else "", "quality": None}
    facts: dict[str, Any] = {"models": [own], "unlike_reason": "", "served": False}
    if not (bundle / PAGE_FACTS).exists():
        random = read_golden(bundle / first).source["kind"] == "random"
        facts["unlike_reason"] = NO_DATA if random else "this bundle was written without it"
    else:
        facts = documents.read_versioned(
            bundle / PAGE_FACTS, what="facts of a page", newest=1, schema="web-page-1", error=ModelError, hint=_AGAIN
        )
    models = tuple(_model_of_bundle(bundle / model["folder"], model["quality"]) for model in facts["models"])
    if (bundle / PAGE_FACTS).exists() and folders(models) != tuple(model["folder"] for model in facts["models"]):
        raise ModelError(f"{bundle / PAGE_FACTS} names other folders than those of its models", hint=_AGAIN)
    return WebPage(
        runtime=web_runtime(),
        models=models,
        unlike=read_unlike(bundle),
        unlike_reason=facts["unlike_reason"],
        served=facts["served"],
    )


def _model_of_bundle(folder: Path, quality: Any) -> WebModel:
    from edgefm.runtimes.litertjs.model import read_ends
    from edgefm.tflite import contract as contracts
    from edgefm_converters.bundles.golden import read_golden
    from edgefm_converters.bundles.parts import MODEL_FILE
    from edgefm_converters.bundles.web_runtime import WebModel

    path = folder / MODEL_FILE
    contract = contracts.read(path)
    if contract is None:
        raise ModelError(f"{folder} has no contract of its {MODEL_FILE}", hint=_AGAIN)
    ends = read_ends(path)
    return WebModel(
        contract=contract,
        model=path.read_bytes(),
        golden=read_golden(folder, of=contract),
        signature=ends.signature,
        order=ends.order,
        quality=quality,
    )
