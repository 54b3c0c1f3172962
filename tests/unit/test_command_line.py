import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgefm.cli.main import COMMANDS, cli, run
from edgefm.core import artefacts
from edgefm.core.errors import RecipeError
from tests.fixtures.terminal import EDGEFM, in_a_terminal

ROOT = Path(__file__).parent.parent.parent
MODEL = ROOT / "android_demo_assets" / "int8" / "model.tflite"
# Each command and subcommand as its words.
ALL = [
    words
    for name in COMMANDS
    for words in [(name,), *((name, sub) for sub in getattr(cli.get_command(None, name), "commands", {}))]  # type: ignore[arg-type]
]


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
    assert list(exit_codes(text)) in (["0", "2", "70"], ["0", "1", "2", "70"])
    assert max(map(len, text.splitlines())) <= 88


@pytest.mark.parametrize("name", list(COMMANDS))
def test_exit_codes_of_help_are_those_of_the_page(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(name, "--help") == 0
    page = (ROOT / "docs" / "commands" / f"{name}.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| (\d+) \| (.+) \|$", page, re.MULTILINE))
    assert table == exit_codes(capsys.readouterr().out)


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
        (["quantize", "--variant", "int8"], "did you mean 'int8_w8a8'"),
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


def test_memory_that_is_used_up_is_no_fault_of_edgefm(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raises(MemoryError())) == 2
    assert "error: edgefm has used up the memory" in (said := capsys.readouterr().err) and "ulimit" in said


def test_file_that_may_not_grow_so_large_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import resource
    import signal

    former, heard = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, former[1]))
    try:
        code = run(lambda: artefacts.write_bytes(tmp_path / "table.csv", bytes(5000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, heard)
    said = capsys.readouterr().err
    assert code == 2 and "table.csv" in said and "ulimit -f" in said and not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [("--help",), ("zoo",), ("zoo", "--json"), ("inspect", str(MODEL))])
def test_reader_that_has_seen_enough_is_no_broken_limit(command: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([*EDGEFM, *command], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert done.returncode == 141 and not done.stderr


def test_word_that_is_no_text_is_refused_before_anything_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("benchmark", "bad\udcffname.tflite") == 2
    assert "error: bad\\udcffname.tflite is no UTF-8 text" in (said := capsys.readouterr().err) and "Rename" in said


def test_error_with_thousands_of_names_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raises(RecipeError("n" * 99_999, hint="Known: " + "n" * 99_999))) == 2
    said = capsys.readouterr().err
    assert len(said) < 5000 and "… (99,999 characters)" in said
    assert call("recipes", "validate", "a" * 90_000) == 2 and len(capsys.readouterr().err) < 5000


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that opens and cannot be read: of Linux")
def test_file_that_cannot_be_read_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert call("gate", str(tmp_path), "--budget", "/proc/self/mem") == 2
    assert "/proc/self/mem" in capsys.readouterr().err


def deeper(level: int) -> int:
    return deeper(level + 1) + 1


def raises(error: Exception) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("action", "says"),
    [
        pytest.param(raises(KeyError("x")), "this is a fault of edgefm itself: KeyError: 'x'", id="KeyError"),
        pytest.param(raises(ValueError()), "this is a fault of edgefm itself: ValueError", id="without words"),
        pytest.param(lambda: deeper(0), "RecursionError: maximum recursion depth exceeded", id="recursion"),
        pytest.param(raises(OSError("no picture")), "fault of edgefm itself: OSError: no picture", id="no errno"),
        pytest.param(raises(AssertionError("a\nb\x1b[31m" + "c" * 999)), "AssertionError: a b?[31mccc", id="escapes"),
        pytest.param(raises(UnicodeEncodeError("ascii", "ä", 0, 1, "no")), "UnicodeEncodeError: ", id="unicode"),
    ],
)
def test_fault_is_told_in_a_sentence_and_its_details_go_to_a_file_of_the_user(
    action: Callable[[], object],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert run(action) == 70
    message, place, *rest = capsys.readouterr().err.splitlines()
    assert message.startswith("error: ") and says in message and len(message) < 300 and not rest
    assert place.startswith("  Please report it to ") and "edgefm developers" in place
    (path,) = (tmp_path / "state").rglob("*.txt")
    assert str(path) in place and path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o077 == 0
    details = path.read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in details and "\nlibraries: edgefm " in details


def test_fault_whose_details_cannot_be_written_prints_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert run(raises(KeyError("x"))) == 70
    printed = capsys.readouterr().err
    assert "could not be written to a file (Not a directory)" in printed
    assert "Traceback (most recent call last)" in printed and printed.rstrip().endswith("KeyError: 'x'")


def test_details_of_the_newest_faults_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert run(raises(KeyError("x"))) == 70
    (first,) = tmp_path.rglob("*.txt")
    # Of a clock that was wrong.
    others = [first.with_name(f"fault-20{year:02d}0101-000000-1.txt") for year in range(60, 99)]
    for file in (*others, first.with_name("mine.txt")):
        file.touch()
    first.unlink()
    assert run(raises(KeyError("newest"))) == 70
    left = sorted(first.parent.iterdir())
    assert len(left) == 21 and left[-1].name == "mine.txt" and left[1:-1] == others[-19:]
    assert "KeyError: 'newest'" in left[0].read_text(encoding="utf-8")


def test_tests_and_what_they_start_leave_the_users_own_folders_alone() -> None:
    code = (
        "import platformdirs; from edgefm.core import trust\n"
        "print(trust.list_path()); print(platformdirs.user_log_dir('edgefm', appauthor=False))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert len(paths) == 2 and all(path.is_relative_to(tempfile.gettempdir()) for path in paths)


def test_fault_of_the_last_resort_itself_is_told_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edgefm.cli.last_resort.told", lambda error: deeper(0))
    assert run(raises(KeyError("x"))) == 70
    assert "KeyError, then RecursionError" in capsys.readouterr().err


def test_json_of_a_command_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    from edgefm.cli import render

    render.as_json({"scales": (0.5, float("nan")), "deep": [{"high": float("-inf")}], "whole": 3, "word": "NaN"})
    assert json.loads(capsys.readouterr().out, parse_constant=raises(AssertionError())) == {
        "scales": [0.5, None], "deep": [{"high": None}], "whole": 3, "word": "NaN"
    }  # fmt: skip
