"""What all recipes have in common: a JSON round trip and strict checks of names and types."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, get_origin, get_type_hints

import dacite

from edgefm.core.documents import shown
from edgefm.core.errors import RecipeError, unknown_name

# Frameworks take seeds of 32 bits.
MOST_SEED = 2**32 - 1
# More epochs, samples or pixels than anybody has: a greater number is a slip, and overflows somewhere.
MOST = 1_000_000_000

R = TypeVar("R", bound="Recipe")
_HINTS: dict[type[Any], dict[str, Any]] = {}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Base of all recipes: JSON round trip."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    def to_json(self) -> dict[str, Any]:
        """Return ``{"kind", "version", "params"}``."""
        params = {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return {"kind": self.kind, "version": self.version, "params": params}

    @classmethod
    def from_json(cls: type[R], value: Mapping[str, Any]) -> R:
        """Return the recipe that `to_json` wrote.

        Raises:
          RecipeError: another kind, a newer version, an unknown parameter, or one of the wrong type.
        """
        return typed(cls, params_of(cls, value))


def params_of(cls: type[Recipe], value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of a recipe in JSON, its kind and version checked; {} where it states none."""
    for name in value:
        if name not in ("kind", "version", "params"):
            raise unknown_name("key of a recipe", name, ("kind", "version", "params"))
    if value.get("kind") != cls.kind:
        raise RecipeError(f"this is a recipe of kind {shown(value.get('kind'))}, not '{cls.kind}'")
    version = value.get("version", 1)
    if type(version) is not int or version < 1:
        raise RecipeError(f"recipe version {shown(version)} is not allowed: 1 to {cls.version} is expected")
    if version > cls.version:
        raise RecipeError(f"recipe version {version} is newer than {cls.version}: upgrade edgefm")
    params = value.get("params", {})
    if not isinstance(params, Mapping):
        raise RecipeError(
            f"the params of a '{cls.kind}' recipe are {shown(params)}; an object of names and values is expected"
        )
    return params


def typed(cls: type[R], params: Mapping[str, Any]) -> R:
    """Return a recipe made of JSON parameters; a list becomes a tuple, an object a recipe where one is declared.

    Raises:
      RecipeError: an unknown parameter (the nearest known one is named), or a value of another type.
    """
    known = [field.name for field in dataclasses.fields(cls)]
    for name in params:
        if name not in known:
            raise unknown_name(f"parameter of a '{cls.kind}' recipe", name, known)
    hints = _hints(cls)
    defaults = {field.name: field for field in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for name, value in params.items():
        nested = next((option for option in _recipes_in(hints[name])), None)
        if nested is not None and isinstance(value, Mapping):
            stated = params_of(nested, value) if "kind" in value else value
            # What is not said of a nested recipe is as the outer one has it by default.
            values[name] = typed(nested, _overlaid(_default(defaults[name]), stated))
        elif nested is not None and not isinstance(value, nested | None):
            raise RecipeError(f"{name} of a '{cls.kind}' recipe is {shown(value)}; an object is expected")
        else:
            if isinstance(value, Mapping) and get_origin(hints[name]) is tuple:
                raise RecipeError(f"{name} of a '{cls.kind}' recipe is {shown(value)}; a list is expected")
            values[name] = _tuples(value)
            if isinstance(value, bool) and hints[name] in (int, float, float | None, int | None):
                raise RecipeError(f"{name} of a '{cls.kind}' recipe is {value}; a number is expected")
    try:
        return dacite.from_dict(cls, values, dacite.Config(strict=True))
    except dacite.WrongTypeError as error:
        given = shown(params.get(str(error.field_path).split(".")[0], error.value))
        raise RecipeError(
            f"{error.field_path} of a '{cls.kind}' recipe is {given}; {_type_name(error.field_type)} is expected"
        ) from error
    except (dacite.DaciteError, TypeError, ValueError) as error:  # it stumbles over some values of another kind
        raise RecipeError(f"a '{cls.kind}' recipe cannot be read: {error}") from error


def at_least(name: str, value: float, least: float, *, most: float = MOST) -> None:
    """Raise a RecipeError unless `value` is `least` or more, and at most `most`."""
    if not value >= least:
        raise RecipeError(f"{name} {value} is not allowed: it must be {least} or more")
    if value > most:
        raise RecipeError(f"{name} {value} is not allowed: it must be at most {most}")


def between(name: str, value: float, low: float, high: float, *, below: bool = False, hint: str | None = None) -> None:
    """Raise a RecipeError unless low <= given <= high, or given < high with `below`."""
    if not (low <= value < high if below else low <= value <= high):
        limit = f"less than {high}" if below else f"at most {high}"
        raise RecipeError(f"{name} {value} is not allowed: it must be at least {low} and {limit}", hint=hint)


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise a RecipeError that names the nearest allowed value unless `value` is one of them."""
    if value not in allowed:
        raise unknown_name(name, value, allowed)


def _hints(cls: type[Recipe]) -> dict[str, Any]:
    """Return the types of a recipe's parameters, found out once a class: it takes longer than reading a recipe."""
    if cls not in _HINTS:
        _HINTS[cls] = get_type_hints(cls)
    return _HINTS[cls]


def _plain(value: Any) -> Any:
    """Return a value as JSON: nested recipes as objects of their parameters, tuples as lists."""
    if isinstance(value, Recipe):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _default(field: dataclasses.Field[Any]) -> Any:
    """Return the default of a field as JSON parameters; {} where it is none."""
    if field.default_factory is not dataclasses.MISSING:
        return _plain(field.default_factory())
    return {} if field.default in (None, dataclasses.MISSING) else _plain(field.default)


def _overlaid(default: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with those given in place of the default ones, nested ones one by one."""
    overlaid = dict(default)
    for name, value in stated.items():
        inner = overlaid.get(name)
        nested = isinstance(inner, Mapping) and isinstance(value, Mapping)
        overlaid[name] = _overlaid(inner, value) if nested else value  # type: ignore[arg-type]  # nested says Mapping
    return overlaid


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _recipes_in(hint: Any) -> Iterator[type[Recipe]]:
    for option in (hint, *getattr(hint, "__args__", ())):
        if isinstance(option, type) and issubclass(option, Recipe):
            yield option


def _type_name(hint: Any) -> str:
    name = str(getattr(hint, "__name__", hint)).replace("typing.", "")
    return "a list" if name == "tuple" else name
