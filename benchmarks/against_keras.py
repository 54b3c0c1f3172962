"""How the answers of a .tflite file, asked of LiteRT's own Interpreter, differ from Keras's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def compared(
    content: bytes | None, samples: dict[str, NDArray[Any]], expected: list[NDArray[np.float32]]
) -> dict[str, Any] | None:
    """Return how a file's answers differ from Keras's; None without a file.

    Returns:
      greatest: of all differences, over the greatest value of the output where that is above 1;
      error: root mean square of the difference over the standard deviation of Keras's values, the worst output's;
      same: share of samples with the same greatest value, None where there is one value a sample.
    """
    if content is None:
        return None
    answers = _answers(content, samples, expected)
    if isinstance(answers, str):
        return {"greatest": None, "error": float("inf"), "same": None, "reason": answers}
    greatest, errors = 0.0, []
    for answer, wanted in zip(answers, expected, strict=True):
        difference = answer.reshape(wanted.shape).astype(np.float64) - wanted
        greatest = max(greatest, float(np.abs(difference).max()) / max(1.0, float(np.abs(wanted).max())))
        errors.append(float(np.sqrt(np.square(difference).mean()) / (wanted.std() + 1e-9)))
    first = expected[0].reshape(len(expected[0]), -1)
    same = None if first.shape[1] < 2 else float((answers[0].reshape(first.shape).argmax(1) == first.argmax(1)).mean())
    return {"greatest": greatest, "error": max(errors), "same": same}


def _answers(
    content: bytes, samples: dict[str, NDArray[Any]], expected: list[NDArray[np.float32]]
) -> list[NDArray[np.float32]] | str:
    """Return real outputs in Keras's order, or why LiteRT does not run the file."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_content=content, num_threads=1)
        runner = interpreter.get_signature_runner()
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        answers: dict[str, list[NDArray[np.float32]]] = {name: [] for name in outputs}
        for place in range(len(expected[0])):
            given = {
                name: _levels(samples[name if name in samples else ""][place : place + 1], tensor)
                for name, tensor in inputs.items()
            }
            for name, values in runner(**given).items():
                answers[name].append(_real(values, outputs[name]))
    except (RuntimeError, ValueError) as error:
        return " ".join(str(error).split())[:160]
    return _in_order([np.concatenate(values) for values in answers.values()], expected)


def _in_order(answers: list[NDArray[np.float32]], expected: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return outputs in the order of Keras's, told by their sizes and values: converters name them in their own way."""
    left, ordered = list(answers), []
    for wanted in expected:
        fitting = [answer for answer in left if answer.size == wanted.size]
        best = min(fitting, key=lambda answer: float(np.abs(answer.reshape(wanted.shape) - wanted).mean()))
        left = [answer for answer in left if answer is not best]
        ordered.append(best)
    return ordered


def _levels(values: NDArray[Any], tensor: Mapping[str, Any]) -> NDArray[Any]:
    scale, zero = tensor["quantization"]
    if not scale:
        return values.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(tensor["dtype"])


def _real(values: NDArray[Any], tensor: Mapping[str, Any]) -> NDArray[np.float32]:
    scale, zero = tensor["quantization"]
    real = (values.astype(np.float32) - zero) * scale if scale else values
    return np.asarray(real, np.float32)
