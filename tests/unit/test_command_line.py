import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgefm.cli.main import COMMANDS, cli, run

ROOT = Path(__file__).parent.parent.parent
# Each command and subcommand as its words.
ALL = [
    words
    for name in COMMANDS
    for words in [(name,), *((name, sub) for sub in getattr(cli.get_command(None, name), "commands", {}))]  # type: ignore[arg-type]
]
EDGEFM = [sys.executable, "-c", "from edgefm.cli.main import main; main()"]


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


def exit_codes(text: str) -> dict[str, str]:
    """Return the exit codes with which a help ends, and what they mean."""
    _, _, block = text.rpartition("Exit codes:\n")
    return dict(line.split(maxsplit=1) for line in block.strip().splitlines())


@pytest.mark.parametrize("words", [(), *ALL], ids=" ".join)
def test_help_ends_with_exit_codes_and_holds_no_markup(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*words, "--help") == 0
    text = capsys.readouterr().out
    assert "\\b" not in text and "\b" not in text
    assert text.count("xit code") == 1, "they are said once, at the end"
    assert list(exit_codes(text)) in (["0", "2"], ["0", "1", "2"])
    assert max(map(len, text.splitlines())) <= 88


@pytest.mark.parametrize("name", list(COMMANDS))
def test_exit_codes_of_help_are_those_of_the_page(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(name, "--help") == 0
    page = (ROOT / "docs" / "commands" / f"{name}.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| (\d) \| (.+) \|$", page, re.MULTILINE))
    assert table == exit_codes(capsys.readouterr().out)


def in_a_terminal(*args: str, **variables: str) -> str:
    """Return what `edgefm` prints in a terminal."""
    here, there = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | variables
    subprocess.run([*EDGEFM, *args], stdout=there, stderr=there, stdin=there, env=environment, check=False)
    os.close(there)
    text = b""
    try:
        while part := os.read(here, 65536):
            text += part
    except OSError:  # Linux says so at the end
        pass
    os.close(here)
    return text.decode()


def test_colour_is_for_terminals_and_no_color_turns_it_off() -> None:
    assert "\x1b[" in in_a_terminal("trian")
    assert "\x1b[" not in in_a_terminal("trian", NO_COLOR="1")
    assert "\x1b[" in in_a_terminal("trian", NO_COLOR=""), "an empty variable says nothing"
    assert b"\x1b[" not in subprocess.run([*EDGEFM, "trian"], capture_output=True, check=False).stderr


def test_no_color_holds_inside_commands_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert cli.make_context("edgefm", ["zoo"]).color is None
    monkeypatch.setenv("NO_COLOR", "1")
    assert cli.make_context("edgefm", ["zoo"]).color is False


def completed(*words: str) -> list[str]:
    variables = {"_EDGEFM_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(EDGEFM, capture_output=True, text=True, env={**os.environ, **variables}, check=False)
    assert done.stderr == "", done.stderr
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_shell_completes_commands_options_and_values() -> None:
    assert completed("edgefm", "qua") == ["quantize"]
    assert completed("edgefm", "quantize", "--cal") == ["--calibration-images", "--calibration-data"]
    assert completed("edgefm", "profile", "--method", "pre") == ["prefixes"]
    assert completed("edgefm", "trian", "--e") == [], "an unknown command is no error while a line is typed"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed_for(shell: str) -> None:
    variables = {**os.environ, "_EDGEFM_COMPLETE": f"{shell}_source"}
    done = subprocess.run(EDGEFM, capture_output=True, text=True, env=variables, check=False)
    # click asks bash for its version, where there is one
    assert f"_EDGEFM_COMPLETE={shell}_complete" in done.stdout


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
