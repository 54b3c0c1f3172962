"""An explanation in words: what was found, captions, and why parts were left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefm.core.text import visible
from edgefm.report.content import wording

TITLES = {
    "fit": "Overfitting",
    "confusion": "Confused classes",
    "images": "Single pictures",
    "calibration": "Calibration",
    "class_maps": "Where the model looks",
    "features": "Features",
    "label_noise": "Doubtful labels",
    "folds": "Cross-validation",
}
_MOST_NAMED = 3
_LEARNT = (
    "This final training learnt the validation samples too: all that is said of them here is of learnt samples, and "
    "better than it is of new ones. Cross-validation, if asked for, is of samples that its models did not learn."
)
# Pictures on a sheet.
TILES = 18


def findings(document: Mapping[str, Any]) -> list[str]:
    """Return what was found, a sentence a part; parts that were left out say nothing."""
    lines = [_LEARNT] if document["data"].get("learnt") else []
    data = document["data"]
    remarks, sure = seen_remarks(data), len(data.get("learnt_by", ())) + len(data.get("learnt_some", ()))
    lines += [*remarks[:sure], accuracy(document), *remarks[sure:]]
    fit, pairs, models = document["fit"], document["confusion"]["pairs"], document["calibration"]["models"]
    if fit["reason"] is None:
        lines.append(f"Training: {fit['name']}; {fit['figures']}.")
    if pairs:
        lines.append(f"Most confused: {'; '.join(_pair(pair) for pair in pairs[:_MOST_NAMED])}.")
    lines += [calibration(model) for model in models]
    if known := [entry for entry in document["images"]["most_wrong"] if is_known(entry)]:
        told = [f"{origin(entry)} ({entry['predicted']}, is {entry['true']})" for entry in known[:_MOST_NAMED]]
        lines.append(f"Most surely wrong: {'; '.join(told)}.")
    noise, folds = document["label_noise"], document["folds"]
    if noise["reason"] is None:
        lines.append(
            f"Labels to look at: {noise['count']:,} of {noise['n']:,}, by {_basis(noise)}; a model's own sure mistakes "
            "are among them."
        )
        if known := [entry for entry in noise["candidates"] if is_known(entry)]:
            told = [f"{origin(entry)} ({entry['label']}, rather {entry['suggested']})" for entry in known[:_MOST_NAMED]]
            lines.append(f"Most doubtful: {'; '.join(told)}; all are in explanation.json.")
    if folds["reason"] is None:
        lines.append(
            f"{folds['folds']} folds: accuracy {_points(folds['mean'])} % on average, standard deviation "
            f"{_points(folds['spread'])} points, n = {folds['n']:,}."
        )
        lines += fold_remarks(folds)
    return lines


def seen_remarks(data: Mapping[str, Any]) -> list[str]:
    """Return what had learnt validation samples before, and what may have, a sentence each."""
    too_good = "what is said of them is better than it is of new ones"
    learnt = [f"The validation samples had been learnt by {name}: {too_good}." for name in data.get("learnt_by", ())]
    learnt += [
        f"{one['validation']:,} of the {one['validation_of']:,} validation samples and {one['test']:,} of the "
        f"{one['test_of']:,} test samples had been learnt by {one['name']}: {too_good}."
        for one in data.get("learnt_some", ())
    ]
    return learnt + [
        f"Validation and test samples may have been learnt by {entry['name']} ({entry['reason']}): if so, {too_good}."
        for entry in data.get("may_have_learnt", ())
    ]


def fold_remarks(folds: Mapping[str, Any]) -> list[str]:
    """Return what the folds were trained without, and what may have seen their pictures, a sentence each."""
    without = [
        f"The folds are trained without {name}, which has seen their pictures." for name in folds.get("not_used", ())
    ]
    return without + [
        f"The pictures of the folds may have been seen by {entry['name']} ({entry['reason']}): accuracy may be too "
        "good, and wrong labels missed."
        for entry in folds.get("may_have_seen", ())
    ]


def is_known(entry: Mapping[str, Any]) -> bool:
    """Return whether it is known where a sample comes from in the data as they were given."""
    return "file" in entry or "row" in entry


def origin(entry: Mapping[str, Any]) -> str:
    """Return where a sample comes from in the data as they were given, else its place in edgefm's split.

    >>> origin({"index": 7, "file": "cat/1.png"}), origin({"index": 7, "array": "train", "row": 92})
    ('cat/1.png', 'train row 92')
    >>> origin({"index": 7, "split": "train"})
    'train #7'
    """
    if "file" in entry:
        return visible(entry["file"])
    if "row" in entry:
        return f"{entry['array']} row {entry['row']}"
    return f"{entry.get('split', 'validation')} #{entry['index']}"


def accuracy(document: Mapping[str, Any]) -> str:
    """Return the accuracy with its interval and n."""
    part = document["confusion"]
    share = part["accuracy"]
    return (
        f"{document['model']['name']}: {_points(share['value'])} % of {part['n']:,} {document['data']['split']} "
        f"samples are right (95 % interval {_points(share['low'])} to {_points(share['high'])} %)."
    )


def calibration(model: Mapping[str, Any]) -> str:
    """Return a model's calibration in a sentence."""
    ece = model["ece"]
    gap = model["confidence"] - model["accuracy"]
    if ece["value"] <= model["calibrated_ece"]:
        verdict = "no more than chance gives a perfectly calibrated model"
    else:
        verdict = "it is too sure of itself" if gap > 0 else "it is less sure than it may be"
        verdict += f" (mean confidence {_points(model['confidence'])} %, accuracy {_points(model['accuracy'])} %)"
    return (
        f"Calibration of {model_name(model['name'])}: expected error {_points(ece['value'])} % "
        f"({_points(ece['low'])} to {_points(ece['high'])} %), n = {model['samples']:,}: {verdict}."
    )


