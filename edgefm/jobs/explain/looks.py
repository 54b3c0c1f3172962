"""The parts of an explanation that look into the model: Grad-CAM, and features in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import EdgefmError
from edgefm.core.progress import Progress
from edgefm.jobs.explain.subject import Answers, Subject, as_pictures, chosen_places
from edgefm.statistics.embedding import ITERATIONS, PERPLEXITY, principal_components, t_sne

MOST_MAPPED = 6
MOST_EMBEDDED = 1000
_LEAST_EMBEDDED = 3
_LEAST_FOR_TSNE = 20
_COMPONENTS = 50
_NOT_KERAS = "Grad-CAM needs the gradients of a Keras model; this one is a .tflite file"
_NO_FEATURES = "features inside the model need a Keras model; this one is a .tflite file"


def scored_model(subject: Subject) -> Any:
    """Return the `edgefm.keras_graph.class_maps.Scored` of the model, or why there is none."""
    if subject.classifier.model is None:
        return None
    from edgefm.keras_graph.class_maps import Scored

    try:
        return Scored(subject.classifier.model)
    except EdgefmError as error:
        return error.message


def maps_part(
    subject: Subject, scored: Any, answers: Answers, progress: Progress
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return what is mapped, and the pictures with their maps: of the answer, and of the true class.

    The most surely wrong samples come first, then the surest right one of as many classes as there is room for.
    """
    reason = _NOT_KERAS if scored is None else scored if isinstance(scored, str) else scored.no_maps
    if reason is not None:
        return {"reason": reason}, {}
    truth, predicted, confidence = subject.truth, answers.predicted, answers.confidence
    wrong = np.flatnonzero(predicted != truth)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MAPPED]
    right = np.flatnonzero(predicted == truth)
    right = right[np.argsort(-confidence[right], kind="stable")]
    _, first = np.unique(truth[right], return_index=True)
    right = right[np.sort(first)][:MOST_MAPPED]
    chosen = np.concatenate([wrong, right]).astype(np.int64)
    samples = subject.samples(chosen)
    pictures = as_pictures(samples, subject.classifier.encoding.value_range)
    if pictures is None:
        return {"reason": f"samples of shape {list(samples.shape[1:])} are no pictures"}, {}
    inputs = subject.inputs(samples)
    try:
        progress.step("class maps", 0, 2 * len(chosen))
        of_answer = scored.class_maps(
            inputs, predicted[chosen], told=lambda done: progress.step("class maps", done, 2 * len(chosen))
        )
        of_truth = scored.class_maps(
            inputs, truth[chosen], told=lambda done: progress.step("class maps", len(chosen) + done, 2 * len(chosen))
        )
    except EdgefmError as error:
        return {"reason": error.message}, {}
    labels, origins = subject.dataset.labels, subject.dataset.validation.origins
    part = {
        "reason": None,
        "layers": list(scored.layers),
        "images": [
            {
                "index": int(subject.places[place]),
                **({} if origins is None else origins.of(int(subject.places[place]))),
                "true": labels[truth[place]],
                "predicted": labels[predicted[place]],
                "confidence": round(float(confidence[place]), 6),
            }
            for place in map(int, chosen)
        ],
    }
    return part, {"pictures": pictures, "of_answer": of_answer.maps, "of_truth": of_truth.maps}


def features_part(subject: Subject, scored: Any, answers: Answers, *, seed: int, progress: Progress) -> dict[str, Any]:
    """Return the features of some samples in two dimensions, by PCA and by t-SNE."""
    if scored is None or isinstance(scored, str):
        return {"reason": _NO_FEATURES if scored is None else scored}
    if len(subject.places) < _LEAST_EMBEDDED:
        return {"reason": f"{len(subject.places)} samples are too few; at least {_LEAST_EMBEDDED} are needed"}
    chosen = chosen_places(len(subject.places), MOST_EMBEDDED, seed=seed)
    total = len(chosen)
    try:
        features, _ = scored.features(
            subject.inputs(subject.samples(chosen)), told=lambda done: progress.step("features", done, total)
        )
    except EdgefmError as error:
        return {"reason": error.message}
    if not np.isfinite(features).all():
        return {"reason": f"the input of the layer '{scored.feature_layer}' is not finite"}
    components = principal_components(features, _COMPONENTS)
    explained = [round(float(share), 6) for share in components.explained[:2]]
    near, divergence, why = None, None, None
    if total < _LEAST_FOR_TSNE:
        why = f"{total} samples are too few for t-SNE; at least {_LEAST_FOR_TSNE} are needed"
    elif not components.explained.any():
        why = "all features are equal"
    else:
        near, divergence = t_sne(components.points, told=lambda done: progress.step("t-SNE", done, ITERATIONS))
    flat = np.hstack([components.points[:, :2], np.zeros((total, 2))])[:, :2]
    return {
        "reason": None,
        "layer": scored.feature_layer,
        "dimensions": int(features.shape[1]),
        "n": total,
        "explained": explained,
        "perplexity": None if near is None else min(PERPLEXITY, (total - 1) / 3),
        "divergence": None if divergence is None else round(divergence, 4),
        "t_sne_reason": why,
        "points": {
            "index": subject.places[chosen].tolist(),
            "true": subject.truth[chosen].tolist(),
            "predicted": answers.predicted[chosen].tolist(),
            "pca": _rounded(flat),
            "t_sne": None if near is None else _rounded(near),
        },
    }


def _rounded(points: NDArray[np.float64]) -> list[list[float]]:
    """Return points with four digits behind the least that a picture can show."""
    reach = float(np.abs(points).max()) or 1.0
    digits = max(0, 4 - int(np.floor(np.log10(reach))))
    return [[round(float(x), digits), round(float(y), digits)] for x, y in points]
