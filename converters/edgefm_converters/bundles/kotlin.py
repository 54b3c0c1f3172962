"""A contract -> Kotlin for Android: a class that feeds the model, runs it and says what its outputs mean.

All that depends on the model is decided here and stands in the code as numbers: dtype, scale and zero point of each
end, number of values, what the outputs mean. Arithmetic is that of `Contract.encode` and `decode`, bit for bit:
float32 throughout, halves rounded to even.
"""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import indent

import numpy as np

from edgefm.core.text import visible
from edgefm.tflite.contract import Contract, Tensor
from edgefm_converters.bundles.head import (
    Field,
    check_input,
    fields,
    fit_words,
    float32_literal,
    head_of,
    score_word,
    shape_words,
)

_IMPORTS = """\
import android.content.Context
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import org.tensorflow.lite.Interpreter"""
_WITH_LABELS = ("classes", "second", "labels")
_SQUASHES = {
    "softmax": """\
/** Logits as probabilities that sum to 1. */
private fun softmax(logits: FloatArray): FloatArray {
    val greatest = logits.maxOrNull()!!
    val powers = DoubleArray(logits.size) { Math.exp(logits[it].toDouble() - greatest) }
    val sum = powers.sum()
    return FloatArray(logits.size) { (powers[it] / sum).toFloat() }
}""",
    "sigmoid": """\
/** Logits as probabilities, each for itself. */
private fun sigmoid(logits: FloatArray): FloatArray {
    return FloatArray(logits.size) { (1 / (1 + Math.exp(-logits[it].toDouble()))).toFloat() }
}""",
}
# Kotlin's array of each kind of input value, and how one of it is put into the buffer.
_ARRAYS = {"float32": "FloatArray", "int32": "IntArray", "int64": "LongArray"}
_BYTES = {"float32": 4, "int32": 4, "int64": 8, "uint8": 1, "int8": 1}


def kotlin_code(contract: Contract, *, name: str = "EdgeModel") -> str:
    """Return a Kotlin file with one class, which takes `model.tflite` and `labels.txt` from an app's assets.

    Args:
      contract: of the model.
      name: of the class.
    Raises:
      ModelError: an end of a type that no code is known for.
    """
    check_input(contract)
    outputs = fields(contract)
    body = [
        _answer_class(contract, outputs),
        _state(contract),
        _encode(contract),
        _run(contract, outputs),
        *[_SQUASHES[field.squash] for field in outputs if field.squash],
        "override fun close() = interpreter.close()",
    ]
    names = f"{_plain(contract.name)}, {_plain(contract.variant)}"
    title = f"/** {names}. Make one and keep it: loading costs far more than one run. */"
    inner = indent("\n\n".join(body), "    ")
    return f"{_IMPORTS}\n\n{title}\nclass {name}(context: Context) : AutoCloseable {{\n{inner}\n}}\n"


def _answer_class(contract: Contract, outputs: Iterable[Field]) -> str:
    values = [f"    /** {_meaning(contract, field)} */\n    val {field.name}: {_type(field)}," for field in outputs]
    return "class Answer(\n" + "\n".join(values) + "\n)"


def _type(field: Field) -> str:
    if field.head in _WITH_LABELS:
        return "List<Pair<String, Float>>"
    return "IntArray" if field.head == "places" else "FloatArray"


def _meaning(contract: Contract, field: Field) -> str:
    word, shape = score_word(field), shape_words(field.tensor.shape)
    if field.head in ("classes", "second"):
        return f"Each label with its {word}, the greatest first."
    if field.head == "labels":
        return f"Each label with its {word}, in the order of labels.txt; several may hold, or none."
    if field.head == "places":
        number = "a line of labels.txt from 0" if contract.labels else "a number from 0"
        return f"The most probable class at each place, {number}: {list(field.tensor.shape[1:-1])}."
    if field.head == "reconstruction":
        if contract.no_pixels is not None or (contract.mean, contract.std) == (0, 1):
            return f"The input given back, {shape}, the last index runs fastest."
        pixel = f"value * {contract.std:g}" + (f" + {contract.mean:g}" if contract.mean else "")
        return f"The input given back, {shape}, the last index runs fastest; pixel = {pixel}."
    return f"Real values of '{_plain(field.tensor.name)}', {shape}, the last index runs fastest."


def _state(contract: Contract) -> str:
    labels = 'private val labels = context.assets.open("labels.txt").bufferedReader().use { it.readLines() }\n'
    model = """\
private val interpreter = context.assets.openFd("model.tflite").use { file ->
    val model = FileInputStream(file.fileDescriptor).channel
        .map(FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength)
    Interpreter(model, Interpreter.Options().setNumThreads(1))
}"""
    return (labels if head_of(contract) in _WITH_LABELS else "") + model


def _takes(contract: Contract) -> tuple[str, str, str]:
    """Return the name of the input's values, their array and what they are."""
    size, shape = contract.input.size, shape_words(contract.input.shape)
    if contract.input.dtype in ("int32", "int64"):
        return "values", _ARRAYS[contract.input.dtype], f"{size} whole numbers, {shape}, taken as they are"
    if contract.no_pixels is not None:
        return "values", "FloatArray", f"{size} real inputs, {shape}, the last index runs fastest"
    if len(contract.input.shape) != 4:
        return "levels", "IntArray", f"{size} levels, 0 to 255, {shape}, the last index runs fastest"
    channels = contract.input.shape[-1]
    order = "blue, green, red" if contract.blue_first else "red, green, blue"
    kinds = {1: "grey levels", 3: f"levels of {order} in turn", 4: "levels of four channels in turn"}
    kind = kinds.get(channels, f"levels of {channels} channels in turn")
    return "levels", "IntArray", f"{size} {kind}, 0 to 255, row by row from the top left"


