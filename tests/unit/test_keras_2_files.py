"""Models that Keras 2 saved: tf_keras, which is Keras 2, is the oracle."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.core.errors import ModelError
from edgefm_converters.readers.keras_file import load_model
from edgefm_converters.readers.saved_model import (
    float32_tflite_of_saved_model,
    has_keras_model,
    read_keras_metadata,
)
from tests.fixtures import hostile_models
from tests.fixtures.residual_network import random_weights

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module", autouse=True)
def tensorflow_backend() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def images(count: int = 5) -> Any:
    return np.random.default_rng(0).normal(size=(count, *SHAPE)).astype(np.float32)


def randomised(tf_model: Any) -> Any:
    random = np.random.default_rng(2)
    values = [random.normal(size=weight.shape) * 0.4 for weight in tf_model.weights]
    tf_model.set_weights(
        [np.abs(value) if "variance" in w.name else value for w, value in zip(tf_model.weights, values, strict=True)]
    )
    return tf_model


def with_functions() -> Any:
    """Return a Keras 2 model with a depthwise convolution, operators, and functions of TensorFlow."""
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    image = tf_keras.Input(SHAPE, name="image")
    x = layers.Conv2D(4, 3, padding="same", name="block/conv")(tf.math.divide(image, 2.0) - 0.5)
    x = layers.LeakyReLU(0.1)(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.ReLU(6.0)(x + y + 3.0) * (1.0 / 6.0)
    x = tf.concat([x, tf.nn.relu6(4.0 * y), tf.transpose(tf.nn.leaky_relu(y), [0, 2, 1, 3])], axis=-1)
    x = tf.pad(x, [[0, 0], [1, 0], [0, 2], [0, 0]])
    x = tf.reshape(x, [-1, 9 * 10, 12])
    x = tf.reduce_mean(tf.expand_dims(x, 1), axis=[1, 2])
    return randomised(tf_keras.Model(image, layers.Dense(4, activation="softmax", name="scores")(x)))


def plain() -> Any:
    import tf_keras
    from tf_keras import layers

    return randomised(
        tf_keras.Sequential(
            [
                tf_keras.Input(SHAPE),
                layers.Conv2D(4, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.DepthwiseConv2D(3),
                layers.SpatialDropout2D(0.1),
                layers.GlobalAveragePooling2D(),
                layers.Dense(3, activation="softmax"),
            ]
        )
    )


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "folder"])
def test_models_of_keras_2_compute_the_same_in_keras_3(tmp_path: Path, name: str) -> None:
    for index, old in enumerate((with_functions(), plain())):
        path = tmp_path / f"{index}-{name}"
        old.save(path, **({"save_format": "tf"} if name == "folder" else {}))
        model = load_model(path)
        expected = old(images(), training=False).numpy()
        assert expected.std() > 0.01
        np.testing.assert_allclose(np.asarray(model(images(), training=False)), expected, atol=2e-6)
        names = [layer.name.replace("/", "_") for layer in old.layers]
        assert [layer.name for layer in model.layers if layer.weights] == [
            name for name, layer in zip(names, old.layers, strict=True) if layer.weights
        ]


def test_hard_sigmoid_of_keras_2_is_not_taken_for_that_of_keras_3(tmp_path: Path) -> None:
    import keras
    import tf_keras

    old = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(3, activation="hard_sigmoid", name="gate")])
    old.save(tmp_path / "gate.h5")
    taken = keras.saving.load_model(tmp_path / "gate.h5", compile=False)
    x = np.linspace(-4, 4, 40).reshape(10, 4).astype(np.float32)
    assert np.abs(np.asarray(taken(x)) - old(x).numpy()).max() > 1e-3  # what Keras 3 says is wrong
    with pytest.raises(ModelError, match="activation 'hard_sigmoid' of the layer 'gate'"):
        load_model(tmp_path / "gate.h5")


def test_nested_and_shared_layers_of_keras_2_stay_nested_and_shared(tmp_path: Path) -> None:
    import tf_keras
    from tf_keras import layers

    inner = tf_keras.Sequential([tf_keras.Input((4,)), layers.Dense(4, activation="tanh", name="own")], name="inner")
    image = tf_keras.Input((4,))
    old = randomised(tf_keras.Model(image, layers.Average(name="mean")([inner(image), inner(inner(image))])))
    old.save(tmp_path / "nested.h5")
    model = load_model(tmp_path / "nested.h5")
    assert len(model.weights) == 2
    x = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(model(x)), old(x).numpy(), atol=1e-6)


def test_what_keras_3_cannot_compute_is_named(tmp_path: Path) -> None:
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    def saved(name: str, make: Any) -> Path:
        image = tf_keras.Input(SHAPE)
        tf_keras.Model(image, make(image)).save(tmp_path / name)
        return tmp_path / name

    local = saved("local.h5", layers.LocallyConnected2D(2, 3, name="mine"))
    with pytest.raises(ModelError, match=r"LocallyConnected2D"):
        load_model(local)
    with pytest.raises(ModelError, match=r"local.h5|calls tf.math.erf"):
        load_model(saved("erf.h5", tf.math.erf))

    class Own(tf_keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    with pytest.raises(ModelError, match="uses the class 'Own'"):
        load_model(saved("own.h5", Own()))


def test_old_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    old = plain()
    values = old.get_weights()
    values[0][0, 0, 0, :2] = np.nan
    old.set_weights(values)
    old.save(tmp_path / "nan.h5")
    old.save(tmp_path / "folder", save_format="tf")
    (tmp_path / "graph").mkdir()
    shutil.copytree(tmp_path / "folder", tmp_path / "graph", dirs_exist_ok=True)
    (tmp_path / "graph" / "keras_metadata.pb").unlink()
    for name in ("nan.h5", "folder"):
        with pytest.raises(ModelError, match="hold 2 values that are NaN"):
            load_model(tmp_path / name)
    with pytest.raises(ModelError, match="hold 2 values that are NaN"):
        float32_tflite_of_saved_model(tmp_path / "graph")


def outputs_of(content: bytes, x: Any) -> dict[str, Any]:
    from ai_edge_litert.interpreter import Interpreter

    return dict(Interpreter(model_content=content).get_signature_runner("serving_default")(image=x))


def test_saved_model_without_keras_in_it_is_converted_as_a_graph(tmp_path: Path) -> None:
    import keras

    model = random_weights(keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)]))
    model.export(tmp_path / "exported", verbose=False)
    assert not has_keras_model(tmp_path / "exported")
    with pytest.raises(ModelError, match="SavedModel without a Keras model"):
        load_model(tmp_path / "exported")
    (found,) = outputs_of(float32_tflite_of_saved_model(tmp_path / "exported"), images(1)).values()
    np.testing.assert_allclose(found, np.asarray(model(images(1))), atol=1e-5)


def test_subclassed_keras_2_saved_model_says_how_its_graph_can_be_taken(tmp_path: Path) -> None:
    import tensorflow as tf
    import tf_keras

    class Own(tf_keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = tf_keras.layers.Dense(2, kernel_initializer="ones")

        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])
        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    own = Own()
    own(np.ones((1, 4), np.float32))
    own.save(tmp_path / "own", save_format="tf")
    with pytest.raises(ModelError, match=r"subclassed model \(Own\).*\n.*remove keras_metadata.pb from a copy"):
        load_model(tmp_path / "own")
    (tmp_path / "own" / "keras_metadata.pb").unlink()
    (found,) = outputs_of(float32_tflite_of_saved_model(tmp_path / "own"), np.ones((1, 4), np.float32)).values()
    np.testing.assert_allclose(found, [[4.0, 4.0]])


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ("[" * 100_000, "nested deeper than 64 levels"),
        ("[]", "it is a list of 0; an object is expected"),
        ("9" * 5000, "thousands of digits"),
    ],
    ids=["brackets", "list", "digits"],
)
def test_description_in_a_saved_model_is_read_like_any_document(tmp_path: Path, metadata: str, says: str) -> None:
    from tf_keras.protobuf import saved_metadata_pb2

    content = saved_metadata_pb2.SavedMetadata()
    content.nodes.add(node_path="root", identifier="_tf_keras_sequential", metadata=metadata)
    (tmp_path / "keras_metadata.pb").write_bytes(content.SerializeToString())
    with pytest.raises(ModelError, match=f"the description of .* is damaged: .*{says}"):
        read_keras_metadata(tmp_path)


def test_saved_models_that_cannot_be_converted_say_why(tmp_path: Path) -> None:
    import tensorflow as tf

    def saved(name: str, function: Any, *specs: Any, signature: str = "serving_default") -> Path:
        module = tf.Module()
        module.function = tf.function(function, input_signature=specs)
        tf.saved_model.save(
            module, str(tmp_path / name), signatures={signature: module.function.get_concrete_function()}
        )
        return tmp_path / name

    def given(shape: Any, dtype: Any = tf.float32, name: str = "x") -> Any:
        return tf.TensorSpec(shape, dtype, name=name)

    def content_of(x: Any) -> Any:
        return {"y": x + tf.strings.to_number(tf.io.read_file("secret"))}

    (tmp_path / "empty").mkdir()
    damaged = saved("damaged", lambda x: {"y": x * 2}, given((None, 4)))
    content = (damaged / "saved_model.pb").read_bytes()
    (damaged / "saved_model.pb").write_bytes(content[: len(content) // 2])
    for path, message in (
        (saved("dynamic", lambda x: {"y": x * 2}, given((None, None))), r"'x' .* has the shape \(None, None\)"),
        (saved("batch", lambda x: {"y": x * 2}, given((8, 4))), r"has the shape \(8, 4\)"),
        (
            saved("whole", lambda x: {"y": x * 2}, given((1, 4), tf.float64)),
            r"is float64; float32, or int32 or int64 for tokens, is expected",
        ),
        (saved("other", lambda x: {"y": x * 2}, given((1, 4)), signature="mine"), "no signature 'serving_default'"),
        (saved("files", content_of, given((1, 4))), "uses ReadFile: it reads or writes files"),
        (tmp_path / "empty", "is a folder, but no SavedModel"),
        (damaged, "damaged or cut off"),
    ):
        with pytest.raises(ModelError, match=message):
            float32_tflite_of_saved_model(path)


def test_outputs_of_a_saved_model_keep_their_names_and_order(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.function = tf.function(
        lambda x: {"image": x * 2, "b": x - 1, "a": tf.reduce_sum(x, 1)},
        input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")],
    )
    tf.saved_model.save(module, str(tmp_path), signatures=module.function.get_concrete_function())
    x = np.array([[1, 2, 3, 4]], np.float32)
    found = outputs_of(float32_tflite_of_saved_model(tmp_path), x)
    assert set(found) == {"a", "b", "image_1"}
    np.testing.assert_allclose(found["a"], [10])
    np.testing.assert_allclose(found["b"], x - 1)
    np.testing.assert_allclose(found["image_1"], 2 * x)


@pytest.mark.parametrize("kind", hostile_models.CALLING)
@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_nothing_that_a_file_of_keras_2_names_is_called(kind: str, suffix: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / f"model.{suffix}"
    hostile_models.keras_2_file(path, kind, mark)
    with pytest.raises(ModelError, match=r"holds a|calls tf\.io"):
        load_model(path)
    assert not mark.exists()


def test_no_module_that_a_file_of_keras_2_names_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named_by_a_model.py").write_text("class Model: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "model.keras"
    hostile_models.write_keras_2(
        path, {"class_name": "Model", "module": "named_by_a_model", "registered_name": "Model", "config": {}}
    )
    with pytest.raises(ModelError, match="the module 'named_by_a_model', which is not imported"):
        load_model(path)
    assert "named_by_a_model" not in sys.modules


@pytest.mark.parametrize("kind", hostile_models.REACHING)
@pytest.mark.parametrize("when", ["loaded", "called"])
def test_operations_of_a_saved_model_that_reach_files_are_refused_before_it_is_loaded(
    kind: str, when: str, tmp_path: Path
) -> None:
    folder, mark = tmp_path / "model", tmp_path / "mark"
    hostile_models.saved_model(folder, kind, mark, when=when)
    with pytest.raises(ModelError, match=f"uses .*{kind}"):
        float32_tflite_of_saved_model(folder)
    assert not list(tmp_path.glob("mark*"))


@pytest.mark.parametrize("saver", ["WriteFile", "SaveV2"])
def test_what_saves_a_graph_and_initialises_a_variable_is_no_saver(saver: str, tmp_path: Path) -> None:
    from tensorflow.core.framework import variable_pb2
    from tensorflow.core.protobuf import saved_model_pb2

    folder, mark = tmp_path / "model", tmp_path / "mark"
    hostile_models.saved_model_of_tensorflow_1(folder, mark)
    if saver == "SaveV2":
        content = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        (meta,) = content.meta_graphs
        save = next(node.name for node in meta.graph_def.node if node.op == "SaveV2")
        local = meta.collection_def["local_variables"].bytes_list
        variable = variable_pb2.VariableDef.FromString(local.value[0])
        variable.initializer_name = meta.saver_def.save_tensor_name = save
        local.value[0] = variable.SerializeToString()
        writes = next(node for node in meta.graph_def.node if node.op == "WriteFile")
        meta.graph_def.node.remove(writes)
        (folder / "saved_model.pb").write_bytes(content.SerializeToString())
    with pytest.raises(ModelError, match=f"uses .*{saver}"):
        float32_tflite_of_saved_model(folder)
    assert not list(tmp_path.glob("mark*"))


def test_saver_of_a_graph_of_tensorflow_1_that_only_saves_passes(tmp_path: Path) -> None:
    import tensorflow as tf

    v1, folder = tf.compat.v1, tmp_path / "model"
    with v1.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        y = tf.matmul(x, v1.get_variable("w", initializer=tf.ones([4, 3]), use_resource=True))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
    assert float32_tflite_of_saved_model(folder)[4:8] == b"TFL3"


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_file_of_words_is_not_read(suffix: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "words")  # who reads it waits for ever
    given = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "dtype": "int64", "name": "i"}}
    lookup = {"class_name": "IntegerLookup", "config": {"name": "l", "vocabulary": str(tmp_path / "words")}}
    layers = [given, lookup, {"class_name": "Embedding", "config": {"name": "e", "input_dim": 9, "output_dim": 2}}]
    path = tmp_path / f"model.{suffix}"
    hostile_models.write_keras_2(path, {"class_name": "Sequential", "config": {"name": "m", "layers": layers}})
    with pytest.raises(ModelError, match="names a file of words outside itself, which is not read"):
        load_model(path)


def test_link_out_of_a_saved_model_is_not_followed(tmp_path: Path) -> None:
    import tensorflow as tf

    folder = tmp_path / "model"
    module = tf.Module()
    module.w = tf.Variable(1.0)
    tf.saved_model.save(module, str(folder))
    (tmp_path / "secret").write_text("secret")
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets/words.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match=r"holds assets/words\.txt, a link that leaves its folder"):
        float32_tflite_of_saved_model(folder)
