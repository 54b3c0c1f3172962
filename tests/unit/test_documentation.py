import re
import shlex
from pathlib import Path

import click
import pytest

from benchmarks import best_page, figures, models_page, over_time, recorded, reliability_page, zoo_page
from benchmarks.series import series
from edgefm.cli.main import COMMANDS, cli

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs" / "tutorials").glob("*.py")),
]


def _text(page: Path) -> str:
    """Return a page as Markdown; a tutorial is a script that the site shows as one."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^# ?", "", text, flags=re.MULTILINE) if page.suffix == ".py" else text


def test_readme_says_what_the_recorded_results_say() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert figures.with_block(page, figures.readme_block()) == page, "run: make figures"


def test_figures_page_says_what_the_recorded_results_say() -> None:
    assert (ROOT / "docs" / "figures.md").read_text(encoding="utf-8") == figures.figures_page(), "run: make figures"


def test_page_of_models_says_what_the_recorded_table_says() -> None:
    assert models_page.PAGE.read_text(encoding="utf-8") == models_page.page(), "run: make figures"


def test_page_of_the_best_models_says_what_is_recorded() -> None:
    assert best_page.PAGE.read_text(encoding="utf-8") == best_page.page(), "run: make figures"


def test_page_of_reliability_says_what_the_fault_programs_found() -> None:
    assert reliability_page.PAGE.read_text(encoding="utf-8") == reliability_page.page(), "run: make figures"


def test_page_of_the_documented_systems_says_what_the_record_says() -> None:
    assert zoo_page.PAGE.read_text(encoding="utf-8") == zoo_page.page(), "run: make figures"


def test_page_over_time_says_what_the_history_says() -> None:
    expected = over_time.page(series(recorded.history()))
    assert over_time.PAGE.read_text(encoding="utf-8") == expected, "run: make figures"


def test_benchmarks_that_pages_name_exist() -> None:
    for page in (ROOT / "docs" / "figures.md", ROOT / "benchmarks" / "README.md"):
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"pytest (benchmarks/\w+\.py)", text):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
        for module in re.findall(r"python -m (benchmarks\.\w+)", text):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists(), f"{page.name}: {module}"
        if page.parent.name == "benchmarks":
            for name in re.findall(r"`(\w+\.py)`", text):
                assert (page.parent / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_readme_names_each_command(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"`[^`]*\b{name}\b[^`]*`", readme)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_documented_commands_and_options_exist(page: Path) -> None:
    text = _text(page)
    for line in re.findall(r"edgefm ((?:[a-z]+)(?: [^`\n&|#;)]*)?)", text):
        words = line.split()
        if words[0] not in COMMANDS:
            continue
        command = cli.get_command(None, words[0])  # type: ignore[arg-type]
        assert command is not None
        commands = [command, *getattr(command, "commands", {}).values()]
        known = {option for entry in commands for parameter in entry.params for option in parameter.opts}
        for word in words[1:]:
            if word.startswith("--"):
                assert word in known, f"{page.name}: edgefm {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_command_lines_are_understood(page: Path) -> None:
    for line in _command_lines(_text(page)):
        words = shlex.split(line, comments=True)
        if words[1:] and words[1] in COMMANDS:
            command, arguments = cli.get_command(None, words[1]), words[2:]  # type: ignore[arg-type]
            assert command is not None
            while isinstance(command, click.Group):
                command, arguments = command.commands[arguments[0]], arguments[1:]
            command.make_context(line, arguments)  # parses and checks, runs nothing


def _command_lines(text: str) -> list[str]:
    """Return the lines of a page's shell blocks that begin with edgefm, without pipes and redirections."""
    blocks = re.findall(r"^```(?:bash)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [re.split(r" [|>] ", part)[0] for part in parts if part.startswith("edgefm ")]


def test_environment_variables_that_pages_name_are_read() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "edgefm").rglob("*.py"))
    for page in PAGES:
        for name in re.findall(r"\bEDGEFM_[A-Z0-9_]+[A-Z0-9]\b", page.read_text(encoding="utf-8")):
            of_a_runtime = name.startswith("EDGEFM_PYTHON")
            assert name in code or of_a_runtime, f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_linked_files_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", _text(page)):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_make_targets_that_pages_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        for target in re.findall(r"`?make ([a-z]+)", page.read_text(encoding="utf-8")):
            if f"`make {target}" in page.read_text(encoding="utf-8"):
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


def test_default_reading_of_the_enhanced_cnn_is_the_better_one_and_its_docstring_says_the_figures() -> None:
    from edgefm import zoo
    from edgefm.zoo import enhanced_cnn

    recorded = figures.result("batch_norm_order")
    means = recorded["mean_validation_accuracy"]
    assert zoo.architecture("enhanced_cnn").options["batch_norm"][0] == recorded["better"]
    best, other = sorted(means.values(), reverse=True)
    text = " ".join((enhanced_cnn.build.__doc__ or "").split())
    assert f"{100 * best:.2f} % against {100 * other:.2f} %" in text
