"""What changes a trained model before it becomes a TFLite file: one recipe a pass.

Passes go in this order: from_scratch, slim, prune, cluster, qat; any of them may be left out. Another order would undo
what the earlier pass promised: removing channels fine-tunes zeros away, pruning after clustering adds a level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from edgefm.core.errors import RecipeError
from edgefm.recipes.base import Recipe, at_least, between, one_of
from edgefm.recipes.fine_tuning import Distillation, FineTuning

PATTERNS = ("unstructured", "2:4", "block_1x16")
IMPORTANCE = ("bn_scale", "l1", "taylor")


@dataclass(frozen=True, kw_only=True)
class Pass(Recipe):
    """Base of the recipes of passes.

    Attributes:
      exclude: names of layers that are left alone; `*` and `?` match as in file names.
      fine_tuning: how the model is trained on.

    A class states where it stands among the passes (`place`: from_scratch 5, slim 10, prune 20, cluster 30, qat 40),
    whether batch normalisation is folded before it (`folds`), and what it does in words (`description`).
    """

    place: ClassVar[int]
    folds: ClassVar[bool] = True
    description: ClassVar[str] = ""

    exclude: tuple[str, ...] = ()
    fine_tuning: FineTuning = field(default_factory=FineTuning)


@dataclass(frozen=True, kw_only=True)
class Prune(Pass):
    """Magnitude pruning: the smallest weights of each kernel become zero and stay zero.

    Attributes:
      sparsity: share of the weights that become zero, 0 < sparsity < 1. '2:4' has 0.5 by nature.
      allocation: of the zeros to the kernels, where the pattern is 'unstructured': 'lamp' (Lee et al. 2021,
        arXiv:2010.07611): weights of all kernels compete, each by its share in what is left of its kernel, so that
        small kernels keep more; 'uniform': each kernel has the same share of zeros.
      pattern: 'unstructured'; '2:4': two zeros in every four weights in a row; 'block_1x16': whole blocks of 16
        weights of dense kernels (other kernels are pruned unstructured).
      schedule: 'polynomial' (Zhu & Gupta 2017, arXiv:1710.01878): sparsity grows from `initial_sparsity` over
        the first half of the steps; 'constant': from the first step.
        '2:4' is constant whatever is said.
      initial_sparsity: where the polynomial schedule starts.
    """

    kind: ClassVar[str] = "prune"
    place: ClassVar[int] = 20
    description: ClassVar[str] = "pruned"

    sparsity: float = 0.8
    allocation: str = "lamp"
    pattern: str = "unstructured"
    schedule: str = "polynomial"
    initial_sparsity: float = 0.3
    fine_tuning: FineTuning = field(
        default_factory=lambda: FineTuning(epochs=4, learning_rate=1e-3, distillation=Distillation())
    )

    def __post_init__(self) -> None:
        if not 0 < self.sparsity < 1:
            raise RecipeError(
                f"sparsity {self.sparsity} is not allowed: it must be above 0 and below 1",
                hint="At 1.0 no weight would be left; 0.8 removes four of five.",
            )
        one_of("pruning pattern", self.pattern, PATTERNS)
        one_of("pruning allocation", self.allocation, ("lamp", "uniform"))
        one_of("pruning schedule", self.schedule, ("polynomial", "constant"))
        between("initial sparsity", self.initial_sparsity, 0, 1, below=True)
        if self.pattern == "2:4" and self.sparsity != 0.5:
            raise RecipeError(f"pattern 2:4 has sparsity 0.5 by nature; {self.sparsity} was given")

    @property
    def shared_by_lamp(self) -> bool:
        """Whether the zeros of all kernels together are promised, not those of each."""
        return self.allocation == "lamp" and self.pattern == "unstructured"


@dataclass(frozen=True, kw_only=True)
class Cluster(Pass):
    """Weight clustering: each kernel keeps at most `clusters` different values.

    Source: Han et al. 2016, arXiv:1510.00149.

    Attributes:
      clusters: 2 to 256; with `preserve_sparsity` one of them is zero.
      preserve_sparsity: weights that are zero stay zero.
      entropy_weight: what a bit of a weight's code counts against its squared error, as a share of the kernel's
        variance: common levels become commoner, and the file compresses better; 0 is plain k-means.
    """

    kind: ClassVar[str] = "cluster"
    place: ClassVar[int] = 30
    description: ClassVar[str] = "clustered"

    clusters: int = 16
    preserve_sparsity: bool = True
    entropy_weight: float = 0.02
    fine_tuning: FineTuning = field(
        default_factory=lambda: FineTuning(epochs=2, learning_rate=3e-4, distillation=Distillation())
    )

    def __post_init__(self) -> None:
        between("entropy_weight", self.entropy_weight, 0, 0.1, hint="More would leave too few levels in use.")
        between("clusters", self.clusters, 2, 256, hint="8 to 256 are of use; 16 fit in 4 bits.")


@dataclass(frozen=True, kw_only=True)
class Qat(Pass):
    """Quantisation-aware training: int8 weights and activations are imitated while the model is trained on.

    Source: Jacob et al. 2018, arXiv:1712.05877.

    Attributes:
      preserve_sparsity: weights that are zero stay zero (PQAT).
      preserve_clusters: kernels keep the number of their levels (CQAT; both: PCQAT).
      per_channel: each output channel of a convolution has a scale of its own; else the kernel has one: fewer levels
        are in use, so that a pruned file compresses better. Clustered kernels always have one.
    """

    kind: ClassVar[str] = "qat"
    place: ClassVar[int] = 40
    description: ClassVar[str] = "int8, trained with quantisation in mind"

    preserve_sparsity: bool = False
    preserve_clusters: bool = False
    per_channel: bool = True
    fine_tuning: FineTuning = field(
        default_factory=lambda: FineTuning(epochs=1, learning_rate=1e-4, distillation=Distillation())
    )


@dataclass(frozen=True, kw_only=True)
class Budget(Recipe):
    """The most that a slimmed model may cost, each as a share of the full model's; at least one is given.

    Attributes:
      macs: multiply-accumulates, 0 to 1.
      size: bytes of the weights, one byte each, 0 to 1.
      latency: p50 of the int8 file, measured beside the full model's, 0 to 1.
    """

    kind: ClassVar[str] = "budget"

    macs: float | None = None
    size: float | None = None
    latency: float | None = None

    def __post_init__(self) -> None:
        shares = {"macs": self.macs, "size": self.size, "latency": self.latency}
        if all(share is None for share in shares.values()):
            raise RecipeError("the budget of slim is empty", hint="Give macs, size or latency as a share, e.g. 0.3.")
        for name, share in shares.items():
            if share is not None and not 0 < share <= 1:
                raise RecipeError(f"budget {name} {share} is not allowed: a share above 0 and at most 1 is expected")


@dataclass(frozen=True, kw_only=True)
class Slim(Pass):
    """Channel removal: whole filters and units leave the model, and what fed on them with them.

    Attributes:
      keep: share of every layer's channels that stays; or None, and `budget` decides.
      budget: one for the whole model; channels leave in the order of their importance until it is met.
      importance: of a channel: 'bn_scale' |gamma| (Liu et al. 2017, arXiv:1708.06519; 'l1' where no batch
        normalisation follows), 'l1' norm of its filter (Li et al. 2017, arXiv:1608.08710), or 'taylor'
        (Molchanov et al. 2019, arXiv:1906.10771) on validation batches.
      round_to: channels that stay are a multiple of this, for the kernels' sake.
      layers: share in place of `keep` for the channels that a layer makes, by its name.
    """

    kind: ClassVar[str] = "slim"
    place: ClassVar[int] = 10
    folds: ClassVar[bool] = False
    description: ClassVar[str] = "channels removed"

    keep: float | None = 0.5
    budget: Budget | None = None
    importance: str = "taylor"
    round_to: int = 8
    layers: Mapping[str, float] = field(default_factory=dict, hash=False)
    fine_tuning: FineTuning = field(
        default_factory=lambda: FineTuning(
            epochs=8, learning_rate=1.5e-3, distillation=Distillation(temperature=3.0, weight=0.8)
        )
    )

    def __post_init__(self) -> None:
        one_of("importance", self.importance, IMPORTANCE)
        at_least("round_to", self.round_to, 1)
        if (self.keep is None) == (self.budget is None):
            raise RecipeError("slim takes either keep or budget", hint="Give one of them and set the other to null.")
        if self.layers and self.keep is None:
            raise RecipeError("slim takes layers beside keep, not beside a budget", hint="Leave layers or budget out.")
        for of, share in {
            "": self.keep,
            **{f" of layer '{name}'": share for name, share in self.layers.items()},
        }.items():
            if share is not None and not 0 < share <= 1:
                raise RecipeError(f"keep {share}{of} is not allowed: a share above 0 and at most 1 is expected")

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as a JSON object."""
        value = super().to_json()
        if not self.layers:
            del value["params"]["layers"]  # as before there were any: the keys of finished passes stay
        return value


@dataclass(frozen=True, kw_only=True)
class FromScratch(Pass):
    """Another network in the model's place: built from the zoo for the same pictures and classes, and trained.

    It is trained as `edgefm train` does it, with AdamW; the model that was given is left as a teacher.

    Attributes:
      model: an architecture of the zoo.
      options: of it, see `edgefm zoo`.
    """

    kind: ClassVar[str] = "from_scratch"
    place: ClassVar[int] = 5
    folds: ClassVar[bool] = False
    description: ClassVar[str] = "another network, trained from scratch"

    model: str = "staged_cnn"
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    fine_tuning: FineTuning = field(
        default_factory=lambda: FineTuning(
            epochs=16, learning_rate=3e-3, distillation=Distillation(temperature=3.0, weight=0.8)
        )
    )

    def __post_init__(self) -> None:
        if self.exclude:
            raise RecipeError(
                f"from_scratch excludes {', '.join(self.exclude)}, and none of the model's layers stays",
                hint="Leave exclude out.",
            )


PASSES: dict[str, type[Pass]] = {recipe.kind: recipe for recipe in (FromScratch, Slim, Prune, Cluster, Qat)}
