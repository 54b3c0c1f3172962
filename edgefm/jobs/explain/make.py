"""Makes an explanation: finds the model and its data, asks them, makes each part, draws the pictures and the page."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import environment, manifest
from edgefm.core.errors import RecipeError, RuntimeUnavailableError, missing_extra, unknown_name
from edgefm.core.progress import Progress
from edgefm.core.runs import RunDirectory, Step
from edgefm.core.text import command
from edgefm.jobs.explain import answers as parts
from edgefm.jobs.explain import looks
from edgefm.jobs.explain.classifier import of_source, of_training
from edgefm.jobs.explain.subject import (
    MODEL,
    Answers,
    Subject,
    answers_of_files,
    answers_of_model,
    as_pictures,
    chosen_places,
)
from edgefm.jobs.to_learn.held_out import UNKNOWN, Seen, seen_before, seen_by_file
from edgefm.recipes import Quantization, Training

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.jobs.explain.cross_validation import CrossValidation
    from edgefm.jobs.explain.leakage import FoldRecipe

_DEFAULT_VARIANT = "int8_w8a8"
_FOLDS_FOLDER = "folds"
_NO_HISTORY = "edgefm did not train this model: it has no history"
_BROUGHT = Seen(may_have_learnt=(("the model, which edgefm did not train", UNKNOWN),))
_NO_FOLDS = "no folds were asked for"


def explain_run(
    run: RunDirectory,
    *,
    variants: tuple[str, ...] | None,
    folds: int | None,
    samples: int,
    seed: int,
    data_dir: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """Return the document and the files of an explanation of a run's model; see `edgefm.explain`."""
    _check_drawing()
    from edgefm.data.source import dataset_of
    from edgefm.quantization.source import IMPORT, open_source

    trained = None if run.last(IMPORT) is not None else run.require("train")
    if folds is not None and trained is None:
        raise RecipeError(
            f"{folds} folds were asked for, and edgefm did not train the model of run {run.path}: it has no recipe",
            hint="Leave the folds out, or train with: edgefm train",
        )
    history = fold_recipe = None
    if trained is not None:
        from edgefm.jobs.explain.leakage import fold_recipe_of
        from edgefm.jobs.run_training import training_of

        fold_recipe = None if folds is None else fold_recipe_of(trained, progress)
        history = training_of(run, trained).to_json()
    backend = _use_backend(history)
    dataset = dataset_of(run, data_dir=data_dir, progress=progress)
    if trained is not None and backend not in (None, "tensorflow"):  # which alone reads models of others
        classifier = of_training(run, trained, dataset)
    else:
        classifier = of_source(open_source(run, recipe=Quantization(), dataset=dataset, progress=progress))
    files, left_out = _files(run, classifier.sha256, variants)
    subject = Subject(
        classifier=classifier,
        places=chosen_places(len(dataset.validation), samples, seed=seed),
        step=(run.last(IMPORT) or run.require("train")).name,
        history=history,
        files=files,
        left_out=left_out,
        learnt=trained is not None and Training.from_json(trained.recipe).with_validation,
        seen=_BROUGHT if trained is None else seen_before(run, trained),
    )
    crossed = None
    if folds is not None and trained is not None and fold_recipe is not None:
        crossed = _crossed(run, trained, fold_recipe, dataset, history, folds=folds, seed=seed, progress=progress)
    return _explained(subject, crossed, folds_from=dataset, seed=seed, progress=progress)


