"""JSON Schemas of what edgefm writes, one file a version, and the check against them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any


def validate(value: Mapping[str, Any], name: str) -> None:
    """Raise a ValueError that names the place where a value breaks a schema.

    Args:
      value: JSON object.
      name: of the schema with its version, e.g. 'benchmark-record-3'.
    """
    import fastjsonschema

    try:
        _validator(name)(value)
    except fastjsonschema.JsonSchemaException as error:
        message = str(error)
        raise ValueError(message if len(message) < 300 else f"{message[:300]}…") from None


@cache
def _validator(name: str) -> Callable[[Any], Any]:
    import fastjsonschema

    schema = json.loads(resources.files("edgefm.schemas").joinpath(f"{name}.schema.json").read_text(encoding="utf-8"))
    found: Callable[[Any], Any] = fastjsonschema.compile(schema, use_default=False)
    return found
