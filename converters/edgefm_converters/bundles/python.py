"""A contract -> Python for a board or a test, on numpy and LiteRT alone; see `kotlin` for what is decided here."""

from __future__ import annotations

import numpy as np

from edgefm.tflite.contract import Contract, Tensor
from edgefm_converters.bundles.head import Field, check_input, fields, fit_words, head_of, shape_words

_WITH_LABELS = ("classes", "second", "labels")
# Only a first output holds logits of labels.
_SQUASHES = {
    "softmax": (
        "powers = np.exp(real0.astype(np.float64) - real0.max())",
        "real0 = (powers / powers.sum()).astype(np.float32)",
    ),
    "sigmoid": ("real0 = (1 / (1 + np.exp(-real0.astype(np.float64)))).astype(np.float32)",),
}


def python_code(contract: Contract) -> str:
    """Return a Python module with `encode` and `run`, which lies beside `model.tflite` and `labels.txt`.

    Raises:
      ModelError: an end of a type that no code is known for.
    """
    check_input(contract)
    outputs = fields(contract)
    lines = [
        *(["from pathlib import Path", ""] if head_of(contract) in _WITH_LABELS else []),
        "import numpy as np",
        "from ai_edge_litert.interpreter import Interpreter",
        "",
        *(
            ['LABELS = Path("labels.txt").read_text(encoding="utf-8").splitlines()']
            if head_of(contract) in _WITH_LABELS
            else []
        ),
        'interpreter = Interpreter("model.tflite", num_threads=1)',
        "interpreter.allocate_tensors()",
        "",
        "",
        *_encode(contract),
        "",
        "",
        *_run(contract, outputs),
    ]
    return "\n".join(lines) + "\n"


def _takes(contract: Contract) -> tuple[str, str]:
    """Return the name of the input's values, and what they are."""
    shape = shape_words(contract.input.shape)
    if contract.input.dtype in ("int32", "int64"):
        return "values", f"{contract.input.dtype} {shape}"
    if contract.no_pixels is not None:
        return "values", f"real inputs, float32 {shape}"
    order = ", blue, green, red" if contract.blue_first else ""
    return ("pixels" if len(contract.input.shape) == 4 else "levels"), f"uint8 {shape}, 0 to 255{order}"


def _encode(contract: Contract) -> list[str]:
    name, words = _takes(contract)
    tensor = contract.input
    lines = [f"# {fit_words(contract)}"] if contract.takes_pictures else []
    lines.append(f"def encode({name}):  # {words}")
    if tensor.dtype in ("int32", "int64") or contract.takes_raw_pixels():
        return [*lines, f"    return np.asarray({name}, np.{tensor.dtype}).reshape({tensor.shape})"]
    lines.append(f"    real = np.asarray({name}, np.float32).reshape({tensor.shape})")
    if contract.no_pixels is None and contract.mean:
        lines.append(f"    real = real - np.float32({contract.mean!r})")
    if contract.no_pixels is None and contract.std != 1:
        lines.append(f"    real = real / np.float32({contract.std!r})")
    if tensor.scale is None or tensor.zero_point is None:
        return [*lines, "    return real"]
    limits = np.iinfo(tensor.dtype)
    return [
        *lines,
        f"    steps = np.round(real / np.float32({tensor.scale!r})) + {tensor.zero_point}",
        f"    return np.clip(steps, {limits.min}, {limits.max}).astype(np.{tensor.dtype})",
    ]


def _run(contract: Contract, outputs: tuple[Field, ...]) -> list[str]:
    name, words = _takes(contract)
    lines = [
        f"def run({name}):  # {words}",
        f'    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], encode({name}))',
        "    interpreter.invoke()",
        '    out = [interpreter.get_tensor(end["index"]) for end in interpreter.get_output_details()]',
    ]
    for place, field in enumerate(outputs):
        lines.append(f"    real{place} = {_decoded(field.tensor, f'out[{place}]')}")
        lines += [f"    {line}" for line in _SQUASHES.get(field.squash, ())]
    values = ", ".join(f'"{field.name}": {_answered(field, f"real{place}")}' for place, field in enumerate(outputs))
    return [*lines, f"    return {{{values}}}"]


def _decoded(tensor: Tensor, array: str) -> str:
    if tensor.scale is None or tensor.zero_point is None:
        return f"{array}[0]"
    levels = f"{array}[0].astype(np.float32)"
    if tensor.zero_point:
        levels = f"({levels} {'-' if tensor.zero_point > 0 else '+'} {abs(tensor.zero_point)})"
    return f"{levels} * np.float32({tensor.scale!r})"


def _answered(field: Field, real: str) -> str:
    if field.head == "classes":
        return f"sorted(zip(LABELS, {real}.reshape(-1)), key=lambda pair: -pair[1])"
    if field.head == "second":
        both = f"(1 - {real}.item(), {real}.item())"
        return f"sorted(zip(LABELS, {both}), key=lambda pair: -pair[1])"
    if field.head == "labels":
        return f"list(zip(LABELS, {real}.reshape(-1)))"
    if field.head == "places":
        single = field.tensor.shape[-1] == 1
        return f"({real}[..., 0] > {field.threshold:g}).astype(int)" if single else f"{real}.argmax(axis=-1)"
    return real
