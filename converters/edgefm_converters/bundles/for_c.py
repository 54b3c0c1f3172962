"""The bundle for C: the model as data, its contract as macros, C99 helpers, and a main for TensorFlow Lite Micro."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable
from importlib import resources

import numpy as np

from edgefm.core.errors import ModelError
from edgefm.tflite.contract import Contract
from edgefm_converters.bundles.golden import FamilyAnswers, little_endian
from edgefm_converters.bundles.head import fields, float32_literal
from edgefm_converters.bundles.parts import BundleParts
from edgefm_converters.bundles.sbom import Needed

KIND = "c"
NEEDS = (Needed(name="tflite-micro", version="", purl="pkg:github/tensorflow/tflite-micro", licence="Apache-2.0"),)
USE = """\
| file | what it is |
|---|---|
| `src/model_data.c`, `.h` | the model as a constant, aligned array |
| `src/contract.h`, `contract.c` | what goes in and comes out, as macros; the labels |
| `src/edge_model.c`, `.h` | C99: pixels to the input, the output to probabilities, argmax, CRC-32 |
| `src/golden_vectors.c`, `.h`, `self_test.c`, `.h` | golden vectors, and what holds the model against them |
| `standalone/` | with `--standalone`: the network as C99 with its kernels, no interpreter; little-endian processors |
| `tflm/main.cc` | TensorFlow Lite Micro with the operators of this model alone; runs the self-test |
| `CMakeLists.txt` | builds them; with `-DTFLM_DIR=...` (a built tree of TensorFlow Lite Micro) `main.cc`, too |
| `library.properties`, `examples/` | the same as an Arduino library |
| `contract.json`, `labels.txt`, `golden/`, `sbom.cdx.json`, `NOTICE`, `manifest.json` | what they were made of |