def explain_model(
    model: Any,
    *,
    data: Any,
    samples: int,
    seed: int,
    labels: Sequence[str] | None,
    value_range: Sequence[float] | None,
    head: str,
    trust: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Return the document and the files of an explanation of a model in no run; see `edgefm.explain`."""
    _check_drawing()
    from edgefm.jobs.arguments import require_data, source_in_memory

    require_data(data)
    source = source_in_memory(
        model,
        Quantization(),
        data=data,
        labels=labels,
        value_range=value_range,
        head=head,
        trust=trust,
        progress=progress,
    )
    classifier = of_source(source)
    dataset = classifier.dataset
    subject = Subject(
        classifier=classifier,
        places=chosen_places(len(dataset.validation), samples, seed=seed),
        left_out={_DEFAULT_VARIANT: "the model is in no run, so there are no files of it"},
        seen=seen_by_file(Path(model), dataset) if isinstance(model, str | os.PathLike) else _BROUGHT,
    )
    return _explained(subject, None, folds_from=dataset, seed=seed, progress=progress)


def _explained(
    subject: Subject, crossed: CrossValidation | None, *, folds_from: Dataset, seed: int, progress: Progress
) -> dict[str, Any]:
    from edgefm.report.content import explanation as documents
    from edgefm.report.write_explanation import build

    labels, truth = subject.dataset.labels, subject.truth
    own = answers_of_model(subject, progress)
    others, left_out = answers_of_files(subject, progress)
    scored = looks.scored_model(subject)
    maps, mapped = looks.maps_part(subject, scored, own, progress)
    noise = _noise(subject, own, crossed, folds_from)
    document = {
        "kind": documents.KIND,
        "schema_version": documents.VERSION,
        "edgefm": environment.versions()["edgefm"],
        "model": {
            "name": subject.classifier.name,
            "file": subject.classifier.file,
            "sha256": subject.classifier.sha256,
            "step": subject.step,
        },
        "data": {
            "name": subject.dataset.name,
            "sha256": subject.dataset.sha256,
            "split": "validation",
            "n": len(truth),
            "of": len(subject.dataset.validation),
            "labels": list(labels),
            "learnt": subject.learnt,
            **subject.seen.to_json(),
        },
        "seed": seed,
        "fit": _fit(subject.history),
        "confusion": parts.confusion_part(own, truth, labels),
        "images": parts.pictures_part(own, truth, labels, subject.places, origins=subject.dataset.validation.origins),
        "calibration": parts.calibration_part([own, *others], truth, left_out, seed=seed),
        "class_maps": maps,
        "features": looks.features_part(subject, scored, own, seed=seed, progress=progress),
        "label_noise": noise,
        "folds": {"reason": _NO_FOLDS} if crossed is None else crossed.to_json(),
    }
    pictures = _pictures(subject, document, folds_from)
    return {"document": document, "files": build(document, pictures=pictures, maps=mapped, progress=progress)}


def _noise(subject: Subject, own: Answers, crossed: CrossValidation | None, whole: Dataset) -> dict[str, Any]:
    origins = {split.name: split.origins for split in whole.splits}
    if crossed is not None:
        basis = "out of fold, possibly seen" if crossed.recipe.may_have_seen else "out of fold"
        return parts.noise_part(
            crossed.probabilities, crossed.truth, crossed.labels, crossed.where, basis=basis, origins=origins
        )
    where = [("validation", int(place)) for place in subject.places]
    return parts.noise_part(
        own.probabilities, subject.truth, subject.dataset.labels, where, basis="validation", origins=origins
    )


def _pictures(subject: Subject, document: Mapping[str, Any], whole: Dataset) -> dict[tuple[str, int], Any]:
    """Return the pictures that the page shows, by their split and place in it."""
    from edgefm.report.write_explanation import shown_pictures

    splits = {"train": whole.train, "validation": whole.validation}
    pictures = {}
    for split, place in shown_pictures(document):
        one = as_pictures(splits[split].images[place : place + 1], subject.classifier.encoding.value_range)
        if one is not None:
            pictures[split, place] = one[0]
    return pictures


def _fit(history: Mapping[str, Any] | None) -> dict[str, Any]:
    if history is None:
        return {"reason": _NO_HISTORY}
    verdict = history["verdict"]
    return {
        "reason": None,
        "name": verdict["name"],
        "figures": verdict["reason"],
        "train_accuracy": verdict["train_accuracy"],
        "validation_accuracy": verdict["validation_accuracy"],
        "epochs": len(history["epochs"]),
    }


def _files(run: RunDirectory, sha256: str, variants: tuple[str, ...] | None) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the TFLite files to look at, and the reasons of those that there are not.

    Raises:
      RecipeError: a variant was asked for that the run does not have.
    """
    from edgefm.jobs.quantize import QuantizationResult

    step = run.last("quantize")
    missing = f"the run has no TFLite files; make them with: {command('edgefm', 'quantize', run.path)}"
    if step is None:
        if variants:
            raise RecipeError(f"the variant {variants[0]} was asked for, and {missing}")
        return {}, {_DEFAULT_VARIANT: missing}
    result = QuantizationResult.open(run.folder(step))
    if result.report["source"]["sha256"] != sha256:
        other = "the files of the run were made of another model than its newest"
        if variants:
            raise RecipeError(other, hint=f"Make them anew with: {command('edgefm', 'quantize', run.path)}")
        return {}, {_DEFAULT_VARIANT: other}
    for name in variants or ():
        if name not in result:
            raise unknown_name(f"variant of run {run.path}", name, list(result))
    if variants is None:
        of_int8 = [name for name in result if "int8" in name]
        variants = (_DEFAULT_VARIANT,) if _DEFAULT_VARIANT in result else tuple(of_int8[:1])
        if not variants:
            return {}, {_DEFAULT_VARIANT: f"the run has only {', '.join(result)}"}
    return {name: result[name].path for name in variants if name != MODEL}, {}


def _use_backend(history: Mapping[str, Any] | None) -> str | None:
    """Make Keras run on the backend of a training and return its name; None where it cannot, or nothing was trained."""
    from edgefm.keras_graph.backend import use_backend

    if history is not None:
        backend = str(history["device"]["backend"]).split()[0]
        with contextlib.suppress(RuntimeUnavailableError):
            use_backend(backend)
            return backend
    return None


def _crossed(
    run: RunDirectory,
    trained: Step,
    recipe: FoldRecipe,
    dataset: Dataset,
    history: Mapping[str, Any] | None,
    *,
    folds: int,
    seed: int,
    progress: Progress,
) -> CrossValidation:
    """Return the cross-validation of a run on the backend and in the precision of its training."""
    from edgefm.jobs.explain.cross_validation import cross_validate
    from edgefm.keras_graph.backend import use_backend

    assert history is not None, "a training has a history"
    backend = str(history["device"]["backend"]).split()[0]
    device = use_backend(backend, history["device"]["precision"])
    try:
        with run.lock():
            return cross_validate(
                run.path / _FOLDS_FOLDER,
                recipe,
                dataset,
                folds=folds,
                seed=seed,
                device=device,
                named_in=run.path / manifest.FILE_NAME,
                inputs=trained.inputs,
                progress=progress,
            )
    finally:
        use_backend(backend, "float32")


def _check_drawing() -> None:
    """Raise an error where the pictures or the page could not be made, before anything takes time."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
        import PIL  # noqa: F401
    except ImportError:
        raise missing_extra("matplotlib and jinja2", "report") from None
