"""Training recipes by name: three presets for any model, and the best one of each model that has one."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from edgefm.core.documents import read_json
from edgefm.core.errors import RecipeError, unknown_name
from edgefm.recipes.training import Training

BEST = "best"
_SUFFIX = ".json"
_PREFIX = "best_"
PRESETS: dict[str, Training] = {
    # A minute or two on two cores: enough to see every step work.
    "quick": Training(epochs=2, batch_size=128, learning_rate=2e-3),
    # Reaches the source document's 93.3 % validation accuracy in the fewest minutes.
    "standard": Training(),
    # As the source document says: 100 epochs, batch 512; Adam at 1e-3 and no augmentation are assumed.
    "paper": Training(
        epochs=100,
        batch_size=512,
        optimizer="adam",
        learning_rate=1e-3,
        schedule="constant",
        weight_decay=0.0,
        flip=False,
        shift_pixels=0,
        label_smoothing=0.0,
    ),
}


def preset(name: str, model: str | None = None) -> Training:
    """Return the training recipe of a preset.

    Args:
      name: 'quick', 'standard', 'paper' or 'best'.
      model: whose best recipe is meant, None means the default model's; the other presets are the same for all.
    Raises:
      RecipeError: an unknown preset (the nearest one is named), or a model without a best recipe.
    """
    if name == BEST:
        return best(Training.model if model is None else model)
    if name not in PRESETS:
        raise unknown_name("preset", name, (*PRESETS, BEST))
    return PRESETS[name]


def best_files() -> dict[str, Path]:
    """Return the files of the best recipes, by model."""
    folder = Path(str(resources.files("edgefm.recipes") / BEST))
    return {path.stem: path for path in sorted(folder.glob(f"*{_SUFFIX}"))}


def best(model: str) -> Training:
    """Return the recipe that gave a model its best accuracy, or is expected to (docs/best.md says which).

    Raises:
      RecipeError: there is none for this model; those that have one are named.
    """
    known = best_files()
    if model not in known:
        raise RecipeError(
            f"there is no best recipe for model '{model}'",
            hint=f"Models with one: {', '.join(known)}. Any model can be trained with: --preset standard",
        )
    return read_training(known[model])


def named_training(name: str) -> Path | None:
    """Return the file of a training recipe that comes with edgefm, 'best_enhanced_cnn'; None for another name."""
    return best_files().get(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else None


def training_names() -> tuple[str, ...]:
    """Return the names of the training recipes that come with edgefm as files."""
    return tuple(f"{_PREFIX}{model}" for model in best_files())


def read_training(path: Path) -> Training:
    """Return the training recipe in a file.

    Raises:
      RecipeError: no file, no JSON, another kind of recipe, or a key or value that is not allowed; the file is named.
    """
    value = read_json(
        path,
        what="recipe file",
        error=RecipeError,
        missing="List those that come with edgefm with: edgefm recipes list",
    )
    if not isinstance(value, dict):
        raise RecipeError(f'{path} holds no recipe: an object {{"kind": "train", "params": ...}} is expected')
    try:
        return Training.from_json(value)
    except RecipeError as error:
        hint = error.hint
        if value.get("kind") == "quantize":
            hint = "It says which files are written, not how a model is trained: give it to edgefm quantize --recipe"
        raise RecipeError(f"{path}: {error.message}", hint=hint) from error