```bash
cmake -B build && cmake --build build        # the C files as a library
cmake -B build -DTFLM_DIR=~/tflite-micro && cmake --build build
```"""
# Files that are the same for every model, by their place in the bundle.
_STATIC = {
    "CMakeLists.txt": "CMakeLists.txt",
    "examples/self_test/self_test.ino": "self_test.ino",
    **{f"src/{name}": name for name in ("edge_model.c", "edge_model.h", "self_test.c", "self_test.h")},
}
# As many golden vectors as take so many bytes of flash, at least one.
_GOLDEN_BYTES = 65_536
_A_LINE = 16
# Beyond what was recorded: other builds of TensorFlow Lite Micro keep other records of their own.
_ARENA_MARGIN = 0.1
_ARENA_STEP = 1024
_TYPES = {"uint8": "uint8_t", "int8": "int8_t", "int16": "int16_t", "float32": "float", "int32": "int32_t"}
_METHODS = {
    "BATCH_MATMUL": "BatchMatMul",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}


def files(parts: BundleParts) -> dict[str, bytes]:
    """Return the files of the bundle that are of this kind alone, by path.

    Raises:
      ModelError: TensorFlow Lite Micro does not load the model, no C is known for its ends, or see `check_operators`.
    """
    contract = parts.contract
    check_operators(parts.operators)
    if parts.arena_bytes is None:
        raise ModelError(
            f"TensorFlow Lite Micro does not run this model: {parts.arena_reason}",
            hint="Take a file of integer tensors alone, such as int8_w8a8.",
        )
    for tensor in (contract.input, *contract.outputs):
        if tensor.dtype not in _TYPES:
            raise ModelError(f"no C can be written for '{tensor.name}', {tensor.dtype}; known are {', '.join(_TYPES)}")
    folder = resources.files("edgefm_converters.bundles").joinpath("c_files")
    texts = {
        "src/model_data.h": _model_header(),
        "src/model_data.c": _model_source(parts.model),
        "src/contract.h": _contract_header(parts),
        "src/contract.c": _contract_source(parts),
        "src/golden_vectors.h": _golden_header(parts),
        "src/golden_vectors.c": _golden_source(parts),
        "tflm/main.cc": _main(parts, folder.joinpath("main.cc.in").read_text(encoding="ascii")),
        "library.properties": _arduino(contract),
    }
    static = {place: folder.joinpath(name).read_bytes() for place, name in _STATIC.items()}
    if parts.network:
        texts |= {f"standalone/{name}": text for name, text in parts.network.items()}
        static["standalone/main.c"] = folder.joinpath("standalone_main.c").read_bytes()
    return {**{name: text.encode("ascii") for name, text in texts.items()}, **static}


def check_operators(operators: Iterable[str]) -> None:
    """Raise a ModelError that names custom operators: the main of the bundle would lack their kernels.

    >>> check_operators(["ADD", "CUSTOM:Audio"])
    Traceback (most recent call last):
    edgefm.core.errors.ModelError: a bundle for c has no kernels for custom operators; this model holds Audio
      Convert it to built-in operators alone, or leave out what they do, such as a last step.
    """
    custom = [name.partition(":")[2] or "one without a name" for name in operators if name.startswith("CUSTOM")]
    if custom:
        raise ModelError(
            f"a bundle for c has no kernels for custom operators; this model holds {', '.join(custom)}",
            hint="Convert it to built-in operators alone, or leave out what they do, such as a last step.",
        )


def arena_bytes(recorded: int) -> int:
    """Return the arena that is reserved for what was recorded: a tenth more, in whole kilobytes.

    >>> arena_bytes(59_440)
    65536
    """
    return math.ceil(recorded * (1 + _ARENA_MARGIN) / _ARENA_STEP) * _ARENA_STEP


def resolver_method(operator: str) -> str:
    """Return the method of MicroMutableOpResolver that adds a built-in operator.

    >>> resolver_method("CONV_2D"), resolver_method("SPACE_TO_BATCH_ND"), resolver_method("PADV2")
    ('AddConv2D', 'AddSpaceToBatchNd', 'AddPadV2')
    """
    return "Add" + _METHODS.get(operator, "".join(part.capitalize() for part in operator.split("_"))).replace(
        "2d", "2D"
    )


def c_string(text: str) -> str:
    r"""Return a text as a string literal of C: ASCII alone, each other byte as three octal digits.

    >>> c_string('a"?b')
    '"a\\042\\077b"'
    """
    plain = re.compile(rb"[A-Za-z0-9 ,.:;()/+*=_<>|~!&@$%^{}\[\]#'-]")
    parts = [
        chr(byte) if plain.fullmatch(bytes([byte])) else f"\\{byte:03o}"
        for byte in " ".join(text.splitlines()).encode()
    ]
    return '"' + "".join(parts) + '"'


def _model_header() -> str:
    return _header(
        "EDGE_MODEL_DATA_H",
        ["extern const uint8_t edge_model_data[];", "extern const size_t edge_model_size;"],
    )


def _model_source(model: bytes) -> str:
    return "\n".join(
        [
            '#include "model_data.h"',
            "",
            _ALIGNED,
            f"const uint8_t edge_model_data[{len(model)}] EDGE_ALIGNED = {{",
            *_bytes(model),
            "};",
            f"const size_t edge_model_size = {len(model)};",
            "",
        ]
    )


def _contract_header(parts: BundleParts) -> str:
    contract, first = parts.contract, fields(parts.contract)[0]
    source, output = contract.input, contract.output
    pixels = contract.no_pixels is None and source.dtype in ("uint8", "int8", "float32")
    family = _family(parts)
    arena = parts.arena_bytes or 0
    limits = np.iinfo(source.dtype) if source.dtype not in ("float32",) else None
    values = {
        "EDGE_MODEL_CRC32": f"0x{zlib.crc32(parts.model):08X}u",
        "EDGE_ARENA_RECORDED": str(arena),
        "EDGE_ARENA_BYTES": str(arena_bytes(arena)),
        "EDGE_INPUT_SIZE": str(source.size),
        "EDGE_INPUT_BYTES": str(source.size * np.dtype(source.dtype).itemsize),
        "EDGE_INPUT_QUANTISED": str(int(source.scale is not None)),
        "EDGE_INPUT_SCALE": _float(source.scale),
        "EDGE_INPUT_ZERO_POINT": str(source.zero_point or 0),
        "EDGE_INPUT_MIN": str(limits.min if limits is not None and source.scale is not None else 0),
        "EDGE_INPUT_MAX": str(limits.max if limits is not None and source.scale is not None else 0),
        "EDGE_TAKES_PIXELS": str(int(pixels)),
        "EDGE_PIXEL_MEAN": _float(contract.mean),
        "EDGE_PIXEL_STD": _float(contract.std),
        "EDGE_OUTPUTS": str(len(contract.outputs)),
        "EDGE_OUTPUTS_BYTES": str(sum(end.size * np.dtype(end.dtype).itemsize for end in contract.outputs)),
        "EDGE_OUTPUT_SIZE": str(output.size),
        "EDGE_OUTPUT_QUANTISED": str(int(output.scale is not None)),
        "EDGE_OUTPUT_SCALE": _float(output.scale),
        "EDGE_OUTPUT_ZERO_POINT": str(output.zero_point or 0),
        "EDGE_OUTPUT_SOFTMAX": str(int(first.squash == "softmax")),
        "EDGE_OUTPUT_SIGMOID": str(int(first.squash == "sigmoid")),
        "EDGE_LABELS": str(len(contract.labels)),
        "EDGE_SHARE_ALLOWED": _float(family.tolerance.share),
    }
    shape = " x ".join(str(length) for length in source.shape[1:])
    body = [
        f"/* Input: {shape}, {source.dtype}; {_comment(contract.input_formula())}. */",
        f"/* Output: {output.size} values, {output.dtype}; {_comment(contract.output_formula())}. */",
        f"/* The arena: TensorFlow Lite Micro recorded {arena:,} bytes; a tenth more is reserved. */",
        *(f"#define {name} {value}" for name, value in values.items()),
        "",
        f"typedef {_TYPES[source.dtype]} edge_input_t;",
        f"typedef {_TYPES[output.dtype]} edge_output_t;",
        "",
        "typedef struct {",
        "  size_t values;",
        "  size_t bytes; /* of one value */",
        "  int is_float;",
        "  int is_signed;",
        "  float allowed; /* largest difference to a golden vector: levels, or a share of the greatest magnitude */",
        "} edge_end_t;",
        "",
        "extern const edge_end_t edge_output_ends[EDGE_OUTPUTS];",
        "#if EDGE_LABELS",
        "extern const char *const edge_labels[EDGE_LABELS]; /* UTF-8, in the order of the first output */",
        "#endif",
    ]
    return _header("EDGE_CONTRACT_H", body)


def _contract_source(parts: BundleParts) -> str:
    contract = parts.contract
    allowed = _family(parts).tolerance.each(len(contract.outputs))
    ends = [
        f"    {{{end.size}, {np.dtype(end.dtype).itemsize}, {int(end.dtype == 'float32')}, "
        f"{int(not end.dtype.startswith('u'))}, {_float(most)}}},"
        for end, most in zip(contract.outputs, allowed, strict=True)
    ]
    lines = ['#include "contract.h"', "", "const edge_end_t edge_output_ends[EDGE_OUTPUTS] = {", *ends, "};"]
    if contract.labels:
        lines += ["", "const char *const edge_labels[EDGE_LABELS] = {"]
        lines += [f"    {c_string(label)}," for label in contract.labels]
        lines += ["};"]
    return "\n".join([*lines, ""])


def _golden_header(parts: BundleParts) -> str:
    body = [
        f"#define EDGE_GOLDEN_VECTORS {_golden_count(parts)}",
        "",
        f"/* Answers of the {_comment(_family(parts).title)} of {_comment(_family(parts).made_by)}. */",
        "extern const uint8_t edge_golden_inputs[];  /* EDGE_INPUT_BYTES each */",
        "extern const uint8_t edge_golden_outputs[]; /* EDGE_OUTPUTS_BYTES each, all outputs one after the other */",
    ]
    return _header("EDGE_GOLDEN_VECTORS_H", body)


def _golden_source(parts: BundleParts) -> str:
    count, family = _golden_count(parts), _family(parts)
    inputs = b"".join(little_endian(parts.golden.inputs[place]) for place in range(count))
    outputs = b"".join(little_endian(output[place]) for place in range(count) for output in family.outputs)
    lines = ['#include "golden_vectors.h"', "", _ALIGNED]
    for name, content in (("inputs", inputs), ("outputs", outputs)):
        lines += [f"const uint8_t edge_golden_{name}[{len(content)}] EDGE_ALIGNED = {{", *_bytes(content), "};", ""]
    return "\n".join(lines)


def _golden_count(parts: BundleParts) -> int:
    """Return how many golden vectors go into flash: as many as take 64 KB, at least one."""
    ends = (parts.contract.input, *parts.contract.outputs)
    size = sum(end.size * np.dtype(end.dtype).itemsize for end in ends)
    return max(1, min(len(parts.golden), _GOLDEN_BYTES // size))


def _family(parts: BundleParts) -> FamilyAnswers:
    """Return the answers of the kernels that are those of TensorFlow Lite Micro."""
    named = {family.name: family for family in parts.golden.families}
    return named.get("builtin") or parts.golden.families[0]


def _main(parts: BundleParts, template: str) -> str:
    """Return a main for TensorFlow Lite Micro that knows the model's operators alone."""
    adds = [f"  if (resolver.{resolver_method(name)}() != kTfLiteOk) return nullptr;" for name in parts.operators]
    return template.replace("@COUNT@", str(len(adds))).replace("@ADDS@", "\n".join(adds))


