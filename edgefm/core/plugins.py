"""Plug-ins: modules that other packages offer through a group of entry points, beside edgefm's own.

An entry point names the module: `name = "package.module"`. One written `package.module:attribute` names the same
module; the attribute is not looked at. Listing plug-ins imports none. A name of edgefm's own is not taken over; of two
packages with one name the first keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A module of another package.

    Attributes:
      name: of the entry point.
      module: that it names.
      package: that brings it, '' where that is not known.
      version: of the package.
    """

    name: str
    module: str
    package: str = ""
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class UnusablePlugin:
    """A plug-in that is left out, and why."""

    plugin: Plugin
    reason: str

    def __str__(self) -> str:
        """Say which one of which package, and why."""
        package = f" of {self.plugin.package}" if self.plugin.package else ""
        return f"the plug-in '{self.plugin.name}'{package} is left out: {self.reason}"


def modules(group: str, own: Mapping[str, str]) -> dict[str, str]:
    """Return the module of each name in a group, edgefm's own first."""
    return {**own, **{plugin.name: plugin.module for plugin in plugins(group, own)}}


def plugins(group: str, own: Iterable[str]) -> tuple[Plugin, ...]:
    """Return the plug-ins of a group whose names are free."""
    return tuple(plugin for plugin, holder in _with_holders(group, own) if not holder)


def of_taken_names(group: str, own: Iterable[str]) -> tuple[UnusablePlugin, ...]:
    """Return the plug-ins of a group whose names another one has."""
    return tuple(
        UnusablePlugin(plugin=plugin, reason=f"its name is taken by {holder}")
        for plugin, holder in _with_holders(group, own)
        if holder
    )


def _with_holders(group: str, own: Iterable[str]) -> list[tuple[Plugin, str]]:
    """Return the plug-ins of a group, each with who has its name already ('' where it is free)."""
    from importlib.metadata import entry_points  # here: it takes longer to import than the command line may

    holders = dict.fromkeys(own, "edgefm's own")
    pairs = []
    for point in entry_points(group=group):
        package = point.dist.name if point.dist is not None else ""
        version = point.dist.version if point.dist is not None else ""
        plugin = Plugin(name=point.name, module=point.module, package=package, version=version)
        pairs.append((plugin, holders.get(point.name, "")))
        holders.setdefault(point.name, f"that of {package or point.module}")
    return pairs
