"""What a model's outputs mean, told from its contract: the same for code in every language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgefm.core.errors import ModelError
from edgefm.tflite.contract import Contract, Tensor

# 'classes': one probability a label, one label is right. 'second': a single probability, that of the second of two
# labels. 'labels': one probability a label, each for itself. 'places': one a label at each place of a picture or a
# sequence. 'reconstruction': the input given back. 'values': numbers.
Head = Literal["classes", "second", "labels", "places", "reconstruction", "values"]

FIELDS: dict[Head, str] = {
    "classes": "scores",
    "second": "scores",
    "labels": "probabilities",
    "places": "classes",
    "reconstruction": "reconstruction",
    "values": "values",
}
_SCORES: tuple[Head, ...] = ("classes", "second", "labels")
_FLOATS, _LEVELS, _WHOLE = ("float32",), ("uint8", "int8"), ("int32", "int64")
_FILTERS = {
    "nearest": "nearest pixels",
    "box": "means over boxes",
    "lanczos": "Lanczos",
}  # others as they are
# Words that are no names in Kotlin or Python.
_RESERVED = frozenset(
    {
        "and", "answer", "as", "assert", "async", "await", "break", "class", "close", "context", "continue",
        "def", "del", "do", "elif", "else", "encode", "except", "false", "finally", "for", "from", "fun",
        "global", "if", "import", "in", "interface", "interpreter", "is", "labels", "lambda", "none",
        "nonlocal", "not", "null", "object", "or", "package", "pass", "raise", "return", "run", "super",
        "this", "throw", "true", "try", "typealias", "typeof", "val", "var", "when", "while", "with", "yield",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Field:
    """An output as code names it.

    Attributes:
      name: a name in Kotlin and Python, one of its own.
      head: what the output means.
      tensor: the output.
      squash: 'softmax' or 'sigmoid' where it holds logits of labels, which this makes probabilities; else ''.
      threshold: of 'places' with a single value each: above it, it is the second of two classes.
    """

    name: str
    head: Head
    tensor: Tensor
    squash: str = ""
    threshold: float = 0.5


def head_of(contract: Contract) -> Head:
    """Return what a model's first output means."""
    labels, output = len(contract.labels), contract.output
    if labels and output.size == labels:
        return "labels" if contract.task == "multilabel" else "classes"
    if labels == 2 and output.size == 1:
        return "second"
    if contract.task == "segmentation" or (labels and len(output.shape) > 2 and output.shape[-1] == labels):
        return "places"
    return "reconstruction" if contract.task == "reconstruction" else "values"


def fields(contract: Contract) -> tuple[Field, ...]:
    """Return a model's outputs with names for code, in its order; the first is named by what it means.

    Raises:
      ModelError: an output of another type than float32, uint8 or int8, or a quantised one without scale.
    """
    for tensor in contract.outputs:
        check_end(tensor, (*_FLOATS, *_LEVELS))
    head = head_of(contract)
    squash = ""
    if contract.head == "logits" and head in _SCORES:
        squash = "softmax" if head == "classes" else "sigmoid"
    threshold = 0.0 if contract.head == "logits" else 0.5
    named = [Field(name=FIELDS[head], head=head, tensor=contract.output, squash=squash, threshold=threshold)]
    for place, tensor in enumerate(contract.outputs[1:], 1):
        name = _name(tensor.name)
        if not name or name in {field.name for field in named}:
            name = f"output{place}"
        named.append(Field(name=name, head="values", tensor=tensor))
    return tuple(named)


def fit_words(contract: Contract) -> str:
    """Return a sentence on how pictures of another size get into the input; '' where no pictures go in."""
    if not contract.takes_pictures:
        return ""
    how = contract.pictures
    antialias = "without antialiasing" if how.filter == "nearest" else "with antialiasing"
    filtered = f"{_FILTERS.get(how.filter, how.filter)}, {antialias}"
    around = {0: "black", 255: "white"}.get(how.background, f"level {how.background}")
    fit = {
        "stretch": f"is stretched to this one, its aspect is not kept ({filtered})",
        "contain": f"is fitted into this one with its aspect kept ({filtered}), and centred on {around}",
        "cover": f"fills this one with its aspect kept ({filtered}): its middle is taken, what is too much is cut off",
    }[how.fit]
    over = ("black" if how.invert == "asked" else "white") if how.over == "auto" else how.over
    alpha = f"; transparent parts are {over}" if contract.input.shape[-1] < 4 else ""
    return f"A picture of another size {fit}{alpha}."


def check_input(contract: Contract) -> None:
    """Raise a ModelError where no code is known for a model's input."""
    if contract.input.parts:
        names = ", ".join(f"'{part.name}'" for part in contract.input.parts)
        raise ModelError(
            f"code for an app is written for models of one input; {contract.file} has several ({names})",
            hint="Its contract.json says how each of them is given; the runtime takes them by their names.",
        )
    check_end(contract.input, (*_FLOATS, *_LEVELS, *_WHOLE))


def check_end(tensor: Tensor, dtypes: tuple[str, ...]) -> None:
    """Raise a ModelError where no code is known for one end of a model."""
    if tensor.dtype not in dtypes:
        raise ModelError(f"no code can be written for '{tensor.name}', {tensor.dtype}; known are {', '.join(dtypes)}")
    if tensor.dtype in _LEVELS and (tensor.scale is None or tensor.zero_point is None):
        raise ModelError(f"no code can be written for '{tensor.name}', {tensor.dtype}: it has no scale or zero point")


def float32_literal(value: float) -> str:
    """Return the shortest decimal that reads back as the float32 nearest to a number.

    >>> float32_literal(1 / 255)
    '0.003921569'
    """
    return str(np.float32(value))


def score_word(field: Field) -> str:
    """Return what an answer's value of a label is called: a probability where it lies in 0 to 1."""
    low, high = field.tensor.value_range
    return "probability" if field.squash or (low >= 0 and high <= 1) else "score"


def shape_words(shape: tuple[int, ...]) -> str:
    """Return the shape of one sample, without the batch."""
    return str(list(shape[1:])) if len(shape) > 1 else "one number"


def _name(text: str) -> str:
    """Return a tensor's name as that of a variable, '' where nothing is left.

    >>> _name("box_head:0"), _name("StatefulPartitionedCall/1"), _name("2")
    ('boxHead0', 'statefulPartitionedCall1', '')
    """
    words = [word for word in re.split(r"[^A-Za-z0-9]+", text) if word]
    name = "".join(word[:1].upper() + word[1:] for word in words)
    name = name[:1].lower() + name[1:]
    return "" if not name or not name[0].isalpha() or name.lower() in _RESERVED or name in FIELDS.values() else name