def _encode(contract: Contract) -> str:
    name, array, words = _takes(contract)
    size = contract.input.size
    checks = [f'require({name}.size == {size}) {{ "{size} {name} are expected, got ${{{name}.size}}" }}']
    if name == "levels":
        checks.append('require(levels.all { it in 0..255 }) { "levels must lie in 0 to 255" }')
    lines = [
        f"/** {' '.join(filter(None, [f'Returns the bytes that go in. `{name}`: {words}.', fit_words(contract)]))} */",
        f"fun encode({name}: {array}): ByteBuffer {{",
        *(f"    {check}" for check in checks),
        f"    val input = ByteBuffer.allocateDirect({size * _BYTES[contract.input.dtype]})"
        ".order(ByteOrder.nativeOrder())",
        f"    for ({name[:-1]} in {name}) {{",
        *(f"        {line}" for line in _put(contract, name[:-1])),
        "    }",
        "    input.rewind()",
        "    return input",
        "}",
    ]
    return "\n".join(lines)


def _put(contract: Contract, symbol: str) -> list[str]:
    """Return the lines that put one value of the input into the buffer."""
    tensor = contract.input
    if tensor.dtype in ("int32", "int64"):
        return [f"input.put{'Int' if tensor.dtype == 'int32' else 'Long'}({symbol})"]
    if contract.takes_raw_pixels():
        return [f"input.put({symbol}.toByte())"]
    real = _real(contract, symbol)
    if tensor.scale is None or tensor.zero_point is None:
        return [f"input.putFloat({real})"]
    limits, zero = np.iinfo(tensor.dtype), tensor.zero_point
    return [
        f"val steps = Math.rint((({real}) / {float32_literal(tensor.scale)}f).toDouble())",
        f"    .coerceIn({limits.min - zero}.0, {limits.max - zero}.0)",
        f"input.put((steps.toInt(){_plus(zero)}).toByte())",
    ]


def _real(contract: Contract, symbol: str) -> str:
    if contract.no_pixels is not None:
        return symbol
    centred = f"({symbol} - {float32_literal(contract.mean)}f)" if contract.mean else symbol
    if contract.std != 1:
        return f"{centred} / {float32_literal(contract.std)}f"
    return centred if contract.mean else f"{symbol}.toFloat()"


def _run(contract: Contract, outputs: tuple[Field, ...]) -> str:
    name, array, words = _takes(contract)
    buffers = [
        f"    val out{place} = ByteBuffer.allocateDirect({field.tensor.size * _BYTES[field.tensor.dtype]})"
        ".order(ByteOrder.nativeOrder())"
        for place, field in enumerate(outputs)
    ]
    ends = ", ".join(f"{place} to out{place}" for place in range(len(outputs)))
    values = [
        f"    val real{place} = FloatArray({field.tensor.size}) {{ {_decoded(field.tensor, f'out{place}')} }}"
        for place, field in enumerate(outputs)
    ]
    answer = [
        f"        {field.name} = {_answered(field, _squashed(field, place))}," for place, field in enumerate(outputs)
    ]
    lines = [
        f"/** Runs the model. `{name}`: {words}. */",
        f"fun run({name}: {array}): Answer {{",
        *buffers,
        f"    interpreter.runForMultipleInputsOutputs(arrayOf<Any>(encode({name})), mapOf<Int, Any>({ends}))",
        *values,
        "    return Answer(",
        *answer,
        "    )",
        "}",
    ]
    return "\n".join(lines)


def _decoded(tensor: Tensor, buffer: str) -> str:
    if tensor.scale is None or tensor.zero_point is None:
        return f"{buffer}.getFloat(4 * it)"
    # A byte is signed in Kotlin: it is an int8 level as it is, a uint8 level only masked.
    level = f"{buffer}.get(it).toInt()" if tensor.dtype == "int8" else f"({buffer}.get(it).toInt() and 0xFF)"
    centred = f"({level}{_plus(-tensor.zero_point)})" if tensor.zero_point else level
    return f"{centred} * {float32_literal(tensor.scale)}f"


def _squashed(field: Field, place: int) -> str:
    return f"{field.squash}(real{place})" if field.squash else f"real{place}"


def _answered(field: Field, real: str) -> str:
    if field.head == "classes":
        return f"labels.zip({real}.asList()).sortedByDescending {{ it.second }}"
    if field.head == "second":
        both = f"{real}.let {{ listOf(1 - it[0], it[0]) }}"
        return f"labels.zip({both}).sortedByDescending {{ it.second }}"
    if field.head == "labels":
        return f"labels.zip({real}.asList())"
    if field.head == "places":
        classes = field.tensor.shape[-1]
        if classes == 1:
            return f"IntArray({field.tensor.size}) {{ place -> if ({real}[place] > {field.threshold:g}f) 1 else 0 }}"
        best = f"(0 until {classes}).maxByOrNull {{ {real}[place * {classes} + it] }}!!"
        return f"IntArray({field.tensor.size // classes}) {{ place -> {best} }}"
    return real


def _plus(number: int) -> str:
    """Return a number as something added: ' + 3', ' - 128', or '' for 0."""
    return "" if number == 0 else f" {'+' if number > 0 else '-'} {abs(number)}"


def _plain(text: str) -> str:
    """Return a name as it may stand in a comment: on one line, it neither ends it nor opens another."""
    return visible(text).replace("*/", "* /").replace("/*", "/ *")
