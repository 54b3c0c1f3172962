"""`edgefm.quantize`: a model in, the .tflite files of its variants out; `edgefm.Run.quantize` keeps them in a run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import html
from edgefm.core.arguments import PathLike, as_path, check_number, check_type
from edgefm.core.documents import inside, read_versioned
from edgefm.core.errors import ArgumentError, RecipeError, RunError
from edgefm.core.progress import Progress, shown
from edgefm.jobs.arguments import FolderResult, scratch_folder, source_in_memory
from edgefm.recipes import Quantization, Variant, variant_named
from edgefm.recipes import files as recipe_files

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource
    from edgefm.tflite.contract import Contract

REPORT_FILE = "quantize.json"
_MODEL_FILE = "model.tflite"
_DEFAULT, _QUICK = "default", "quick"


@dataclass(frozen=True, kw_only=True)
class TfliteFile:
    """One written file.

    Attributes:
      name: of the variant.
      path: of the file; its contract.json and labels.txt lie beside it.
      report: what was measured on it, an entry of `variants` in quantize.json.
    """

    name: str
    path: Path
    report: Mapping[str, Any] = field(hash=False)

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self.path.stat().st_size

    @property
    def content(self) -> bytes:
        """The file's bytes."""
        return self.path.read_bytes()

    @property
    def contract(self) -> Contract | None:
        """What goes in, what comes out, how it was made."""
        from edgefm.tflite import contract

        return contract.read(self.path)

    @property
    def held(self) -> bool:
        """Whether it keeps its promises and its recipe's limit on the loss of quality."""
        limit = self.report["validation"] and self.report["validation"]["held"]
        return limit is not False and all(gates(self.report))

    def save(self, path: PathLike) -> Path:
        """Copy the file alone to a path and return it; `QuantizationResult.save` copies the contracts, too."""
        target = as_path(path, "path")
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(self.path, target))

    def to_json(self) -> dict[str, Any]:
        """Return what was measured on the file: its entry of quantize.json."""
        return dict(self.report)

    def _repr_html_(self) -> str:
        return _table([self])


