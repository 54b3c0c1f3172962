"""A layer that is not trained, such as a principal component analysis, comes out of every pass unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgefm.compression.channels.slimming import slim
from edgefm.compression.qat.qat import quantization_aware_train
from edgefm.compression.weights.clustering import cluster
from edgefm.compression.weights.pruning import prune
from edgefm.core.errors import ModelError
from edgefm.recipes import Cluster, FineTuning, Prune, Qat, Slim
from tests.fixtures.tiny_tasks import tiny_cnn, tiny_task

TUNING = FineTuning(epochs=1, batch_size=32, learning_rate=1e-2)
PASSES = {
    "prune": lambda model: prune(model, Prune(sparsity=0.5, fine_tuning=TUNING), tiny_task(), seed=0),
    "prune_uniform": lambda model: prune(
        model, Prune(sparsity=0.5, allocation="uniform", fine_tuning=TUNING), tiny_task(), seed=0
    ),
    "cluster": lambda model: cluster(model, Cluster(clusters=8, fine_tuning=TUNING), tiny_task(), seed=0),
    "slim": lambda model: slim(model, Slim(keep=0.5, importance="l1", fine_tuning=TUNING), tiny_task(), seed=0),
    "qat": lambda model: quantization_aware_train(model, Qat(fine_tuning=TUNING), tiny_task(), seed=0),
}


def _fixed(*names: str) -> Any:
    model = tiny_cnn()
    for name in names:
        model.get_layer(name).trainable = False
    return model


def _changed(before: Any, after: Any) -> set[str]:
    """Return the layers whose weights differ, in shape or in value."""
    found = set()
    for layer in before.layers:
        pairs = zip(layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=True)
        if any(one.shape != other.shape or not np.array_equal(one, other) for one, other in pairs):
            found.add(layer.name)
    return found


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("fixed", ["conv2", "dense1"])
def test_fixed_layer_keeps_its_weights_and_the_others_learn(name: str, fixed: str) -> None:
    model = _fixed(fixed)
    result = PASSES[name](model)
    changed = _changed(model, result.model)
    assert fixed not in changed and {"conv1", "probabilities"} <= changed
    assert not result.model.get_layer(fixed).trainable


@pytest.mark.parametrize("name", PASSES)
def test_facts_say_that_the_layer_was_left_alone(name: str) -> None:
    facts = PASSES[name](_fixed("dense1")).facts
    if name == "slim":
        frozen = {layer: group["frozen"] for group in facts["frozen"] for layer in group["layers"]}
        assert frozen["dense1"] == "the weights of dense1 are not trained"
        assert "dense1" in frozen["separable"], "what the layer takes would cut its kernel"
    elif name == "qat":
        assert facts["not_trained"] == ["dense1"]
    else:
        assert {"layer": "dense1", "reason": "its weights are not trained"} in facts["excluded"]


@pytest.mark.parametrize("name", ["prune", "cluster", "slim"])
def test_model_of_fixed_layers_alone_is_refused_with_the_reason(name: str) -> None:
    model = tiny_cnn()
    model.trainable = False
    with pytest.raises(ModelError, match="not trained"):
        PASSES[name](model)


def test_inspection_says_beforehand_that_passes_leave_the_layer_alone() -> None:
    from edgefm.quantization.applicability import applicability

    layers = {layer.layer: layer.passes for layer in applicability(_fixed("dense1")).layers}
    for name in ("slim", "prune", "cluster"):
        assert not layers["dense1"][name].applies and "not trained" in layers["dense1"][name].why
        assert layers["conv1"][name].applies
