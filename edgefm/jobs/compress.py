"""`edgefm.compress`: a Keras model in, a smaller or quantisation-aware one out; some passes, one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import artefacts, html, scratch
from edgefm.core.arguments import PathLike, as_path, check_items
from edgefm.core.errors import ArgumentError
from edgefm.core.progress import Progress, shown
from edgefm.core.results import JsonResult
from edgefm.jobs.arguments import require_data, source_in_memory
from edgefm.recipes import Pass, Qat, Quantization
from edgefm.recipes.quantization import check_order

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource


@dataclass(frozen=True, kw_only=True)
class AppliedPass(JsonResult):
    """What one pass did.

    Attributes:
      recipe: the pass.
      facts: measured on its result, e.g. the sparsity of each kernel; never echoed from the recipe.
      history: one entry an epoch of fine-tuning.
      seconds: wall-clock time it took.
    """

    recipe: Pass = field(hash=False)
    facts: Mapping[str, Any] = field(hash=False)
    history: tuple[Mapping[str, Any], ...] = field(hash=False)
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return what was done as a JSON object."""
        return {**asdict(self), "recipe": self.recipe.to_json()}

    def _repr_html_(self) -> str:
        return _table([self])


@dataclass(frozen=True, kw_only=True)
class CompressionResult:
    """A compressed model.

    Attributes:
      model: new keras.Model, with the inputs and outputs of the given one; a classifier that gave logits ends in
        probabilities, see `head_added`.
      passes: what each pass did, in their order.
      head_added: 'softmax' or 'sigmoid', where the given model gave logits and this was put behind them; '' otherwise.
      int8: content of the .tflite file that quantisation-aware training gave; None without it.
    """

    model: Any
    passes: tuple[AppliedPass, ...]
    head_added: str = ""
    int8: bytes | None = field(default=None, repr=False)

    @property
    def softmax_added(self) -> bool:
        """Whether a softmax was put behind the given model's outputs."""
        return self.head_added == "softmax"

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was measured on the result of the last pass."""
        return self.passes[-1].facts

    def to_json(self) -> dict[str, Any]:
        """Return what was done as a JSON object."""
        return {
            "softmax_added": self.softmax_added,
            "head_added": self.head_added,
            "passes": [applied.to_json() for applied in self.passes],
        }

    def save(self, path: PathLike) -> Path:
        """Write the model as a `.keras` file, or the int8 file as `.tflite`, and return its path.

        Raises:
          ArgumentError: another suffix, or '.tflite' without quantisation-aware training.
        """
        target = as_path(path, "path")
        if target.suffix == ".tflite" and self.int8 is not None:
            return artefacts.write_bytes(target, self.int8)
        if target.suffix != ".keras":
            raise ArgumentError(
                f"path is {target}; a file that ends in .keras is expected, or in .tflite after Qat",
                hint="Other files are written by: edgefm.quantize(result, [...], data=data)",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        self.model.save(target)
        return target

    def _repr_html_(self) -> str:
        return _table(self.passes)


def compress(
    model: Any,
    passes: Sequence[Pass],
    *,
    data: Dataset | DataSource | PathLike | None = None,
    quality: str | None = None,
    value_range: Sequence[float] | None = None,
    head: str = "auto",
    seed: int = 0,
    trust: bool = False,
    progress: Progress | bool | None = None,
) -> CompressionResult:
    """Return a model after some passes, each fine-tuned on the training split.

    Args:
      model: a keras.Model, a path, or what `edgefm.train` gave; it is not changed.
      passes: `Slim`, `Prune`, `Cluster`, `Qat`, in this order; any may be left out.
      data: what it is fine-tuned and measured on.
      quality: measure of quality, e.g. 'accuracy'; by default that of the data's task.
      value_range: lowest and highest input value of the model, for pixels 0 and 255; by default (0, 255).
      head: what the outputs become, see `edgefm.quantize`.
      seed: of fine-tuning.
      trust: run code that a model file contains, e.g. Lambda layers.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      RecipeError: the passes are in another order, or name layers that are not there.
      ModelError: the model cannot be loaded, or a pass cannot work on it.
      DataError: the data cannot be read or do not fit the model.
    """
    check_items(passes, "passes", Pass, "a recipe of a pass: Slim, Prune, Cluster or Qat")
    require_data(data)
    if not passes:
        raise ArgumentError("passes is empty; at least one of Slim, Prune, Cluster, Qat is expected")
    with shown(progress) as receiver, scratch.folder("compress") as folder:
        from edgefm.quantization.chain import Chain

        check_order(passes, of="the list passes")
        source = source_in_memory(
            model,
            Quantization(seed=seed),
            data=data,
            quality=quality,
            value_range=value_range,
            head=head,
            trust=trust,
            progress=receiver,
        )
        assert source.task is not None, "data were given"
        chain = Chain(
            model=_trainable(source),
            key=source.sha256,
            task=source.task,
            folder=folder,
            seed=seed,
            progress=receiver,
        )
        links = chain.run(passes)
        return CompressionResult(
            model=links[-1].load(),
            passes=tuple(
                AppliedPass(recipe=recipe, facts=link.facts, history=link.history, seconds=link.seconds)
                for recipe, link in zip(passes, links, strict=True)
            ),
            head_added=source.head.added,
            int8=links[-1].int8() if isinstance(passes[-1], Qat) else None,
        )


def _trainable(source: Any) -> Any:
    from edgefm.core.errors import ModelError

    if source.model is None:
        raise ModelError(f"{source.file} holds no Keras model to train", hint="Give the .keras or .h5 file.")
    return source.model


def _table(passes: Sequence[AppliedPass]) -> str:
    rows = [
        [applied.recipe.kind, len(applied.history), f"{applied.seconds:.1f}", _figures(applied.facts)]
        for applied in passes
    ]
    return html.table(rows, ["pass", "epochs", "seconds", "measured on the result"])


def _figures(facts: Mapping[str, Any]) -> str:
    """Return the figures among some facts; of those measured before and after, both."""
    parts = []
    for name, value in facts.items():
        title = "MACs" if name == "macs" else name.replace("_", " ")
        if isinstance(value, int | float):
            parts.append(f"{title} {value:.4g}")
        elif isinstance(value, Mapping) and {"before", "after"} <= value.keys():
            parts.append(f"{title} {value['before']:,} to {value['after']:,}")
    return ", ".join(parts)
