"""What a person calls an operator: the layer that it comes from, as far as the names of its tensors tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"_\d+$")


# What TensorFlow calls the ends of a function, whatever the model is.
_INPUT = re.compile(r"^serving_default_(.*?)(:\d+)?(_int8)?$")
_OUTPUT = re.compile(r"^(StatefulPartitionedCall|PartitionedCall|Identity)(_\d+)?(:\d+)?(_int8)?$")


def layer_name(results: Sequence[str], sources: Sequence[str] = ()) -> str:
    """Return the layer of an operator, or the name of its result where no layer is told.

    TensorFlow's converter joins the names of what it merged with ';', the operation that the others were merged into
    last; each lies in the scopes of its model and its layer. Keras 3 adds '_<number>' to all scopes. The result of the
    last operator has a name that says nothing: there its source's counts.

    >>> layer_name(["net_1/conv1_1/Relu;net_1/conv1_1/BiasAdd;net_1/conv1_1/convolution"])
    'conv1'
    >>> layer_name(["MobilenetV1/MobilenetV1/Conv2d_3_depthwise/Relu6"])
    'MobilenetV1/Conv2d_3_depthwise'
    >>> layer_name(["StatefulPartitionedCall:0"], ["net_1/scores_1/MatMul"])
    'scores'

    Args:
      results: names of the tensors that it writes.
      sources: names of its activations.
    """
    names = [part for name in results for part in reversed(name.split(";")) if part]
    for name in names:
        scopes = name.split("/")[:-1]
        if len(scopes) > 1:
            if all(_NUMBER.search(scope) for scope in scopes):
                scopes = [_NUMBER.sub("", scope) for scope in scopes]
            return "/".join(scopes[1:])
    name = names[-1] if names else ""
    if _OUTPUT.match(name) and sources:
        return layer_name(sources)
    match = _INPUT.match(name)
    return match[1] if match and match[1] else name