def model_name(name: str) -> str:
    """Return what a model of an explanation is called in text."""
    return "the model" if name == "model" else name


def left_out(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the title and the reason of each part that was left out."""
    parts = [(title, document[name]["reason"]) for name, title in TITLES.items() if document[name]["reason"]]
    parts += [(f"Calibration of {entry['name']}", entry["reason"]) for entry in document["calibration"]["left_out"]]
    features = document["features"]
    if features["reason"] is None and features["t_sne_reason"]:
        parts.append(("t-SNE", features["t_sne_reason"]))
    return parts


def caption(name: str, document: Mapping[str, Any]) -> str:
    """Return the caption of a picture: what it shows, of which split, and n."""
    data, images = document["data"], document["images"]
    n = f"n = {data['n']:,}" + (f" of {data['of']:,}" if data["of"] != data["n"] else "")
    of = f"{n} {data['split']} samples"
    if name == "confusion":
        return (
            "Of the samples of each true class (row), the percentage answered as each class (column). Blue is right, "
            f"orange is wrong; empty cells are below 0.5 %. {of}."
        )
    if name == "calibration":
        return (
            "Share of right answers by confidence, in 15 bins of equal width; on the dashed line confidence is what it "
            f"says. Hollow marks stand for fewer than 30 samples. Right: how often each confidence is given. {of}."
        )
    if name == "features":
        part = document["features"]
        kinds = f"principal components ({_points(sum(part['explained']))} % of the variance)"
        if part["t_sne_reason"] is None:
            kinds += f" and t-SNE (perplexity {part['perplexity']:.0f}; distances between groups say little)"
        return (
            f"What the layer '{part['layer']}' takes, {part['dimensions']:,} numbers a sample, in two dimensions: "
            f"{kinds}. Dark outlines: answered wrongly. n = {part['n']:,} {data['split']} samples."
        )
    if name == "class-maps":
        part = document["class_maps"]
        layers = " and ".join(f"'{layer}'" for layer in part["layers"])
        return (
            f"Grad-CAM of {layers}: which places speak for the answer, and for the true class, before the softmax; "
            "orange is most, and each map has a scale of its own. The surest mistakes first, then the surest right "
            f"answers. {len(part['images'])} of {of}."
        )
    if name == "label-noise":
        part = document["label_noise"]
        shown = min(part["count"], TILES)
        return (
            f"The {shown} most doubtful of {part['count']:,} labels, by {_basis(part)}: the label, then the class that "
            f"confident learning suggests. n = {part['n']:,}."
        )
    if name == "most-wrong":
        shown = len(images["most_wrong"])
        return f"The {shown} mistakes that the model is surest of, of {images['wrong']:,} mistakes. {of}."
    return f"The {len(images['most_uncertain'])} samples whose two best classes lie nearest together. {of}."


def share(value: float) -> str:
    """Return a probability in percent, never rounded up to certainty.

    >>> share(0.997), share(0.41)
    ('>99 %', '41 %')
    """
    return ">99 %" if 0.995 <= value < 1 else f"{100 * value:.0f} %"


def _basis(noise: Mapping[str, Any]) -> str:
    if noise["basis"] == "out of fold":
        return "models that were not trained on them (out of fold)"
    if noise["basis"] == "out of fold, possibly seen":
        return "models that were not trained on them, but from others that may have seen them (possibly seen)"
    return "the model's answers to validation samples"


def _pair(pair: Mapping[str, Any]) -> str:
    return f"{pair['true']} taken for {pair['predicted']} ({pair['count']:,} of {pair['n']:,})"


def _points(share: float) -> str:
    return wording.percent(share, 1)
