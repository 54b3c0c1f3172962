"""The documentation site builds without a warning, and says of commands, names and floors what the code has."""

import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edgefm
from edgefm.cli.main import COMMANDS, cli

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
MODULES = ("edgefm", "edgefm.data", "edgefm.recipes")

pytest.importorskip("furo", reason="the extra docs is not installed")
pytest.importorskip("myst_parser", reason="the extra docs is not installed")
pytest.importorskip("sphinx_click", reason="the extra docs is not installed")


def _build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    places = ["-c", str(DOCS), "-d", str(out / "doctrees"), str(source), str(out / "site")]
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-E", "-q", *places]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built site."""
    out = tmp_path_factory.mktemp("docs")
    result = _build(DOCS, out)
    assert result.returncode == 0, result.stderr[-5000:]
    return out / "site"


@pytest.fixture
def sphinx_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))


def test_site_has_every_page(site: Path) -> None:
    pages = [path for path in DOCS.rglob("*.md") if "examples" not in path.relative_to(DOCS).parts]
    pages += (DOCS / "tutorials").glob("*.py")
    for page in pages:
        assert (site / page.relative_to(DOCS).with_suffix(".html")).exists(), page


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ("[a page](missing.md)", "missing.md"),
        ("```{literalinclude} examples/missing.py\n```", "missing.py"),
        ("```{eval-rst}\n.. autofunction:: edgefm.no_such_name\n```", "no_such_name"),
        ("```{eval-rst}\n.. command:: tarin\n```", "tarin"),
    ],
    ids=["link", "example", "name", "command"],
)
def test_build_fails_where_a_page_is_broken(tmp_path: Path, broken: str, named: str) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    (source / "index.md").write_text(f"# A page\n\n{broken}\n", encoding="utf-8")
    result = _build(source, tmp_path / "out")
    assert result.returncode != 0
    assert named in result.stderr


@pytest.mark.parametrize("name", list(COMMANDS))
def test_command_has_a_page_with_its_options_and_exit_codes(site: Path, name: str) -> None:
    page = (DOCS / "commands" / f"{name}.md").read_text(encoding="utf-8")
    codes = re.findall(r"^\| (\d+) \| \S.+ \|$", page, re.MULTILINE)
    assert codes in (["0", "2", "70"], ["0", "1", "2", "70"]), f"docs/commands/{name}.md has no table of exit codes"
    command = cli.get_command(None, name)  # type: ignore[arg-type]  # the lazy group needs no context
    assert command is not None
    if re.search(r"^  1  ", command.epilog or "", re.MULTILINE):
        assert "1" in codes
    html = (site / "commands" / f"{name}.html").read_text(encoding="utf-8")
    for entry in (command, *getattr(command, "commands", {}).values()):
        for parameter in entry.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert option in html, f"{name}: {option}"


def test_commands_are_listed_on_their_index() -> None:
    index = (DOCS / "commands" / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\(([\w-]+)\.md\)", index)) >= set(COMMANDS)


@pytest.mark.usefixtures("sphinx_modules")
@pytest.mark.parametrize("module", MODULES)
def test_public_name_has_a_docstring_and_is_in_the_reference(site: Path, module: str) -> None:
    from directives import kind_of

    html = "".join(path.read_text(encoding="utf-8") for path in (site / "api").glob("*.html"))
    package = importlib.import_module(module)
    documented = set()
    for name in package.__all__:
        kind = kind_of(package, name)
        if kind is None:
            continue
        value = getattr(package, name)
        if kind != "constants":
            words = len((value.__doc__ or "").split())
            assert words >= 3, f"{module}.{name} has no docstring"  # a dataclass without one has its signature
            assert not (value.__doc__ or "").startswith(f"{name}("), f"{module}.{name} has no docstring"
        same = getattr(edgefm, name, None) is value if name in edgefm.__all__ else False
        assert f'id="{module}.{name}"' in html or (same and f'id="edgefm.{name}"' in html), f"{module}.{name}"
        documented.add(name)
    # All public names but modules and the version.
    modules = {name for name in package.__all__ if inspect.ismodule(getattr(package, name))}
    assert documented == set(package.__all__) - modules - {"__version__"}


def test_reference_shows_the_methods_of_a_run_with_their_arguments(site: Path) -> None:
    html = (site / "api" / "index.html").read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    for name in [name for name in dir(edgefm.Run) if not name.startswith("_")]:
        assert f'id="edgefm.Run.{name}"' in html, name
    place = text.index("Write the TFLite files of this run")
    for argument in inspect.signature(edgefm.Run.quantize).parameters:
        assert argument == "self" or argument in text[place : place + 4000], argument


def test_reference_shows_save_of_each_result_and_nothing_of_its_foreign_bases(site: Path) -> None:
    html = (site / "api" / "index.html").read_text(encoding="utf-8")
    for name in ("AgreementResult", "Diagnosis", "Inspection", "BenchmarkRecord", "QuantizationResult"):
        assert f'id="edgefm.{name}.save"' in html, name
    for name in ("BenchmarkRecord.keys", "Predictions.index", "EdgefmError.add_note", "Prune.from_json"):
        assert f'id="edgefm.{name}"' not in html, name


@pytest.mark.usefixtures("sphinx_modules")
def test_picture_of_the_floors_shows_every_room_and_its_sentence(site: Path) -> None:
    import architecture

    house = architecture.read()
    html = (site / "architecture.html").read_text(encoding="utf-8")
    for floor in house.floors:
        for room in floor:
            assert html.count(f">{room.short}</text>") == 2, room.name  # for a page, and for a phone
            assert len(room.sentence.split()) >= 4, f"{room.name}: its docstring says nothing of it"
            assert room.modules > 0 and room.lines > 0
    assert house.crossing(0) == sum(house.floors[0][0].uses.values())


@pytest.mark.usefixtures("sphinx_modules")
def test_picture_is_refused_where_an_import_goes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import architecture

    names = [name for floor in architecture.layers(architecture.tomllib.loads(_project())) for name in floor]
    upward = {name: architecture.Counter() for name in names}
    upward[names[-1]][names[0]] = 1
    monkeypatch.setattr(architecture, "_uses", lambda names: upward)
    with pytest.raises(ValueError, match=re.escape(names[0])):
        architecture.read()


@pytest.mark.usefixtures("sphinx_modules")
def test_doctests_of_the_site_hold() -> None:
    import architecture

    found = doctest.testmod(architecture)
    assert found.attempted > 0 and found.failed == 0


def test_names_in_python_examples_are_public() -> None:
    for page in (*DOCS.rglob("*.md"), *(DOCS / "tutorials").glob("*.py"), ROOT / "README.md"):
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for block in [text] if page.suffix == ".py" else blocks:
            for name, inner in re.findall(r"\bedgefm\.(\w+)(?:\.(\w+))?", block):
                public = getattr(edgefm, name)  # AttributeError: the page names what is not there
                assert name in edgefm.__all__ or name in ("data", "recipes"), f"{page.name}: edgefm.{name}"
                if inner and name in ("data", "recipes"):
                    assert hasattr(public, inner), f"{page.name}: edgefm.{name}.{inner}"


def _project() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")
