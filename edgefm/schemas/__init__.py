"""JSON Schemas of what edgefm writes and reads, one file a version, and the check against them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

_SHOWN = 44
_TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def validate(value: Any, name: str) -> None:
    """Raise a ValueError that names the place where a value breaks a schema, what was found and what is allowed.

    Args:
      value: JSON object.
      name: of the schema with its version, e.g. 'benchmark-record-3'.
    """
    import fastjsonschema

    try:
        _validator(name)(value)
    except fastjsonschema.JsonSchemaValueException as error:
        raise ValueError(_sentence(error)) from None


def shown(value: Any) -> str:
    """Return a value from a file as an error shows it: its repr, cut short."""
    if isinstance(value, dict | list):
        return f"{_TYPES['object' if isinstance(value, dict) else 'array']} of {len(value)}"
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _sentence(error: Any) -> str:
    """Return what an exception of fastjsonschema says, for a person."""
    place = str(error.name).removeprefix("data").removeprefix(".") or "it"
    allowed = error.rule_definition
    if error.rule == "required":
        lacking = next((name for name in allowed if name not in error.value), "")
        return f"{place} has no '{lacking}'"
    if error.rule == "additionalProperties":
        unknown = [name for name in error.value if name not in error.definition.get("properties", {})]
        known = ", ".join(error.definition.get("properties", {}))
        return f"{place} has the unknown key {shown(unknown[0] if unknown else '')}; known: {known}"
    return f"{place} is {shown(error.value)}; {_expected(error.rule, allowed, error.definition)} is expected"


def _expected(rule: str, allowed: Any, definition: Any) -> str:
    if rule == "type":
        text = " or ".join(_TYPES[name] for name in ([allowed] if isinstance(allowed, str) else allowed))
    elif rule in ("enum", "const"):
        text = " or ".join(shown(one) for one in (allowed if rule == "enum" else [allowed]))
    elif rule in ("minimum", "exclusiveMinimum"):
        text = f"{'more than ' if rule != 'minimum' else 'at least '}{allowed}"
    elif rule in ("maximum", "exclusiveMaximum"):
        text = f"{'less than ' if rule != 'maximum' else 'at most '}{allowed}"
    elif rule in ("minItems", "maxItems"):
        text = f"a list of {'at least' if rule == 'minItems' else 'at most'} {allowed}"
    elif rule in ("minLength", "maxLength"):
        text = f"a text of {'at least' if rule == 'minLength' else 'at most'} {allowed} characters"
    else:  # pattern, oneOf, anyOf: the description says it
        text = str(definition.get("description", "something else"))
    return text


@cache
def _validator(name: str) -> Callable[[Any], Any]:
    import fastjsonschema

    schema = json.loads(resources.files("edgefm.schemas").joinpath(f"{name}.schema.json").read_text(encoding="utf-8"))
    found: Callable[[Any], Any] = fastjsonschema.compile(_telling(schema), use_default=False)
    return found


def _telling(schema: Any) -> Any:
    """Return a schema in which 'null or what follows' is told as a condition: errors then name the place within."""
    if isinstance(schema, list):
        return [_telling(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    told = {name: _telling(item) for name, item in schema.items()}
    either = told.get("oneOf")
    if isinstance(either, list) and len(either) == 2 and either[0] == {"type": "null"}:
        del told["oneOf"]
        told |= {"if": {"not": either[0]}, "then": either[1]}
    return told
