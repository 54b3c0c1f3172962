"""What is inside a .tflite file, read without running it."""

from __future__ import annotations

import io
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgefm.core.errors import ModelError
from edgefm.core.given.archive import check_directory
from edgefm.core.given.damage import reason
from edgefm.core.results import JsonResult
from edgefm.tflite import graph, tflite_file
from edgefm.tflite.graph import OperatorInfo, TensorInfo

_METADATA = "TFLITE_METADATA"


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A way to call a model, by names.

    Attributes:
      key: its name, e.g. 'serving_default'.
      subgraph: that it runs; 0 is the one that is described, measured and compared.
      inputs: names, in the file's order.
      outputs: names, in the file's order.
    """

    key: str
    subgraph: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Inspection(JsonResult):
    """What is inside a .tflite file.

    Attributes:
      path: the file.
      size_bytes: of the file.
      description: as the converter wrote it.
      inputs: indices of the graph's input tensors.
      outputs: indices of its output tensors.
      operators: in the order of execution.
      tensors: by index.
      macs: multiply-accumulates of one inference.
      weight_bytes: of all constants, each counted once.
      largest_activation_bytes: the most that one operator's inputs and results take together: no runtime can
        hold its activations in less.
      subgraphs: number of subgraphs; the others than the first are not described.
      metadata: names of the metadata entries.
      has_tflite_metadata: there is an entry TFLITE_METADATA.
      associated_files: names of the files in the zip archive at the end, e.g. 'labels.txt'.
      signatures: ways to call it.
    """

    path: str
    size_bytes: int
    description: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[OperatorInfo, ...]
    tensors: tuple[TensorInfo, ...]
    macs: int
    weight_bytes: int
    largest_activation_bytes: int
    subgraphs: int
    metadata: tuple[str, ...]
    has_tflite_metadata: bool
    associated_files: tuple[str, ...]
    signatures: tuple[Signature, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the inspection as a JSON object."""
        return asdict(self)

    def _repr_html_(self) -> str:
        from edgefm.core import html

        caption = f"{self.path}: {self.size_bytes / 1000:,.1f} KB, {self.macs:,} MACs"
        rows = [
            [operator.index, operator.name, f"{operator.macs:,}", f"{operator.weight_bytes:,}"]
            for operator in self.operators
        ]
        return html.table(rows, ["op", "name", "MACs", "weight bytes"], caption=caption)


def inspect(model: Path) -> Inspection:
    """Return what is inside a .tflite file.

    Raises:
      ModelError: the file is missing, no TFLite file, cut off or damaged.
    """
    model = Path(model)
    content = tflite_file.content_of(model)
    from edgefm.tflite import flatbuffer  # the rest of this module needs nothing but numpy

    try:
        return _inspect(model, content, flatbuffer.read(content))
    except ModelError as error:
        raise ModelError(error.message.replace("the model", str(model), 1), hint=error.hint) from error
    except Exception as error:  # whatever a wrong number in a table leads to
        raise ModelError(
            f"{model} is damaged: its graph cannot be read ({reason(error)})",
            hint="Copy or write the file again.",
        ) from error


def operator_names(model: Path) -> tuple[str, ...]:
    """Return the names of the operators of all subgraphs of a .tflite file, each once, sorted; see `OperatorInfo.name`.

    Raises:
      ModelError: see `inspect`.
    """
    from edgefm.tflite import flatbuffer

    parsed = flatbuffer.read(tflite_file.content_of(model))
    operators = (operator for each in parsed.subgraphs for operator in each.operators or ())
    return tuple(sorted({flatbuffer.operator_name(parsed, operator) for operator in operators}))


def _inspect(path: Path, content: bytes, parsed: Any) -> Inspection:
    from edgefm.tflite.flatbuffer import indices, text

    main = parsed.subgraphs[0]
    tensors = graph.tensors(parsed)
    operators = graph.operators(parsed, tensors)
    metadata = tuple(text(entry.name) for entry in parsed.metadata or [])
    # Several tensors can share one buffer; buffer 0 is the empty one by convention.
    buffers = {tensor.buffer: tensors[i].size_bytes for i, tensor in enumerate(main.tensors) if tensors[i].constant}
    return Inspection(
        path=str(path),
        size_bytes=len(content),
        description=text(parsed.description),
        inputs=indices(main.inputs),
        outputs=indices(main.outputs),
        operators=operators,
        tensors=tensors,
        macs=sum(operator.macs for operator in operators),
        weight_bytes=sum(buffers.values()),
        largest_activation_bytes=graph.largest_working_set(operators, tensors),
        subgraphs=len(parsed.subgraphs),
        metadata=metadata,
        has_tflite_metadata=_METADATA in metadata,
        associated_files=_associated_files(content),
        signatures=tuple(
            Signature(
                key=text(entry.signatureKey),
                subgraph=int(entry.subgraphIndex),
                inputs=tuple(text(end.name) for end in entry.inputs or ()),
                outputs=tuple(text(end.name) for end in entry.outputs or ()),
            )
            for entry in parsed.signatureDefs or ()
        ),
    )


def _associated_files(content: bytes) -> tuple[str, ...]:
    try:
        check_directory(io.BytesIO(content), ModelError, source="the archive behind the model")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return tuple(archive.namelist())
    except Exception:  # what stands at the end is no archive, or a damaged one: it holds no files
        return ()
