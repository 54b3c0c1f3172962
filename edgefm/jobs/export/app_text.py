"""What an app's author must know of a model, in sentences that follow from its contract."""

from __future__ import annotations

from edgefm.core.text import Markdown, markdown
from edgefm.tflite.contract import Contract
from edgefm_converters.bundles.head import Field, fields, fit_words, score_word

_CHANNELS = {1: "a grey level", 3: "a level of red, green or blue"}
_INVERSION = {
    "asked": "",
    "light_border": " The training pictures show bright things on a dark background: invert a picture on a light one "
    "with `255 - pixel`.",
    "always": " Every picture is inverted: `255 - pixel`.",
}


def app_text(contract: Contract) -> Markdown:
    """Return what goes into a model and what comes out, a paragraph each, in Markdown."""
    return Markdown("\n\n".join([_input(contract), _output(contract)]))


def _input(contract: Contract) -> str:
    tensor = contract.input
    if tensor.dtype in ("int32", "int64"):
        return "The model takes whole numbers as they are."
    if contract.no_pixels is not None:
        low, high = tensor.value_range
        return (
            f"The model takes real inputs, no pictures: {markdown(contract.no_pixels)}. Its training samples went from "
            f"{low:g} to {high:g}; scale yours in the same way."
        )
    if len(tensor.shape) != 4:
        return "A value is a whole number, 0 to 255, as in the training samples." + _scaling(contract)
    _, height, width, channels = tensor.shape
    level = _CHANNELS.get(channels, f"a level of one of {channels} channels")
    if contract.blue_first:
        level = "a level of blue, green or red, in this order"
    sentence = f"A pixel is {level}, 0 to 255, row by row from the top left, {width} x {height} pixels."
    if contract.takes_pictures:
        sentence += (
            f" {fit_words(contract)} Its EXIF orientation turns it upright first.{_INVERSION[contract.pictures.invert]}"
        )
    return sentence + _scaling(contract)


def _scaling(contract: Contract) -> str:
    return " Don't scale it: the model does that itself." if contract.takes_raw_pixels() else ""


def _output(contract: Contract) -> str:
    first = fields(contract)[0]
    head, word = first.head, "logit" if first.squash else score_word(first)
    others = len(contract.outputs) - 1
    sentence = {
        "classes": f"The output is one {word} a class, in the order of `labels.txt`; one class is right.",
        "second": f"The output is a single {word}, that of the second class of `labels.txt`; the rest is the first's.",
        "labels": f"The output is one {word} a label, in the order of `labels.txt`, each for itself: several may hold.",
        "places": _places(contract, first, word),
        "reconstruction": "The output is the input given back, as real inputs.",
        "values": f"The output is {contract.output.size} real value{'' if contract.output.size == 1 else 's'}.",
    }[head]
    if first.squash:
        sentence += f" The code below makes probabilities of the logits, by a {first.squash}."
    if others:
        sentence += f" {others} more output{' is' if others == 1 else 's are'} real values."
    return sentence


def _places(contract: Contract, first: Field, word: str) -> str:
    order = "in the order of `labels.txt`" if contract.labels else "numbered from 0"
    if first.tensor.shape[-1] > 1:
        return f"The output is one {word} a class at each place, {order}."
    classes = "the second class of `labels.txt`" if contract.labels else "class 1, not 0,"
    return f"The output is one {word} at each place: it is {classes} where the value is above {first.threshold:g}."
