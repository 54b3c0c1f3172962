"""`edgefm agree` with LiteRT's real kernel sets, a runtime with a fault, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm import runtimes
from edgefm.cli.main import cli, run
from tests.fixtures import agreement_models, tiny_models

SHIPPED = Path(__file__).parent.parent.parent / "android_demo_assets" / "int8" / "model.tflite"
MEASURED = Path(__file__).parent.parent / "fixtures" / "measured_model" / "model.tflite"
LITERT = {"litert": "edgefm.runtimes.litert"}
FAULTY = {**LITERT, "deviating": "tests.fixtures.deviating_runtime"}
CRASHING = {**LITERT, "crashing": "tests.fixtures.crashing_runtime"}


def _command(*arguments: str | Path) -> int:
    return run(lambda: cli.main(["agree", *map(str, arguments)], standalone_mode=False))


@pytest.fixture
def only_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "RUNTIMES", LITERT)


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    path = tmp_path / "chain.tflite"
    path.write_bytes(agreement_models.chain())
    return path


@pytest.mark.usefixtures("only_litert")
def test_agree_tells_kernel_sets_apart_on_the_shipped_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert _command(SHIPPED, "-n", "100", "--out", out) == 0
    shown = capsys.readouterr().out
    assert "100 of 10,000 test samples of fashion-mnist" in shown
    assert "XNNPACK kernels, against litert:xnnpack" in shown
    assert sorted(path.name for path in out.iterdir()) == ["agreement.json", "agreement.png", "agreement.svg"]
    value = json.loads((out / "agreement.json").read_text(encoding="utf-8"))
    assert value["model"]["arithmetic"] == "integer"
    assert len(value["cells"]) == 3
    for cell in value["cells"]:
        assert 0.8 < cell["quality"]["value"] < 0.99
        assert cell["quality"]["low"] < cell["quality"]["value"] < cell["quality"]["high"]
        assert cell["version"] == value["environment"]["versions"]["ai-edge-litert"]
    # On this model the built-in and the reference kernels have been seen to differ by 2 levels, XNNPACK's by 6.
    assert all(pair["largest"] <= 8 for pair in value["pairs"])


@pytest.mark.usefixtures("only_litert")
def test_agree_on_own_data_gives_what_plain_interpreters_give(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way through workers against the interpreter in this process, sample by sample."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    generator = np.random.default_rng(3)
    images = generator.integers(0, 256, (60, 4, 4, 1)).astype(np.uint8)
    labels = np.repeat(np.arange(4), 15)
    np.savez(
        tmp_path / "own.npz",
        x_train=images,
        y_train=labels,
        x_test=images[::-1],
        y_test=labels,
    )
    options = ("--data", tmp_path / "own.npz", "--mean", "0", "--std", "50", "--json")
    assert _command(chain, *options) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["inputs"]["samples"] == 60 == value["inputs"]["available"]
    # real = pixel / 50, q = real / 0.02 - 128
    inputs = (images[::-1].astype(np.int64) - 128).astype(np.int8)
    resolvers = {
        "litert:xnnpack": OpResolverType.AUTO,
        "litert:builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "litert:reference": OpResolverType.BUILTIN_REF,
    }
    answers: dict[str, np.ndarray[Any, Any]] = {}
    for name, resolver in resolvers.items():
        interpreter = Interpreter(model_path=str(chain), experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
        (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
        rows = []
        for one in inputs:
            interpreter.set_tensor(source["index"], one[np.newaxis])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(sink["index"])[0].copy())
        answers[name] = np.array(rows, np.int64)
    for pair in value["pairs"]:
        distance = np.abs(answers[pair["first"]] - answers[pair["second"]])
        assert pair["largest"] == distance.max()
        assert pair["equal_samples"] == (distance.max(axis=1) == 0).sum()
    for cell in value["cells"]:
        assert cell["quality"]["value"] == pytest.approx((answers[cell["name"]].argmax(axis=1) == labels).mean())


def test_agree_alarms_at_a_runtime_off_by_three_levels_and_names_its_first_layer(
    chain: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "RUNTIMES", FAULTY)
    assert _command(chain, "-n", "50", "--runtime", "litert:xnnpack", "--runtime", "deviating", "--json") == 1
    value = json.loads(capsys.readouterr().out)
    (cell,) = (cell for cell in value["cells"] if cell["verdict"] == "alarm")
    assert cell["name"] == "deviating"
    assert cell["evidence"].startswith("unknown runtime")
    first = cell["first_difference"]
    assert (first["operator"], first["name"], first["tensor"]) == (2, "FULLY_CONNECTED", "dense1")
    assert first["comparison"]["largest"] == 3
    assert first["verified"]
    assert "operator 2, FULLY_CONNECTED 'dense1' (3 levels" in value["verdict"]["lines"][0]


@pytest.mark.usefixtures("only_litert")
def test_agree_says_that_inputs_are_random_where_there_are_no_data(
    chain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _command(chain, "-n", "20", "--runtime", "litert:builtin", "--runtime", "litert:reference") == 0
    shown = capsys.readouterr().out
    assert "20 random inputs, seed 0 (no --data was given" in shown
    assert "accuracy %" not in shown


def test_crash_of_a_runtime_is_told_in_its_row(
    chain: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "RUNTIMES", CRASHING)
    assert _command(chain, "-n", "10") == 0
    assert "  crashing: the runtime crashed with SIGABRT while loading" in capsys.readouterr().out


@pytest.mark.usefixtures("only_litert")
@pytest.mark.parametrize(
    ("content", "arguments", "reason"),
    [
        pytest.param(tiny_models.relu()[:60], (), "is cut off or damaged", id="damaged"),
        pytest.param(b"no model at all", (), "is not a TFLite file", id="no model"),
        pytest.param(tiny_models.dynamic(), (), "dynamic shape", id="dynamic length"),
        pytest.param(tiny_models.custom(), ("-n", "5"), "two cells are needed", id="custom operator"),
        pytest.param(tiny_models.relu((1, 4)), ("-n", "0"), "0 is not in the range x>=1", id="no samples"),
        pytest.param(
            tiny_models.relu((1, 4)),
            ("--runtime", "litert:builtin", "-n", "5"),
            "two cells are needed",
            id="one runtime",
        ),
        pytest.param(tiny_models.relu((1, 4)), ("--runtime", "litrt"), "did you mean 'litert'", id="unknown runtime"),
        pytest.param(tiny_models.relu((1, 4)), ("--target", "hst"), "did you mean 'host'", id="unknown target"),
        pytest.param(tiny_models.relu((1, 4)), ("--task", "regression"), "--task goes with --data", id="task alone"),
        pytest.param(
            tiny_models.relu((1, 4)),
            ("--random", "--data", "x.npz"),
            "--random cannot be combined with --data",
            id="random and data",
        ),
        pytest.param(tiny_models.relu((1, 4)), ("--data", "nowhere.npz"), "nowhere.npz", id="no such data"),
    ],
)
def test_bad_input_ends_with_2_and_the_reason(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    arguments: tuple[str, ...],
    reason: str,
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    assert _command(path, *arguments) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.usefixtures("only_litert")
def test_data_that_do_not_fit_the_model_end_with_2(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.zeros((20, 4, 4, 1), np.uint8)
    labels = np.arange(20) % 4
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    # Nothing says how its pixels become inputs: the input spans 0 to 5.1.
    assert _command(chain, "--data", tmp_path / "own.npz") == 2
    assert "not a known pixel range: give mean and std" in capsys.readouterr().err


@pytest.mark.browser
def test_browser_answers_as_litert_does(capsys: pytest.CaptureFixture[str]) -> None:
    from edgefm.runtimes.base import Unavailable
    from edgefm.targets import target

    usable = target("browser").availability()
    if isinstance(usable, Unavailable):
        pytest.skip(usable.reason)
    code = _command(
        SHIPPED, "-n", "50", "--runtime", "litert:xnnpack", "--runtime", "litertjs", "--target", "browser", "--json"
    )
    value = json.loads(capsys.readouterr().out)
    assert [cell["name"] for cell in value["cells"]] == ["litert:xnnpack", "litertjs @ browser"]
    assert (code, value["cells"][1]["against_reference"]["largest"]) == (0, 0)


@pytest.fixture
def emulated() -> None:
    """Leave a test out where Arm cores cannot be emulated."""
    from edgefm.runtimes.base import Unavailable
    from edgefm.targets import target

    usable = target("qemu-aarch64").availability()
    if isinstance(usable, Unavailable):
        pytest.skip(usable.reason)


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_emulated_arm_cores_answer_within_a_level(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("-n", "10", "--runtime", "litert:xnnpack", "--target", "qemu-aarch64", "--json")
    assert _command(SHIPPED, *arguments) == 0
    value = json.loads(capsys.readouterr().out)
    emulated = value["cells"][1]
    assert (emulated["target"], emulated["mode"], emulated["verdict"]) == ("qemu-aarch64", "simulated", "within")


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_built_in_kernels_of_an_emulated_arm_core_are_held_to_xnnpack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On test images of which some were seen to differ by two levels: no alarm."""
    from edgefm.data.reference.fashion_mnist import load_fashion_mnist

    found = load_fashion_mnist(None)
    places = [0, 192, 324, 628, 674, 689, 736, 798, 856, 999]
    images, labels = found.test.images[places], found.test.labels[places]
    few = {"x_train": found.train.images[:100], "y_train": found.train.labels[:100]}
    np.savez(tmp_path / "own.npz", **few, x_test=images, y_test=labels)
    (tmp_path / "labels.txt").write_text("\n".join(found.labels), encoding="utf-8")
    data = ("--data", tmp_path / "own.npz", "--labels", tmp_path / "labels.txt")
    cells = ("--runtime", "litert:xnnpack", "--runtime", "litert:builtin", "--target", "qemu-aarch64")
    assert _command(MEASURED, *data, *cells, "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["inputs"]["samples"] == len(places)
    (emulated,) = (cell for cell in value["cells"] if cell["name"] == "litert:builtin @ qemu-aarch64")
    assert (emulated["family"], emulated["limit"], emulated["verdict"]) == ("xnnpack", 2, "within")
    assert emulated["against_reference"]["largest"] <= 2
