"""Weights of classes in a recipe: 'none', 'balanced', or a weight for each class; on a command line, too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from edgefm.core.errors import RecipeError, unknown_name
from edgefm.recipes.base import MOST

# Of each class, by its name or its number; those left out weigh 1.
ByClass = Mapping[str | int, float]

NAMED = ("none", "balanced")
_WRITTEN = "Write cat=2,dog=0.5; classes left out weigh 1."
_HINT = "Known: none, balanced; or a weight for each class, {'cat': 1.0, 'dog': 3.5}: those left out weigh 1."
# A weight holds neither sign: names may hold both.
_ITEM = re.compile(r"(.+?)=([^=,]*)(?:,|$)", re.DOTALL)


def checked(value: Any) -> str | dict[str | int, float]:
    """Return class weights as a recipe holds them: numbers of numpy become plain ones, no weight at all is 'none'.

    >>> checked({0: 1, "dog": 3.5})
    {0: 1.0, 'dog': 3.5}

    Raises:
      RecipeError: another text, no mapping, a class that is no text and no whole number, or a weight that is no finite
        number of 0 or more.
    """
    if isinstance(value, str):
        if value not in NAMED:
            raise RecipeError(unknown_name("class_weights", value, NAMED).message, hint=_HINT)
        return value
    if not isinstance(value, Mapping):
        raise RecipeError(
            f"class_weights is {value!r:.60}; 'none', 'balanced' or a weight for each class is expected", hint=_HINT
        )
    return {_class(key): _weight(key, weight) for key, weight in value.items()} or "none"


def by_name(weights: str | ByClass, labels: Sequence[str]) -> str | dict[str | int, float]:
    """Return class weights by the names of a data set's classes, in their order, without those that are 1.

    A text that is the name of a class means that class; else it may be the number of one, as a number is.

    >>> by_name({"0": 2.0, "dog": 0.5, 2: 1.0}, ("cat", "dog", "cow"))
    {'cat': 2.0, 'dog': 0.5}
    >>> by_name({"1": 2.0, 1: 0.5}, ("1", "2"))
    {'1': 2.0, '2': 0.5}

    Raises:
      RecipeError: a class that the data do not have (the nearest one is named), one that is named twice, or no class
        with a weight above 0.
    """
    if isinstance(weights, str):
        return weights
    said: dict[int, str | int] = {}
    for key in weights:
        place = _place(key, labels)
        if place in said:
            raise RecipeError(
                f"class_weights has class {place}, '{labels[place]}', twice: as {said[place]!r} and as {key!r}",
                hint="Give its name or its number.",
            )
        said[place] = key
    if len(said) == len(labels) and not any(weights.values()):
        raise RecipeError(
            f"class_weights is 0 for all {len(labels)} classes: nothing would be learnt",
            hint="Give a weight above 0 to a class, or leave it out: it then weighs 1.",
        )
    return {labels[place]: weights[said[place]] for place in sorted(said) if weights[said[place]] != 1} or "none"


def parsed(text: str) -> str | dict[str, Any]:
    """Return class weights that were written on a command line; `checked` checks them.

    >>> parsed("cat=2,dog=0.5"), parsed("a,b=2"), parsed("balanced")
    ({'cat': 2.0, 'dog': 0.5}, {'a,b': 2.0}, 'balanced')

    Args:
      text: one of two words, NAME=WEIGHT with commas between, or a JSON object, for names in which a comma follows a
        number (x=1,y).
    Raises:
      RecipeError: it is none of these, or has a class twice.
    """
    if text.startswith("{") and text.endswith("}"):
        try:
            value = json.loads(text, object_pairs_hook=_once)
        except ValueError as error:
            raise RecipeError(f"class_weights {text:.200} cannot be read: {error}", hint=_HINT) from error
        return dict(value)
    if "=" not in text:
        return text
    pairs: list[tuple[str, float]] = []
    end = 0
    for item in _ITEM.finditer(text):
        if item.start() != end:
            break
        try:
            pairs.append((item[1], float(item[2])))
        except ValueError:
            raise RecipeError(
                f"class_weights of '{item[1]:.100}' is '{item[2]:.60}'; a number is expected", hint=_WRITTEN
            ) from None
        end = item.end()
    if end != len(text) or text.endswith(","):
        raise RecipeError(f"class_weights '{text[end:] or ',':.100}' is no class with its weight", hint=_WRITTEN)
    return _once(pairs)


def written(weights: str | ByClass) -> str:
    """Return class weights as they are written on a command line: what `parsed` reads.

    >>> written({"cat": 2.0, "dog": 0.5}), written({"x=1,y": 2.0})
    ('cat=2,dog=0.5', '{"x=1,y": 2.0}')
    """
    if isinstance(weights, str):
        return weights
    plain = {str(key): weight for key, weight in weights.items()}
    short = ",".join(f"{name}={_short(weight)}" for name, weight in plain.items())
    try:
        if parsed(short) == plain:
            return short
    except RecipeError:
        pass
    return json.dumps(plain, ensure_ascii=False)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RecipeError(f"class_weights has the class '{twice}' twice", hint="Leave one of them out.")
    return found


def _class(key: Any) -> str | int:
    if isinstance(key, str):
        return key
    if isinstance(key, bool) or not isinstance(key, Integral):
        raise RecipeError(
            f"class_weights has the class {key!r:.60}, a {type(key).__name__}; a name or a whole number is expected",
            hint=_HINT,
        )
    return int(key)


def _weight(key: Any, weight: Any) -> float:
    is_number = isinstance(weight, Real) and not isinstance(weight, bool)
    if not is_number:
        raise RecipeError(f"class_weights of {key!r:.100} is {weight!r:.60}; a number is expected", hint=_HINT)
    if not 0 <= weight <= MOST:  # NaN is not, either
        raise RecipeError(
            f"class_weights of {key!r:.100} is {weight!s:.40}; a number of at least 0 and at most {MOST:,} is expected"
        )
    return float(weight)


def _place(key: str | int, labels: Sequence[str]) -> int:
    """Return the number of a class."""
    if isinstance(key, str):
        if key in labels:
            return labels.index(key)
        if not re.fullmatch(r"0|[1-9][0-9]{0,8}", key):
            raise unknown_name("class in class_weights", key, labels)
    if not 0 <= int(key) < len(labels):
        raise RecipeError(
            f"class_weights has the class number {key}; there are {len(labels)} classes, 0 to {len(labels) - 1}",
            hint=f"Known: {', '.join(labels)}.",
        )
    return int(key)


def _short(weight: float) -> str:
    return f"{weight:g}" if float(f"{weight:g}") == weight else repr(weight)
