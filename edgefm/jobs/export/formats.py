"""A model in another format than TFLite, for a bundle: each by the library that knows it, its answers compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.documents import inside
from edgefm.core.errors import ModelError, RunError, unknown_name
from edgefm.core.text import code, markdown
from edgefm.jobs.export.models import MeantModel
from edgefm.jobs.quantize import QuantizationResult

if TYPE_CHECKING:
    from edgefm_converters.bundles.parts import BundleParts
    from edgefm_converters.through_torch.beside import Converted

# Formats that no library converts a .tflite file to, and why: they are written from the Keras model behind it.
_FROM_KERAS = {
    "coreml": "coremltools converts PyTorch models, no .tflite files",
    "executorch": "ExecuTorch takes PyTorch models, no .tflite files",
}
FORMATS = ("onnx", *_FROM_KERAS)
_TITLES = {"coreml": "Core ML", "executorch": "ExecuTorch"}
_FLOAT32 = "float32"


@dataclass(frozen=True, kw_only=True)
class OtherFormats:
    """A model in other formats.

    Attributes:
      files: content by path in the bundle.
      words: what the model card says of them, Markdown; '' where there are none.
    """

    files: dict[str, bytes] = field(repr=False)
    words: str = ""


def check_formats(formats: Sequence[str]) -> None:
    """Raise a RecipeError for a format that is not known."""
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)


def check_model(meant: MeantModel, formats: Sequence[str]) -> None:
    """Raise an error where a model cannot be written in a format: before anything is asked of it.

    Raises:
      ModelError: Core ML or ExecuTorch of a file without its Keras model, or of a variant that is not float32.
      RuntimeUnavailableError: the library is not installed.
    """
    from edgefm_converters.through_torch.beside import check_library

    for name in formats:
        if name in _FROM_KERAS:
            _keras_model(meant, name)
            check_library(name)


def in_formats(meant: MeantModel, parts: BundleParts, formats: Sequence[str]) -> OtherFormats:
    """Return a model in other formats.

    ONNX: tf2onnx, opset 17; the file is only taken where ONNX Runtime answers random inputs as LiteRT does. Core ML
    and ExecuTorch: the Keras model behind a float32 file, by PyTorch; only taken where its answers to the golden
    inputs are LiteRT's, as far as something here can run it.

    Args:
      meant: the model.
      parts: what is written of it, with its golden vectors.
      formats: of `FORMATS`.
    Raises:
      ModelError: it cannot be converted, or the conversion answers otherwise.
      RuntimeUnavailableError: the converter is not installed.
    """
    files: dict[str, bytes] = {}
    lines: list[str] = []
    if "onnx" in formats:
        from edgefm.runtimes.onnxruntime.tflite_to_onnx import converted, title

        files["model.onnx"] = converted(meant.path).read_bytes()
        lines.append(
            f"{code('model.onnx')}: ONNX, by {title()}. ONNX Runtime answered random inputs with it as LiteRT does."
        )
    for name in (name for name in _FROM_KERAS if name in formats):
        made, sentence = _through_torch(meant, parts, name)
        files |= made
        lines.append(sentence)
    words = "".join(f"- {line}\n" for line in lines)
    return OtherFormats(files=files, words=f"\n### Other formats\n\n{words}" if lines else "")


def _through_torch(meant: MeantModel, parts: BundleParts, name: str) -> tuple[dict[str, bytes], str]:
    """Return the files of a format that is written by PyTorch, and what the card says of them."""
    from edgefm_converters.through_torch.beside import converted

    model, added = _keras_model(meant, name)
    contract, golden = parts.contract, parts.golden
    family = golden.families[0]
    sinks = [_plain(output.name) for output in contract.outputs]
    result = converted(
        name, model, golden.inputs, added=added, source=_plain(contract.input.name), outputs=tuple(sinks)
    )
    limit = family.tolerance.largest
    checked = (
        f"converted, not run: Core ML runs on macOS. Its ends are {code(_plain(contract.input.name))} and "
        f"{', '.join(map(code, sinks))}, of the contract's shapes and types"
    )
    if result.outputs is not None:
        apart = check_answers(family.outputs, result.outputs, limit=limit, title=_TITLES[name])
        checked = (
            f"its answers to the {len(golden)} golden inputs differ from LiteRT's by at most {apart:.1e} of the "
            f"output's largest magnitude ({limit:.0e} is allowed)"
        )
    return result.files, _sentence(name, result, checked)


def _sentence(name: str, result: Converted, checked: str) -> str:
    (top,) = {path.partition("/")[0] for path in result.files}
    return (
        f"{code(top)}: {_TITLES[name]}, float32 weights, from the Keras model behind {code('model.tflite')}, by "
        f"{markdown(result.made_by)}. It takes and gives what the contract says; {checked}."
    )


def check_answers(
    expected: Sequence[NDArray[Any]], answers: Sequence[NDArray[Any]], *, limit: float, title: str
) -> float:
    """Return how far answers lie from those expected: the largest difference, of the output's largest magnitude.

    Args:
      expected: an array [n, ...] for each output.
      answers: the same of the other format.
      limit: what is allowed.
      title: of the format, for the message.
    Raises:
      ModelError: they lie further apart, or are of other shapes, or not finite.
    """
    if [each.shape for each in expected] != [each.shape for each in answers]:
        shapes = [list(each.shape) for each in answers], [list(each.shape) for each in expected]
        raise ModelError(f"the {title} model gives outputs of the shapes {shapes[0]}; {shapes[1]} are expected")
    apart = 0.0
    for one, other in zip(expected, answers, strict=True):
        size = max(float(np.abs(one).max(initial=0)), 1e-30)
        difference = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0)) / size
        if not difference <= limit:  # not a number is wrong as well
            raise ModelError(
                f"the {title} model answers otherwise than model.tflite: by {difference:.1e} of the output's largest "
                f"magnitude; {limit:.0e} is allowed",
                hint="It is not written. Quantize the run again, if its model was trained anew since; else take "
                "another format.",
            )
        apart = max(apart, difference)
    return apart


def _keras_model(meant: MeantModel, name: str) -> tuple[Path, str]:
    """Return the .keras file behind a run's float32 variant, and what comes behind its first output.

    Raises:
      ModelError: there is none, or the variant is another model than its Keras model.
    """
    from edgefm.quantization.source import model_file_of
    from edgefm.quantization.step import PASSES

    if meant.run is None:
        raise ModelError(
            f"a .tflite file cannot be written as {name}: {_FROM_KERAS[name]}",
            hint="Give the run that the file is of, whose Keras model can be; or convert the Keras model with that "
            "library, and compare its answers with golden/ of a bundle.",
        )
    _check_float32(meant, name)
    written = QuantizationResult.open(meant.run.folder(meant.run.require("quantize"))).report
    entry = next(entry for entry in written["variants"] if entry["variant"] == meant.variant)
    if entry["passes"]:
        last = entry["passes"][-1]
        path = inside(
            meant.run.path,
            f"{PASSES}/{last['recipe']['kind']}-{last['key'][:16]}/model.keras",
            where=meant.run.path,
            error=RunError,
        )
        added = ""  # passes start from the model with its head
    else:
        path, added = model_file_of(meant.run), str(written["source"]["head_added"])
    if path.suffix != ".keras":
        raise ModelError(
            f"{meant.run.path} cannot be written as {name}: its model is {path.name}, and PyTorch takes a .keras file",
            hint="Save it with Keras 3 as model.save('mine.keras'), and quantize that.",
        )
    if not path.is_file():
        raise RunError(f"{path} is missing", hint="Restore it, or quantize the run again.")
    return path, added


def _check_float32(meant: MeantModel, name: str) -> None:
    from edgefm.tflite import contract as contracts

    written = contracts.read(meant.path)
    scheme = ((written.made_by.get("variant") or {}).get("quantization") or {}).get("scheme") if written else None
    if scheme != _FLOAT32:
        raise ModelError(
            f"{meant.variant} cannot be written as {name}: it is quantised ({scheme or 'in training'}), and {name} "
            "would hold the float32 weights before that: another model, with other answers than the bundle's",
            hint=f"Choose the variant {_FLOAT32}, or one that was compressed without quantisation.",
        )


def _plain(name: str) -> str:
    """Return a name of letters, digits and '_', as Core ML wants it.

    >>> _plain("serving:0"), _plain("2nd")
    ('serving_0', '_2nd')
    """
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return plain if not plain[:1].isdigit() else f"_{plain}"
