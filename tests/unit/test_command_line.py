import subprocess
import sys
import time

import pytest

from edgefm.cli.main import COMMANDS, cli, run


def call(*args: str) -> int:
    return run(lambda: cli.main(list(args), standalone_mode=False))


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom edgefm.cli.main import cli\n"
        "try:\n cli.main(['--help'])\nexcept SystemExit:\n pass\n"
        "heavy = {'tensorflow', 'keras', 'tf_keras', 'jax', 'torch', 'matplotlib', 'numpy', 'ai_edge_litert', 'tqdm'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"
    assert all(name in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(name, "--help") == 0
    assert "Usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "--epochs", "-1"], "epochs -1 is not allowed"),
        (["train", "--preset", "quik"], "did you mean 'quick'"),
        (["train", "--model", "enhanced"], "did you mean 'enhanced_cnn'"),
        (["train", "--backend", "tensorflw"], "did you mean 'tensorflow'"),
        (["train", "--precision", "float8"], "unknown precision 'float8'"),
        (["train", "--model-option", "batch_norm"], "NAME=VALUE is expected"),
        (["train", "--resume", "--run", "nowhere"], "no run at nowhere"),
        (["quantize", "--variant", "int8"], "did you mean 'int16x8'"),
        (["benchmark", "--threads", "0"], "threads 0 is not allowed"),
        (["benchmark", "missing.tflite"], "missing.tflite"),
        (["report", "nowhere"], "no run at nowhere"),
        (["data", "info", "--out", "/dev/null/x"], "Not a directory"),
    ],
    ids=" ".join,
)
def test_bad_input_gives_a_clear_error_and_code_2(
    args: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # type: ignore[arg-type]
    assert call(*args) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert list(__import__("pathlib").Path().iterdir()) == [], "nothing may be half-written"


def test_version_is_the_package_version(capsys: pytest.CaptureFixture[str]) -> None:
    import edgefm

    assert call("--version") == 0
    assert edgefm.__version__ in capsys.readouterr().out


def test_public_names_can_be_imported() -> None:
    import edgefm

    started = time.perf_counter()
    for name in edgefm.__all__:
        assert getattr(edgefm, name) is not None
    assert time.perf_counter() - started < 60
