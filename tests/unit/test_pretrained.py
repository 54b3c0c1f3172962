"""Pretrained weights: taken over by the names of layers, from the files that Keras 2 and Keras 3 write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm import zoo
from edgefm.core.errors import ModelError, NonFiniteError
from edgefm.keras_graph.pretrained import take_over
from edgefm_converters.readers.weights_file import read_weights


def _network(name: str = "resnet20", *, classes: int = 3, size: int = 16, channels: int = 3, **options: str) -> Any:
    return zoo.build(name, options, input_shape=(size, size, channels), classes=classes)


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".h5"])
def test_backbone_is_taken_over_from_a_file_of_keras_3(suffix: str, tmp_path: Path) -> None:
    given, new = _network(classes=7), _network(classes=3, size=24)
    path = tmp_path / f"given{suffix}"
    given.save_weights(path) if suffix == ".weights.h5" else given.save(path)
    head = new.get_layer("probabilities").get_weights()
    names = take_over(new, read_weights(path), source=path.name)
    assert names[0] == "stem_conv" and names[-1] == "stage3_block3_2_bn" and len(names) == 42
    for name in names:
        for mine, theirs in zip(new.get_layer(name).get_weights(), given.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    for mine, before in zip(new.get_layer("probabilities").get_weights(), head, strict=True):
        np.testing.assert_array_equal(mine, before)  # the head stays new


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small"])
def test_file_of_keras_2_without_a_head_fits(name: str, tmp_path: Path) -> None:
    """The kind of file that Keras downloads, *_no_top.h5, whose layers have other names in MobileNetV3."""
    tf_keras = pytest.importorskip("tf_keras")
    made = {"mobilenet_v2": "MobileNetV2", "mobilenet_v3_small": "MobileNetV3Small"}[name]
    given = getattr(tf_keras.applications, made)(weights=None, include_top=False, input_shape=(32, 32, 3))
    path = tmp_path / "no_top.h5"
    given.save_weights(path)
    new = _network(name, size=32)
    names = take_over(new, read_weights(path), source=path.name)
    backbone = [weight for layer in names for weight in new.get_layer(layer).get_weights()]
    assert [array.shape for array in backbone] == [array.shape for array in given.get_weights()]
    for mine, theirs in zip(backbone, given.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("nested_head", [False, True], ids=["all nested", "a nested head"])
def test_head_of_a_nested_model_is_its_last_layer(nested_head: bool, tmp_path: Path) -> None:
    import keras
    from keras import layers

    def made(classes: int) -> Any:
        backbone = [layers.Conv2D(4, 3, name="first"), layers.Conv2D(5, 3, name="second"), layers.Flatten()]
        head = [layers.Dense(6, name="hidden"), layers.Dense(classes, name="answer")]
        parts = [*backbone, keras.Sequential(head)] if nested_head else [keras.Sequential([*backbone, *head])]
        return keras.Sequential([keras.Input((8, 8, 1)), layers.Rescaling(1 / 255), *parts])

    given, new = made(7), made(3)
    given.save(tmp_path / "given.keras")
    answer = [weight.numpy() for weight in new.weights][-2:]
    assert take_over(new, read_weights(tmp_path / "given.keras"), source="it") == ("first", "second", "hidden")
    for mine, theirs in zip(new.weights[:-2], given.weights[:-2], strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    for mine, before in zip(new.weights[-2:], answer, strict=True):
        np.testing.assert_array_equal(mine.numpy(), before)


def test_weights_within_a_nested_model_are_taken_over(tmp_path: Path) -> None:
    import keras

    inner = _network(classes=5)
    keras.Sequential([keras.Input((16, 16, 3)), inner, keras.layers.Dense(2)]).save(tmp_path / "nested.keras")
    new = _network()
    assert len(take_over(new, read_weights(tmp_path / "nested.keras"), source="nested.keras")) == 42
    np.testing.assert_array_equal(
        new.get_layer("stem_conv").get_weights()[0], inner.get_layer("stem_conv").get_weights()[0]
    )


@pytest.mark.parametrize(
    ("given", "new", "words"),
    [
        (
            {"channels": 3},
            {"channels": 1},
            r"layer 'stem_conv' of 'resnet20': they are 3 x 3 x 3 x 16, the layer takes 3 x 3 x 1 x 16\n  .*3 channels",
        ),
        (
            {"name": "enhanced_cnn", "size": 16},
            {"name": "enhanced_cnn", "size": 24},
            r"layer 'dense1' of 'enhanced_cnn': they are 512 x 256, 256, the layer takes 1152 x 256, 256\n  .*another",
        ),
        ({"name": "ds_cnn"}, {}, r"fit no layer of 'resnet20': it holds bn, depthwise1_bn, "),
        (
            {"name": "resnet_preact20"},
            {"name": "resnet_preact20", "width": "2"},
            r"layer 'stem_conv' of 'resnet_preact20': they are 3 x 3 x 3 x 16, the layer takes 3 x 3 x 3 x 32",
        ),
    ],
    ids=["channels", "size", "network", "width"],
)
def test_weights_that_do_not_fit_are_refused_with_the_layer(given: dict, new: dict, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.weights.h5"
    _network(**given).save_weights(path)
    network = _network(**new)
    before = network.get_weights()
    with pytest.raises(ModelError, match=words):
        take_over(network, read_weights(path), source=path.name)
    for array, same in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, same)


def test_weights_that_lack_a_layer_are_refused_with_its_name() -> None:
    network = _network()
    stored = [entry for entry in _stored(network) if entry.names[0] != "stage2_block1_1_bn"]
    with pytest.raises(ModelError, match="lack the layer 'stage2_block1_1_bn' of 'resnet20', though they hold layers"):
        take_over(network, stored, source="mine.weights.h5")


def test_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no weights at .*nothing\.h5"):
        read_weights(tmp_path / "nothing.h5")
    (tmp_path / "text.h5").write_text("weights")
    with pytest.raises(ModelError, match=r"text\.h5 holds no weights of Keras"):
        read_weights(tmp_path / "text.h5")
    network = _network("ds_cnn")
    network.save_weights(tmp_path / "cut.weights.h5")
    whole = (tmp_path / "cut.weights.h5").read_bytes()
    (tmp_path / "cut.weights.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="cut off"):
        read_weights(tmp_path / "cut.weights.h5")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = _network("ds_cnn")
    network.get_layer("conv").bias.assign(np.full(64, np.nan, np.float32))
    network.save_weights(tmp_path / "nan.weights.h5")
    with pytest.raises(NonFiniteError, match="the layer 'conv'"):
        read_weights(tmp_path / "nan.weights.h5")


def _stored(network: Any) -> list[Any]:
    from edgefm.keras_graph.pretrained import StoredLayer

    layers = [layer for layer in network.layers if layer.weights]
    return [StoredLayer(names=(layer.name,), arrays=tuple(layer.get_weights())) for layer in layers]