@dataclass(frozen=True, kw_only=True)
class QuantizationResult(FolderResult, Mapping[str, TfliteFile]):
    """The written files by the name of their variant; `len`, `in`, iteration and `[name]` work as on a dict.

    Attributes:
      report: the content of quantize.json: source, folding, conversion, variants, skipped, versions.
    """

    report: Mapping[str, Any] = field(hash=False)

    @classmethod
    def open(cls, folder: Path, *, scratch: Any = None) -> QuantizationResult:
        """Return the result in a folder that holds quantize.json.

        Raises:
          RunError: it is missing, damaged, or a newer edgefm wrote it.
        """
        report = read_versioned(
            folder / REPORT_FILE,
            what="description of written files",
            newest=2,
            schema="quantize-2",
            error=RunError,
            hint="Restore it, or quantize again.",
        )
        return cls(folder=folder, report=report, _scratch=scratch)

    @property
    def files(self) -> tuple[TfliteFile, ...]:
        """The files in the order of writing."""
        return tuple(
            TfliteFile(name=entry["variant"], path=self._file(entry["file"]), report=entry)
            for entry in self.report["variants"]
        )

    def _file(self, name: str) -> Path:
        return inside(self.folder, name, where=self.folder / REPORT_FILE, error=RunError)

    @property
    def skipped(self) -> Mapping[str, str]:
        """Variants that the model or its data cannot give, with the reason."""
        return {entry["variant"]: entry["reason"] for entry in self.report["skipped"]}

    @property
    def findings(self) -> tuple[Mapping[str, Any], ...]:
        """What is wrong with the given model's or a file's answers: `where`, `code` and `message` each."""
        return tuple(self.report.get("findings", ()))

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with any file: no finding, and every promise of its passes is kept."""
        return not self.findings and all(all(gates(file.report)) for file in self.files)

    @property
    def held(self) -> bool:
        """Whether all files are sound and within their recipe's limits, and none was left out."""
        return self.sound and not self.skipped and all(file.held for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return the content of quantize.json."""
        return dict(self.report)

    def __getitem__(self, name: str) -> TfliteFile:
        for file in self.files:
            if file.name == name:
                return file
        reason = f" was left out: {self.skipped[name]}" if name in self.skipped else ""
        raise KeyError(f"{name!r}{reason}; the variants are {', '.join(self)}")

    def __iter__(self) -> Iterator[str]:
        return (entry["variant"] for entry in self.report["variants"])

    def __len__(self) -> int:
        return len(self.report["variants"])

    def _repr_html_(self) -> str:
        skipped = [html.paragraph(f"left out: {name}: {reason}") for name, reason in self.skipped.items()]
        wrong = [html.paragraph(f"{finding['where']}: {finding['message']}") for finding in self.findings]
        return _table(self.files) + "".join(skipped + wrong)


def _table(files: Sequence[TfliteFile]) -> str:
    rows = [
        [
            file.name,
            f"{file.report['size_bytes'] / 1000:,.1f}",
            f"{100 * file.report['of_float32']:.1f} %",
            f"{file.report['max_abs_difference']:.1e}",
            quality_of(file.report),
            "yes" if file.held else "no",
        ]
        for file in files
    ]
    samples = next((file.report["validation"]["samples"] for file in files if file.report["validation"]), 0)
    quality = f"quality (validation, n = {samples:,})" if samples else "quality"
    return html.table(rows, ["variant", "KB", "of float32", "largest difference", quality, "checks passed"])


def quantize(
    model: Any,
    variants: str | Variant | Sequence[str | Variant] | None = None,
    *,
    data: Dataset | DataSource | PathLike | None = None,
    recipe: Quantization | PathLike | None = None,
    quick: bool = False,
    calibration_images: int | None = None,
    seed: int | None = None,
    fold: bool = True,
    calibration_data: PathLike | None = None,
    quality: str | None = None,
    labels: Sequence[str] | None = None,
    value_range: Sequence[float] | None = None,
    head: str = "auto",
    trust: bool = False,
    progress: Progress | bool | None = None,
) -> QuantizationResult:
    """Compress a model, quantise it and return its .tflite files, each with its contract.

    The files lie in a temporary folder until `save` copies them; `edgefm.Run(folder).quantize(...)` keeps them in
    a run.

    Args:
      model: a keras.Model, a path (.keras, .h5, SavedModel, float .tflite), or what `edgefm.train` or
        `edgefm.compress` gave.
      variants: names such as 'int8_w8a8', 'qat_int8', 'pruned80_qat_int8', or `Variant` recipes. Those that cannot
        be made are listed with the reason in the result's `skipped`; the others are written.
      data: what it is calibrated, fine-tuned and measured on; without it only float32, float16 and drq_w8 are possible.
      recipe: instead of variants: a name (see `edgefm.recipes.names()`), a file, or a `Quantization`; by default
        'default', with fewer than 2,000 training samples of your own 'quick'.
      quick: the recipe 'quick': variants that need no training.
      calibration_images: samples that set int8 ranges, instead of the recipe's.
      seed: of calibration samples and fine-tuning, instead of the recipe's.
      fold: fold batch normalisation exactly.
      calibration_data: .npz with `images`, for a model without `data`.
      quality: measure of quality; by default that of the data's task.
      labels: class names; by default those of the data.
      value_range: lowest and highest input value of the model, for pixels 0 and 255; by default (0, 255).
      head: what the outputs become: 'softmax', 'sigmoid', 'logits' (left as they are), or 'auto': by the model's end,
        the loss that it was compiled with, and the labels.
      trust: run code that a model file contains, e.g. Lambda layers.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      RecipeError: an unknown variant or recipe, or several of variants, recipe and quick.
      ModelError: the model cannot be loaded or converted, its float32 file does not answer as it does, or no variant
        can be made of it.
      DataError: the data cannot be read or do not fit the model.
    """
    chosen = quantization_recipe(
        variants, recipe=recipe, quick=quick, calibration_images=calibration_images, seed=seed, fold=fold
    )
    few = None if variants or recipe or quick else quick_like(chosen)
    with shown(progress) as receiver:
        from edgefm.quantization.export import export_variants
        from edgefm.quantization.feasibility import for_data

        source = source_in_memory(
            model,
            chosen,
            data=data,
            quality=quality,
            labels=labels,
            value_range=value_range,
            calibration_data=calibration_data,
            head=head,
            trust=trust,
            progress=receiver,
        )
        chosen = for_data(chosen, few, source.task.dataset if source.task else None, progress=receiver)
        folder, scratch = scratch_folder()
        kept, _passes = scratch_folder()
        export_variants(source, folder, recipe=chosen, kept=kept, progress=receiver)
    return QuantizationResult.open(folder, scratch=scratch)


def quick_like(chosen: Quantization) -> Quantization:
    """Return the recipe 'quick' with the calibration, seed and folding of another."""
    return replace(chosen, variants=recipe_files.load(_QUICK).variants)


def quantization_recipe(
    variants: str | Variant | Sequence[str | Variant] | None,
    *,
    recipe: Quantization | PathLike | None = None,
    quick: bool = False,
    calibration_images: int | None = None,
    seed: int | None = None,
    fold: bool = True,
) -> Quantization:
    """Return the recipe that `quantize`'s arguments ask for; see there."""
    given = [name for name, used in (("variants", variants), ("recipe", recipe), ("quick", quick)) if used]
    if len(given) > 1:
        raise RecipeError(f"{' and '.join(given)} were given together", hint="Each names a set of variants: give one.")
    if variants is not None:
        names = [variants] if isinstance(variants, str | Variant) else variants
        check_type(names, "variants", Sequence, "the name of a variant, or a list of names")
        for index, name in enumerate(names):
            check_type(name, f"variants[{index}]", (str, Variant), "the name of a variant, or a Variant")
        if not names:
            raise ArgumentError(
                "variants is empty; at least one name is expected", hint="Leave it out for the default recipe."
            )
        unique = dict.fromkeys(names)
        chosen = Quantization(variants=tuple(variant_named(name) if isinstance(name, str) else name for name in unique))
    elif isinstance(recipe, Quantization):
        chosen = recipe
    else:
        name = (_QUICK if quick else _DEFAULT) if recipe is None else str(as_path(recipe, "recipe"))
        chosen = recipe_files.load(name)
    check_number(calibration_images, "calibration_images", int)
    check_number(seed, "seed", int)
    if calibration_images is not None:
        chosen = replace(chosen, calibration_images=calibration_images)
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    return chosen if fold else replace(chosen, fold_batch_norm=False)


def gates(entry: Mapping[str, Any]) -> list[bool]:
    """Return of each promise of a file, and of the parity of trained graph and file, whether it held."""
    parities = [applied["facts"]["parity"] for applied in entry["passes"] if applied["facts"].get("parity")]
    return [bool(gate["held"]) for gate in (*entry["promises"], *parities)]


def quality_of(entry: Mapping[str, Any]) -> str:
    """Return the quality of a file on the validation samples, in words; '-' where it was not measured."""
    validation = entry["validation"]
    if validation is None:
        return "-"
    value = f"{100 * validation['value']:.2f} %" if validation["unit"] == "%" else f"{validation['value']:.4g}"
    return f"{validation['quality']} {value}"
