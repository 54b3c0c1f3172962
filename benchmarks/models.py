"""Which models work: 48 of the kinds that people bring, each variant of each, beside Keras and the stock converter.

Each model is trained for a few steps, given to `edgefm.quantize` with all variants, and its files are run by LiteRT's
own Interpreter: float32 against Keras's predict, int8 against the file that TensorFlow's converter makes with the same
calibration samples. A model has a process of its own and 15 minutes.

Run: python -m benchmarks.models [--only NAME] [--list]; then python -m benchmarks.figures writes docs/models.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import model_builders, recorded
from benchmarks.model_builders import Build, samples_of
from edgefm.core import joined
from edgefm.core.errors import EdgefmError
from edgefm.recipes import DEFAULT_VARIANTS

VARIANTS = (*DEFAULT_VARIANTS[:5], "int16x8", *DEFAULT_VARIANTS[5:])
SECONDS = 900
FLOAT32_AT_MOST = 1e-4
# Of a model that computes in bfloat16 itself: half its eps, twice.
HALF_AT_MOST = 8e-3
# An error this much above the stock file's is the luck of rounding on so few samples.
AS_GOOD = 1.1
_SAMPLES, _TEST = 400, 60
_STEPS, _STEPS_OF_LARGE = 40, 8
_LARGE = 1_000_000
_MORE_SEEDS = (1, 2, 3)


def builders() -> dict[str, Build]:
    """Return the models by name."""
    from tests.fixtures import models_of_several_inputs as several
    from tests.fixtures import models_people_bring as bring

    def first(build: Any) -> Build:
        return lambda: build()[0]

    found: dict[str, Build] = {**model_builders.MLPERF_TINY, **model_builders.APPLICATIONS, **model_builders.OTHERS}
    kinds = {**bring.TRAINABLE, "mixed_precision": bring.mixed_precision, **bring.SEQUENCES, **bring.TOKENS}
    found |= {name.replace("_", " "): build for name, build in kinds.items()}
    return found | {f"several inputs: {build.__name__.replace('_', ' ')}": first(build) for build in several.KINDS}


def main() -> int:
    """Record the table; 1 where a model ended in a traceback or differs by more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="this model alone; the others keep what was recorded")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_one(options.child)))
        return 0
    names = options.only or list(builders())
    if options.list:
        print("\n".join(builders()))
        return 0
    known = recorded.result("models")["rows"] if options.only and "models" in recorded.names() else {}
    rows = {name: row for name, row in known.items() if name in builders()}
    for place, name in enumerate(names):
        rows[name] = _in_a_process(name)
        print(f"{place + 1}/{len(names)} {name}: {_short(rows[name])}", flush=True)
        ordered = {name: rows[name] for name in builders() if name in rows}
        recorded.write_result(
            "models",
            what="variants of models of the kinds that people bring: works or why not; float32 against Keras, int8 "
            "against the stock converter's",
            command="python -m benchmarks.models",
            figures={"rows": ordered},
        )
    return 0 if all(held(row) for row in rows.values()) else 1


def held(row: Mapping[str, Any]) -> bool:
    """Return whether a model keeps what is promised: no traceback, float32 as Keras, int8 as good as the stock file."""
    most = HALF_AT_MOST if row.get("half") else FLOAT32_AT_MOST
    return not row["traceback"] and (row["float32"] or 0) <= most and as_good(row)


def as_good(row: Mapping[str, Any]) -> bool:
    """Return whether int8 is as near to Keras as the stock converter's file; True where one of them does not exist."""
    ours, stock = row["int8"], row["stock"]
    return ours is None or stock is None or ours["error"] <= AS_GOOD * stock["error"] + 1e-6


def _short(row: Mapping[str, Any]) -> str:
    works = sum(cell == "works" for cell in row["cells"].values())
    ours, stock = row["int8"], row["stock"]
    errors = (
        f"int8 {ours['error']:.4f} / stock {stock['error']:.4f}" if ours and stock else f"stock: {row['stock_reason']}"
    )
    said = row["traceback"] or f"{works} of {len(VARIANTS)}, float32 {row['float32']}, {errors}"
    return f"{said}; {row['seconds']:.0f} s"


