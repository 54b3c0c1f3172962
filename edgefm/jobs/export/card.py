"""The model card of a bundle, in the form of Hugging Face: YAML facts, then Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib import resources
from typing import Any

from edgefm.core.errors import missing_extra
from edgefm.core.text import Markdown, code, markdown
from edgefm.data.source import FASHION_MNIST
from edgefm.jobs.export.app_text import app_text
from edgefm.jobs.export.facts import Learnt, Measured
from edgefm.jobs.export.unlike import NO_DATA
from edgefm.tflite.contract import Contract
from edgefm_converters.bundles.golden import GoldenVectors
from edgefm_converters.bundles.unlike import Unlike

_PIPELINES = {"classification": "image-classification", "multilabel": "image-classification"}
_PIPELINES |= {"segmentation": "image-segmentation", "regression": "image-feature-extraction"}


def model_card(
    contract: Contract,
    *,
    measured: Measured | None,
    advice: str,
    golden: GoldenVectors,
    use: str,
    version: str,
    learnt: Learnt | None = None,
    unlike: Unlike | None = None,
    unlike_reason: str = NO_DATA,
    warns: bool = False,
    open_batch: bool = False,
) -> str:
    """Return the model card.

    Args:
      contract: of the model.
      measured: what a benchmark found of the file; None without one.
      advice: what the verdict on that benchmark says of the file; '' without one.
      golden: vectors of the bundle.
      use: how this bundle is used and what its files are, Markdown.
      version: of edgefm.
      learnt: what it learnt from; None where edgefm did not train it.
      unlike: from where on a picture is unlike the data; None where that is not known.
      unlike_reason: why it is not known.
      warns: the bundle holds a page, which warns of pictures unlike the data.
      open_batch: the file leaves its batch open.
    Raises:
      RuntimeUnavailableError: jinja2 is not installed.
      ModelError: no words are known for the ends of the model.
    """
    return filled(
        "card.md.j2",
        model=contract,
        pipeline=_PIPELINES.get(contract.task, "image-classification" if contract.labels else ""),
        version=version,
        text=app_text(contract),
        made=Markdown(_made(contract)),
        learnt=Markdown(_learnt(learnt, "pictures" if contract.takes_pictures else "samples")),
        measured=Markdown(_measured(measured)),
        advice=advice,
        golden=Markdown(_golden(golden)),
        limits=Markdown(_limits(contract, measured, open_batch, known=unlike is not None, reason=unlike_reason)),
        unlike=Markdown("" if unlike is None else _unlike(unlike, warns=warns)),
        files=Markdown(use),
    )


def filled(template: str, **values: Any) -> str:
    """Return a template of this package with its values, each escaped for Markdown unless it is `Markdown` already.

    Raises:
      RuntimeUnavailableError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise missing_extra("jinja2", "export") from None
    # Markdown, not HTML: `finalize` is what escapes each value.
    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=markdown
    )
    environment.filters |= {"code": code, "cell": partial(code, in_table=True)}
    content = resources.files("edgefm.jobs.export").joinpath("templates").joinpath(template).read_text(encoding="utf-8")
    return environment.from_string(content).render(**values)


def notice(datasets: Iterable[str | None]) -> str:
    """Return the licences of what a bundle holds.

    Args:
      datasets: names of the data sets that samples in it are of; None where inputs are random.
    """
    lines = [
        "Code in this folder was written by edgefm and is under the Apache License 2.0.",
        "",
        "The model's weights follow from the data that it learnt; their licence is that of who trained it, and is not",
        "known to edgefm.",
    ]
    if any((name or "").startswith(FASHION_MNIST) for name in datasets):
        lines += [
            "",
            "Golden inputs and pictures are of Fashion-MNIST (Zalando SE), under the MIT License:",
            "",
            *_MIT,
        ]
    return "\n".join(lines) + "\n"


def _made(contract: Contract) -> str:
    made = contract.made_by
    source, calibration = made.get("source") or {}, made.get("calibration") or {}
    versions = made.get("versions") or {}
    if not source:
        return "Not known: the file was given without a contract of edgefm."
    sentences = [f"From the model {markdown(source.get('name') or source.get('file') or 'given')}"]
    passes = [step.get("kind", "") for step in (made.get("variant") or {}).get("passes", ())]
    sentences[0] += f", by {markdown(' > '.join(passes))} and conversion" if passes else ", converted"
    sentences[0] += f" as {markdown(contract.variant)}."
    if calibration.get("source"):
        sentences.append(
            f"Ranges of activations were taken from {calibration.get('images', 0):,} samples "
            f"({markdown(calibration['source'])})."
        )
    named = [f"{name} {versions[name]}" for name in ("edgefm", "tensorflow", "keras") if name in versions]
    if named:
        sentences.append(f"Versions: {markdown(', '.join(named))}.")
    return " ".join(sentences)