def _header(guard: str, body: Iterable[str]) -> str:
    lines = [f"#ifndef {guard}", f"#define {guard}", "", "#include <stddef.h>", "#include <stdint.h>", ""]
    lines += ["#ifdef __cplusplus", 'extern "C" {', "#endif", "", *body, "", "#ifdef __cplusplus", "}", "#endif", ""]
    return "\n".join([*lines, "#endif", ""])


def _bytes(content: bytes) -> list[str]:
    rows = (content[start : start + _A_LINE] for start in range(0, len(content), _A_LINE))
    return ["    " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows]


def _float(value: float | None) -> str:
    text = float32_literal(0.0 if value is None else value)
    return text + ("f" if "." in text or "e" in text else ".0f")


def _comment(text: str) -> str:
    """Return a text as it may stand in a comment."""
    plain = " ".join(text.split()).encode("ascii", "replace").decode()
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").replace("\\", "/")


def _arduino(contract: Contract) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "_", f"{contract.name}_{contract.variant}").strip("_") or "model"
    return (
        f"name={name[:60]}\nversion=1.0.0\nauthor=edgefm\nmaintainer=edgefm\n"
        "sentence=A model with its contract, golden vectors and a self-test.\n"
        "paragraph=The C files need no other library; an interpreter calls them.\n"
        "category=Data Processing\nurl=README.md\narchitectures=*\nincludes=edge_model.h,self_test.h\n"
    )


_ALIGNED = """\
#if defined(__GNUC__)
#define EDGE_ALIGNED __attribute__((aligned(16)))
#else
#define EDGE_ALIGNED
#endif
"""
