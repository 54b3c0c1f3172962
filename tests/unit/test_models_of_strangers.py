"""Model files of others: what they unpack to, what they declare, and what damage does to the libraries."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm.core.errors import ModelError
from edgefm.core.given import limits
from edgefm.tflite import flatbuffer
from edgefm_converters.readers import hdf5, model_file, stored_config
from edgefm_converters.readers.keras_file import load_model
from tests.fixtures import tiny_models
from tests.fixtures.classifiers import small_classifier


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files in a good .keras archive."""
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    path = tmp_path_factory.mktemp("good") / "good.keras"
    small_classifier().save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


# ---- what a .keras archive unpacks to

SLIPS = ["../outside", "/outside", "assets/../../outside", "C:\\outside", "..\\outside"]


@pytest.mark.parametrize("name", SLIPS)
def test_archive_with_a_name_that_leaves_it_is_refused(tmp_path: Path, members: dict[str, bytes], name: str) -> None:
    path = archive(tmp_path / "model.keras", *members.items(), (name, b"x"))
    with pytest.raises(ModelError, match="a file whose name leaves the archive"):
        stored_config.read_stored(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archive_with_a_file_twice_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = archive(tmp_path / "model.keras", *members.items(), ("config.json", b"{}"))
    with pytest.raises(ModelError, match=r"holds the file 'config\.json' twice"):
        stored_config.read_stored(path)


def test_archive_of_an_unusual_packing_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = archive(tmp_path / "model.keras", *members.items(), method=zipfile.ZIP_BZIP2)
    with pytest.raises(ModelError, match="packed in a way that Keras does not write"):
        stored_config.read_stored(path)


def test_archive_that_unpacks_to_more_than_it_may_is_refused(
    tmp_path: Path, members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "model.keras", *members.items(), ("assets/junk", bytes(64 << 20)))
    assert stored_config.read_stored(path).elements
    monkeypatch.setenv(limits.VARIABLE, "8")
    with pytest.raises(ModelError, match=r"model\.keras would take 64 MB of memory") as caught:
        stored_config.read_stored(path)
    assert f"{limits.VARIABLE}=65" in str(caught.value.hint)


def test_description_of_gigabytes_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = archive(tmp_path / "model.keras", *({**members, "config.json": b" " * (33 << 20)}).items())
    with pytest.raises(ModelError, match=r"'config\.json' in .* would unpack to 34,603,008 bytes"):
        stored_config.read_stored(path)


@pytest.mark.parametrize("config", [b"[" * 100_000, b"9" * 5000, b"\xff", b"null", b"[]", b'{"class_name": {}}'])
def test_description_that_is_none_is_one_message(tmp_path: Path, members: dict[str, bytes], config: bytes) -> None:
    path = archive(tmp_path / "model.keras", *({**members, "config.json": config}).items())
    with pytest.raises(ModelError) as caught:
        model_file.check_model(path)
    assert "\n" not in caught.value.message and len(caught.value.message) < 500


REFUSED = {
    "nested": (b'{"a":' * 100_000, "nested deeper than 64 levels"),
    "long number": (b'{"a": ' + b"9" * 5000 + b"}", "a whole number of thousands of digits"),
    "great number": (b'{"a": ' + b"9" * 400 + b"}", "a is a whole number of 400 digits"),
    "no text": (b"\xff", "it is not UTF-8 text: byte 0 is 0xff"),
    "cut": (b'{"a": ', "it is no JSON: Expecting value"),
    "twice": (b'{"class_name": "Sequential", "class_name": "Lambda"}', "the key 'class_name' is there more than once"),
    "surrogate": (b'{"a": "\\ud800"}', "a holds half a surrogate pair"),
    "values": (b"[" + b"0," * 5_000_000 + b"0]", "it holds more than 5,000,000 values"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("member", ["config.json", "metadata.json"])
def test_description_in_an_archive_is_read_like_any_document(
    tmp_path: Path, members: dict[str, bytes], member: str, name: str
) -> None:
    content, says = REFUSED[name]
    path = archive(tmp_path / "model.keras", *({**members, member: content}).items())
    with pytest.raises(ModelError) as caught:
        stored_config.read_stored(path)
    assert caught.value.message.startswith(f"{member} in {path} is damaged: ") and says in caught.value.message
    assert caught.value.hint


def test_description_may_hold_infinity(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = described(tmp_path / "model.keras", members, of_dense(threshold=float("-inf")))
    (config,) = stored_config.read_stored(path).configs
    assert float("-inf") in [one["config"].get("threshold") for one in config["config"]["layers"]]


# ---- what a description declares


def described(path: Path, members: dict[str, bytes], change: Callable[[dict[str, Any]], None]) -> Path:
    config = json.loads(members["config.json"])
    change(config["config"])
    return archive(path, *({**members, "config.json": json.dumps(config).encode()}).items())


def layer(kind: str, **config: Any) -> dict[str, Any]:
    named = {"name": f"new_{config.pop('index', 0)}", "trainable": True, "dtype": "float32", **config}
    return {"module": "keras.layers", "class_name": kind, "config": named, "registered_name": None}


def of_dense(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        next(one for one in config["layers"] if one["class_name"] == "Dense")["config"].update(changes)

    return change


def behind_the_flat(*layers: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        place = next(place for place, one in enumerate(config["layers"]) if one["class_name"] == "Dense")
        config["layers"][place:place] = layers

    return change


IDENTITY = {"module": "keras.initializers", "class_name": "Identity", "config": {"gain": 1.0}, "registered_name": None}
DECLARED = {
    "dense": (of_dense(units=1 << 28), "describes a model of .* weights or more, and holds"),
    "initializer that crashes": (of_dense(units=1 << 20, kernel_initializer=IDENTITY), "weights or more, and holds"),
    "embedding": (behind_the_flat(layer("Embedding", input_dim=10**9, output_dim=100)), "weights or more, and holds"),
    "repeated": (behind_the_flat(layer("RepeatVector", n=10**9)), "Keras cannot load|would take .* MB of memory"),
    "negative": (of_dense(units=-1), "Keras cannot load"),
    "many layers": (
        behind_the_flat(*(layer("Activation", activation="relu", index=index) for index in range(400))),
        "more layers than Keras can load",
    ),
}


@pytest.mark.parametrize("name", DECLARED)
def test_description_of_a_model_that_is_too_large_is_refused_before_it_is_built(
    tmp_path: Path, members: dict[str, bytes], name: str
) -> None:
    import keras

    before = keras.Layer.add_weight
    change, words = DECLARED[name]
    with pytest.raises(ModelError, match=words):
        load_model(described(tmp_path / "model.keras", members, change))
    assert keras.Layer.add_weight is before


def test_result_of_a_layer_that_is_too_large_is_refused(tmp_path: Path) -> None:
    import keras

    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    inputs = keras.Input((8, 8, 1))
    large = keras.layers.UpSampling2D(2000)(inputs)
    keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(large)).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"the result of the layer 'up_sampling2d.*' of .* would take 976 MB"):
        load_model(tmp_path / "model.keras")


# ---- HDF5


def small_h5(path: Path) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = '{"class_name": "Sequential"}'
        file.create_group("model_weights").create_dataset("kernel", data=np.ones((3, 4), np.float32))
    return path


def test_small_h5_is_read(tmp_path: Path) -> None:
    held = hdf5.read(small_h5(tmp_path / "model.h5"))
    assert (held.groups, held.elements) == (("model_weights",), 12)
    assert held.attributes == {"model_config": '{"class_name": "Sequential"}'}


@pytest.mark.parametrize("name", ["nested", "long number", "great number", "cut", "twice", "surrogate"])
@pytest.mark.parametrize("attribute", ["model_config", "training_config"])
def test_description_in_h5_is_read_like_any_document(tmp_path: Path, attribute: str, name: str) -> None:
    import h5py

    content, says = REFUSED[name]
    path = small_h5(tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights"].parent.attrs.pop(attribute, None)
        file.attrs[attribute] = content[:50_000].decode()  # an attribute has at most 64 KB
    with pytest.raises(ModelError) as caught:
        stored_config.read_stored(path)
    assert caught.value.message.startswith(f"{attribute} in {path} is damaged: ") and says in caught.value.message


def test_h5_that_keeps_its_library_busy_for_ever_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_h5(tmp_path / "model.h5")
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 32] = bytes(16)
    path.write_bytes(content)
    monkeypatch.setattr(hdf5, "_SECONDS", 2.0)
    with pytest.raises(ModelError, match=r"reading the HDF5 file .*model\.h5 gave no answer for 2 s"):
        stored_config.read_stored(path)


def test_h5_that_says_it_holds_gigabytes_is_refused(tmp_path: Path) -> None:
    import h5py

    path = small_h5(tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights"].create_dataset("large", (1 << 30,), "f4")  # its values are not in the file
    with pytest.raises(ModelError, match=r"model\.h5 would take 4,096 MB of memory"):
        stored_config.read_stored(path)


def test_h5_whose_groups_hold_each_other_is_read_once(tmp_path: Path) -> None:
    import h5py

    path = small_h5(tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        for index in range(40):  # 2 ** 40 paths lead to the last one
            file.create_group(f"g{index}")
        for index in range(39):
            file[f"g{index}/left"] = file[f"g{index}/right"] = file[f"g{index + 1}"]
        file["g39/again"] = file["/"]
    assert hdf5.read(path).elements == 12


# ---- .tflite


def tensor(index: int, **fields: Any) -> Callable[[Any, Any], None]:
    return lambda model, graph: vars(graph.tensors[index]).update(fields)


def operator(**fields: Any) -> Callable[[Any, Any], None]:
    return lambda model, graph: vars(graph.operators[0]).update(fields)


def graph(**fields: Any) -> Callable[[Any, Any], None]:
    return lambda model, graph: vars(graph).update(fields)


def cut_weights(model: Any, graph: Any) -> None:
    buffer = model.buffers[graph.tensors[1].buffer]
    buffer.data = np.asarray(buffer.data)[:-3]


WRONG = {
    "a terabyte": (tensor(-1, shape=[1, 1 << 20, 1 << 20]), "would take 4,194,304 MB of memory"),
    "input of gigabytes": (tensor(0, shape=[1, 1 << 30]), "would take 4,096 MB of memory"),
    "negative": (tensor(-1, shape=[1, -7]), "has the shape"),
    "cut weights": (cut_weights, "bytes"),
    "other type": (tensor(1, type=3), "bytes"),
    "input that is not there": (operator(inputs=[0, 99, -1]), "an input of operator 0 is tensor 99"),
    "output that is not there": (operator(outputs=[-1]), "an output of operator 0 is tensor -1"),
    "takes its own result": (operator(inputs=[2, 1, -1]), "which is not there yet"),
    "kind that is not there": (operator(opcodeIndex=9), "the kind of operator 0 is 9"),
    "buffer that is not there": (tensor(1, buffer=77), "its graph cannot be read"),
    "end that is not there": (graph(outputs=[1000]), "an output of the graph is tensor 1000"),
    "no tensors": (graph(tensors=None), "there are 0"),
    "no input": (graph(inputs=None), "has no input"),
    "name of no text": (tensor(1, name=b"\xff\xfe"), "the name of tensor 1 of .* is no UTF-8"),
}


@pytest.mark.parametrize("name", WRONG)
def test_quantize_refuses_a_wrong_graph_in_one_message(tmp_path: Path, name: str) -> None:
    change, words = WRONG[name]
    path = tmp_path / "model.tflite"
    model = flatbuffer.editable(tiny_models.dense(np.ones((3, 4), np.float32), picture=(2, 2, 1)))
    change(model, model.subgraphs[0])
    path.write_bytes(flatbuffer.write(model))
    with pytest.raises(ModelError, match=words) as caught:
        edgefm.quantize(path, "drq_w8")
    assert "\n" not in caught.value.message