def _in_a_process(name: str) -> dict[str, Any]:
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.models", "--child", name]
    empty: dict[str, Any] = {"cells": {}, "float32": None, "int8": None, "stock": None, "stock_reason": ""}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        lines = done.stdout.strip().splitlines()
        row = json.loads(lines[-1]) if done.returncode == 0 and lines else None
        last = (done.stderr.strip() or "no word").splitlines()[-1]
        row = row or {**empty, "traceback": f"exit code {done.returncode}: {last}"}
    except subprocess.TimeoutExpired:
        row = {**empty, "traceback": f"not done in {SECONDS} s"}
    return {**row, "seconds": round(time.perf_counter() - started, 1)}


def _one(name: str) -> dict[str, Any]:
    """Return the row of a model, in this process."""
    import edgefm
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    model, data, test, wanted = _trained(name, seed=0)
    half = any(layer.dtype_policy.compute_dtype != "float32" for layer in model._flatten_layers(include_self=False))
    row: dict[str, Any] = {"parameters": int(model.count_params()), "task": data.task, "half": half, "traceback": None}
    cells: dict[str, str] = {}
    folder = ""
    try:
        with tempfile.TemporaryDirectory(prefix="edgefm-models-") as folder:
            path = Path(folder) / "model.keras"
            model.save(path)
            head = "logits" if _ends_in_logits(name) else "auto"
            files = edgefm.quantize(path, list(VARIANTS), data=data, head=head, progress=False)
            contents = {variant: file.path.read_bytes() for variant, file in files.items()}
        cells = dict.fromkeys(contents, "works") | dict(files.skipped)
    except EdgefmError as error:
        contents, cells = {}, dict.fromkeys(VARIANTS, error.message.replace(folder, "").replace("/model.keras", name))
    except Exception:  # what must not happen
        contents, row["traceback"] = {}, traceback.format_exc(limit=-30)
    float32 = _compared(contents.get("float32"), test, wanted)
    stock, reason = _stock(model, data)
    row |= {"int8": _compared(contents.get("int8_w8a8"), test, wanted), "stock": _compared(stock, test, wanted)}
    if not as_good(row):
        _over_seeds(row, name)
    return row | {
        "cells": {variant: cells.get(variant, "not named") for variant in VARIANTS},
        "float32": None if float32 is None else float32["greatest"],
        "stock_reason": reason,
    }


def _trained(name: str, *, seed: int) -> tuple[Any, Any, dict[str, NDArray[Any]], list[NDArray[np.float32]]]:
    """Return a model that was trained for a few steps, its data, its test samples and Keras's answers to them."""
    import keras

    import edgefm

    keras.utils.set_random_seed(seed)
    model = builders()[name]()
    samples = samples_of(model, _SAMPLES, seed=seed)
    targets, task = _targets(model, samples)
    _train(model, samples, targets, task)
    data = edgefm.data.from_arrays(
        _given(samples, slice(None, -_TEST)),
        targets[:-_TEST],
        test=(_given(samples, slice(-_TEST, None)), targets[-_TEST:]),
        task=task,
        progress=False,
    )
    test = {key: values[-_TEST:] for key, values in samples.items()}
    return model, data, test, [output[-_TEST:] for output in _of_keras(model, samples)]


def _over_seeds(row: dict[str, Any], name: str) -> None:
    """Replace the errors of int8 files by their means over this and three more seeds: one is luck of rounding, too."""
    import edgefm

    errors = [(row["int8"]["error"], row["stock"]["error"])]
    for seed in _MORE_SEEDS:
        model, data, test, wanted = _trained(name, seed=seed)
        head = "logits" if _ends_in_logits(name) else "auto"
        files = edgefm.quantize(model, ["int8_w8a8"], data=data, head=head, progress=False)
        stock, _ = _stock(model, data)
        both = (_compared(content, test, wanted) for content in (files["int8_w8a8"].path.read_bytes(), stock))
        errors.append(tuple(compared["error"] for compared in both if compared))
    row["seeds"] = errors
    row["int8"]["error"], row["stock"]["error"] = (float(np.mean(values)) for values in zip(*errors, strict=True))


def _ends_in_logits(name: str) -> bool:
    return name in ("logits", "one logit", "ConvNeXtTiny")


def _given(samples: Mapping[str, NDArray[Any]], part: slice) -> Any:
    """Return some samples as `from_arrays` takes them: an array, or a mapping of several inputs."""
    some = {key: values[part] for key, values in samples.items()}
    return some.get("", some)


