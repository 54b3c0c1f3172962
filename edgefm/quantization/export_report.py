"""What an export did, measured on its files: the content of quantize.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class VariantReport:
    """One written file.

    Attributes:
      variant: its name.
      description: what it is, in words.
      file: path relative to the export's folder.
      sha256: of the file.
      size_bytes: of the file, metadata included.
      gzip_bytes: of the file compressed with gzip -9.
      zstd_bytes: of the file compressed with zstd -19.
      of_float32: size_bytes over that of the float32 file.
      macs: multiply-accumulates of one inference.
      activation_bytes: the most that one operator's inputs and results take together; estimated from the graph.
      max_abs_difference: greatest difference of an output from the given model's, over the parity samples.
      same_top1: share of the parity samples with the given model's best class; None where outputs are no classes.
      same_labels: share of them with the same set of labels, where a sample has several.
      passes: what each pass did: recipe, facts measured on its result, history of fine-tuning, seconds.
      promises: what the passes promise, measured on this file: promise, wanted, found, held.
      validation: quality of this file on the validation samples beside the given model's and the float32 file's, and
        whether the limit on its loss held; None without data.
      worst_column: the column of an output that differs most from the given model's; see
        `edgefm.quantization.checks.columns.Column`.
      post_training: what equalisation and bias correction did, what stays float32 because of `shared_scales`, errors on
        a phone's `kernels`; {} without.
      seconds: time that this variant took now, passes that had been done before left out.
    """

    variant: str
    description: str
    file: str
    sha256: str
    size_bytes: int
    gzip_bytes: int
    zstd_bytes: int
    of_float32: float
    macs: int
    activation_bytes: int
    max_abs_difference: float
    same_top1: float | None
    same_labels: float | None
    passes: tuple[Mapping[str, Any], ...]
    promises: tuple[Mapping[str, Any], ...]
    validation: Mapping[str, Any] | None
    worst_column: Mapping[str, Any] | None
    post_training: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What an export did, measured on its files.

    Attributes:
      source: name, file and sha256 of the model; the value range of its inputs; `head` (what the first output
        means), `head_added` (what was put behind the model), `softmax_added`, `task`.
      recipe: what was asked for, as JSON.
      variants: one entry a file, in the order of writing.
      skipped: variants of the recipe that could not be made of this source: name and reason.
      given: quality of the given model in its own framework, on the same samples as the files'.
      findings: what is wrong with the given model's or a file's answers: where, code and message.
      folding: of the model before any pass: `used`; `reason` where it is not; `max_abs_difference` from the given
        model; `folded` and `left_out` layers.
      conversion: `max_abs_difference` and `same_top1` of the float32 file against the given model.
      parity: the samples on which outputs were compared.
      calibration: the samples that set the ranges of activations; None without a calibrated variant.
      seconds: by phase: reference, variants.
      versions: of the libraries used.
    """

    source: Mapping[str, Any]
    recipe: Mapping[str, Any]
    variants: tuple[VariantReport, ...]
    skipped: tuple[Mapping[str, str], ...]
    given: Mapping[str, Any]
    findings: tuple[Mapping[str, Any], ...]
    folding: Mapping[str, Any]
    conversion: Mapping[str, Any]
    parity: Mapping[str, Any]
    calibration: Mapping[str, Any] | None
    seconds: Mapping[str, float]
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "schema_version": SCHEMA_VERSION,
            **asdict(self),
            "variants": [asdict(variant) for variant in self.variants],
        }
