"""The systems that the project's source documents describe: layers, training, claims, and what they leave open."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from edgefm.core.errors import unknown_name
from edgefm.zoo.catalogue import modules_in

if TYPE_CHECKING:
    from edgefm.zoo.documented.system import DocumentedSystem

_S0_CNNS = "edgefm.zoo.documented.s0_cnns"
# What a document calls a network whose name in the zoo was taken.
_IDS = {"mobilenet_v2_small28": "mobilenet_v2"}
# Id of a system -> the module whose SYSTEMS has it. S0's own two are networks of the zoo anyway; of each other one the
# module that builds the network says what its document says of it.
_MODULES = {
    "enhanced_cnn": _S0_CNNS,
    "basic_cnn": _S0_CNNS,
    **{_IDS.get(name, name): module for name, module in modules_in(__name__).items()},
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