def _learnt(learnt: Learnt | None, what: str) -> str:
    """Return the statement of the training data; `what` they are, 'pictures' or 'samples'."""
    if learnt is None:
        return "Not known: edgefm did not train the model. Who did knows what it learnt, and whether it may be used."
    seen = f"The validation {what} were learnt, too. " if learnt.with_validation else ""
    digest = f"sha256 of the data and their split: {code(learnt.sha256)}." if learnt.sha256 else ""
    if not learnt.samples:
        return f"How many {what} of which data its run does not say. {seen}{digest}".strip()
    train, validation, test = (learnt.samples.get(name, 0) for name in ("train", "validation", "test"))
    classes = f" of {learnt.classes:,} classes" if learnt.classes else ""
    return (
        f"{markdown(learnt.name)}: {train:,} training {what}{classes}. Choices were made on {validation:,} validation "
        f"{what}; {test:,} test {what} were kept for figures. No split shares one with another. {seen}{digest}"
    ).strip()


def _measured(measured: Measured | None) -> str:
    if measured is None:
        return "Nothing: no benchmark of this file was found. Measure it with labelled data before you ship it."
    lines = []
    if measured.quality is not None:
        lines.append(f"- {markdown(quality_words(measured))}")
    if measured.latency is not None:
        value, low, high = (measured.latency[name] for name in ("value", "low", "high"))
        lines.append(
            f"- one inference, one thread, p50: {value:.1f} us (95 % interval {low:.1f} to {high:.1f} us) on "
            f"{markdown(measured.cpu)}: another processor takes another time"
            + ("; other programs disturbed the machine meanwhile" if measured.disturbed else "")
        )
    lines.append(f"- with {markdown(measured.runtime)}, {measured.date}")
    return "\n".join(lines)


def quality_words(measured: Measured | None) -> str:
    """Return the quality of a file with its interval and the number of samples; '' where none was measured."""
    if measured is None or measured.quality is None:
        return ""
    quality = measured.quality
    factor, unit = (100.0, " %") if quality["unit"] == "%" else (1.0, "")
    value, low, high = (factor * float(quality[name]) for name in ("value", "low", "high"))
    return (
        f"{quality['name']} on {quality['n']:,} test samples: {value:.2f}{unit} "
        f"(95 % interval {low:.2f} to {high:.2f}{unit})"
    )


def _golden(golden: GoldenVectors) -> str:
    kinds = " and ".join(f"{family.title} ({markdown(family.made_by)})" for family in golden.families)
    if golden.source["kind"] == "data":
        come = f"{len(golden)} test samples of {markdown(golden.source['name'])}"
    else:
        why = markdown(golden.source["reason"])
        come = f"{len(golden)} random inputs ({why}): they show equal answers, not right ones"
    vectors = f"Golden vectors: {come}, with the answers of {kinds}."
    return f"{vectors} Kernels of two families round differently; both are right."


def _limits(contract: Contract, measured: Measured | None, open_batch: bool, *, known: bool, reason: str) -> str:
    lines = []
    if contract.labels:
        lines.append(
            "- It knows its classes alone: a picture of anything else is given one of them too, often with a high "
            "probability."
        )
    what = "pictures" if contract.takes_pictures else "inputs"
    found = "see below" if known else f"not measured: {markdown(reason)}"
    lines.append(f"- How it answers {what} unlike its training data: {found}.")
    if contract.takes_pictures:
        lines.append("- A picture must reach it as its training pictures did: size, channels, brightness, direction.")
    if open_batch:
        lines.append("- The file leaves its batch open; all code here fixes it at 1, a sample at a time.")
    if measured is None or measured.quality is None:
        lines.append("- Its quality is not known.")
    return "\n".join(lines)


def _unlike(unlike: Unlike, *, warns: bool) -> str:
    """Return how pictures unlike the data are told, and what was found of it; `warns`: a page tells them."""
    percent = f"{100 * unlike.quantile:g} %"
    rows = [
        f"| {markdown(share.what)} | {share.n:,} | "
        + " | ".join(f"{100 * count / share.n:.1f} %" for count in (share.entropy, share.distance, share.either))
        + " |"
        for share in unlike.measured
    ]
    return "\n".join(
        (
            f"{'The page warns of a picture' if warns else 'A picture is taken for unlike the data'} where the entropy "
            "of the model's probabilities, or the picture's distance "
            f"from the data, is above that of {percent} of {unlike.validation:,} validation pictures of "
            f"{markdown(unlike.source)}. The distance is taken in {len(unlike.components)} principal components of "
            f"{unlike.training:,} training pictures and what they leave unexplained (Moghaddam and Pentland 1997). "
            "Measured, by this model:",
            "",
            f"| pictures | n | entropy above | distance above | {'warned of' if warns else 'either above'} |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "No warning is no proof: pictures of other things that look like the data are answered without one."
            if warns
            else "The code of this bundle warns of none of them.",
        )
    )


_MIT = (
    "Copyright (c) 2017 Zalando SE, https://tech.zalando.com",
    "",
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated",
    'documentation files (the "Software"), to deal in the Software without restriction, including without limitation',
    "the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and",
    "to permit persons to whom the Software is furnished to do so, subject to the following conditions:",
    "",
    "The above copyright notice and this permission notice shall be included in all copies or substantial portions of",
    "the Software.",
    "",
    'THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO',
    "THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE",
    "AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF",
    "CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS",
    "IN THE SOFTWARE.",
)