def _targets(model: Any, samples: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], str]:
    """Return targets that a model can learn of its samples, and their task."""
    (first, *_), shape = samples.values(), tuple(model.outputs[0].shape[1:])
    means = first.reshape(len(first), -1, first.shape[-1]).mean(axis=1)
    if first.shape[1:] == shape:
        return first, "reconstruction"
    if len(shape) == 3:
        brightness = first.mean(axis=-1)
        return np.digitize(brightness, np.quantile(brightness, [1 / 4, 1 / 2, 3 / 4])).astype(np.int64), "segmentation"
    generator = np.random.default_rng(1)
    scores = (means - means.mean(axis=0)) @ generator.normal(size=(means.shape[1], shape[0]))
    activation = getattr(getattr(model.outputs[0]._keras_history.operation, "activation", None), "__name__", "")
    if shape == (1,):
        return (scores[:, 0] > np.median(scores)).astype(np.int64), "classification"
    if activation == "sigmoid":
        return (scores > np.median(scores, axis=0)).astype(np.int64), "multilabel"
    if isinstance(getattr(model, "_outputs_struct", None), dict) and "box" in model._outputs_struct:
        return scores.astype(np.float32), "regression"
    classes = scores.argmax(axis=1)
    classes[: shape[0]] = np.arange(shape[0])  # each class occurs
    classes[-shape[0] :] = np.arange(shape[0])
    return classes.astype(np.int64), "classification"


def _train(model: Any, samples: Mapping[str, NDArray[Any]], targets: NDArray[Any], task: str) -> None:
    """Train for a few steps, so that the outputs mean something and the statistics of the layers are those of data."""
    import keras

    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5  # a few steps are enough for its averages
    losses = {"reconstruction": "mse", "regression": "mse", "multilabel": "binary_crossentropy"}
    first = keras.tree.flatten(model.outputs)[0]
    binary = keras.losses.BinaryCrossentropy(from_logits=_linear(first)) if tuple(first.shape[1:]) == (1,) else None
    loss = binary or keras.losses.get(losses.get(task, "sparse_categorical_crossentropy"))
    optimizer = keras.optimizers.Adam(1e-3)
    steps = _STEPS_OF_LARGE if model.count_params() > _LARGE else _STEPS
    logits = task == "classification" and binary is None and _linear(first)
    import tensorflow as tf

    for step in range(steps):
        places = np.random.default_rng(step).choice(_SAMPLES - _TEST, 32, replace=False)
        given = _for_keras(model, {key: values[places] for key, values in samples.items()})
        with tf.GradientTape() as tape:
            output = keras.tree.flatten(model(given, training=True))[0]
            output = keras.ops.softmax(output) if logits else output
            wanted = targets[places][:, None] if binary is not None else targets[places]
            value = keras.ops.mean(loss(wanted, output))
        gradients = tape.gradient(value, model.trainable_variables)
        pairs = [pair for pair in zip(gradients, model.trainable_variables, strict=True) if pair[0] is not None]
        if step == 0:
            optimizer.build([variable for _, variable in pairs])
        optimizer.apply_gradients(pairs)


def _linear(tensor: Any) -> bool:
    activation = getattr(tensor._keras_history.operation, "activation", None)
    return getattr(activation, "__name__", "linear") == "linear"


def _for_keras(model: Any, samples: dict[str, NDArray[Any]]) -> Any:
    from edgefm.keras_graph.ends import given_to

    return samples[""] if "" in samples else given_to(model, joined.join(samples))


def _of_keras(model: Any, samples: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
    import keras

    outputs = model.predict(_for_keras(model, samples), verbose=0)
    return [np.asarray(output, np.float32) for output in keras.tree.flatten(outputs)]


def _stock(model: Any, data: Any) -> tuple[bytes | None, str]:
    """Return the int8 file of TensorFlow's converter, or why there is none."""
    import tensorflow as tf

    from edgefm.core.silence import silenced
    from edgefm.data.calibration import calibration_images

    chosen = calibration_images(data.train, count=min(256, len(data.train)), seed=0)

    def representative() -> Any:
        for place in range(len(chosen)):
            sample = chosen[place : place + 1]
            if joined.is_joined(chosen):
                yield joined.split(sample)
            else:
                yield [sample.astype(str(model.inputs[0].dtype)) if sample.dtype.kind in "iu" else sample]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if not any("int" in str(tensor.dtype) for tensor in model.inputs):
        converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        with silenced():
            return bytes(converter.convert()), ""
    except Exception as error:  # the converter raises its own class, TensorFlow several others
        return None, " ".join(str(error).split())[:160] or type(error).__name__


def _compared(
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
        for place in range(_TEST):
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


if __name__ == "__main__":
    sys.exit(main())
