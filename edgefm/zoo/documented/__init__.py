"""The systems that the project's source documents describe: layers, training, claims, and what they leave open."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from edgefm.core.errors import unknown_name

if TYPE_CHECKING:
    from edgefm.zoo.documented.system import DocumentedSystem

# Id of a system -> the module whose SYSTEMS has it.
_MODULES = {
    "enhanced_cnn": "edgefm.zoo.documented.s0_cnns",
    "basic_cnn": "edgefm.zoo.documented.s0_cnns",
    "kadam_arch3": "edgefm.zoo.documented.kadam_arch3",
    "mcnn15": "edgefm.zoo.documented.mcnn15",
    "vijayaraj_cnn": "edgefm.zoo.documented.vijayaraj_cnn",
    "augmented_cnn": "edgefm.zoo.documented.augmented_cnn",
    "pca_dnn": "edgefm.zoo.documented.pca_dnn",
    "pca_dnn_deep": "edgefm.zoo.documented.pca_dnn_deep",
    "leaky_cnn": "edgefm.zoo.documented.leaky_cnn",
    "ann": "edgefm.zoo.documented.ann",
    "two_conv_cnn": "edgefm.zoo.documented.two_conv_cnn",
    "tiny_vgg": "edgefm.zoo.documented.tiny_vgg",
    "mobilenet_v2": "edgefm.zoo.documented.mobilenet_v2_small28",
    "residual_cnn": "edgefm.zoo.documented.residual_cnn",
    "lenet5": "edgefm.zoo.documented.lenet5",
}


def system_ids() -> tuple[str, ...]:
    """Return the ids of all documented systems, in the order of the documents."""
    return tuple(_MODULES)


def documented_system(system_id: str) -> DocumentedSystem:
    """Return a documented system, or raise a RecipeError that names the nearest one."""
    if system_id not in _MODULES:
        raise unknown_name("documented system", system_id, _MODULES)
    systems: tuple[DocumentedSystem, ...] = importlib.import_module(_MODULES[system_id]).SYSTEMS
    (found,) = (system for system in systems if system.id == system_id)
    return found


def documented_systems() -> tuple[DocumentedSystem, ...]:
    """Return all documented systems."""
    return tuple(map(documented_system, _MODULES))
