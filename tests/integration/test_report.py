"""Reports of whole runs: files, escaping, missing parts, failed models, and the page in a browser."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from edgefm.benchmarking import record as records
from edgefm.cli.main import cli
from edgefm.cli.main import run as run_cli
from edgefm.comparison.shipping.of_record import verdict_of
from edgefm.core.errors import RunError
from edgefm.core.runs import RunDirectory
from edgefm.data.source import DataSource
from edgefm.recipes.files import load
from edgefm.report import compose, write
from edgefm.report.content import inputs
from edgefm.report.content.record_facts import facts
from edgefm.report.drawing.curves import draw_curves
from edgefm.report.drawing.galleries import Answer
from edgefm.report.pages import page
from edgefm.statistics.estimates import confusion
from edgefm.statistics.round_comparison import time_ratio
from tests.fixtures import sample_run

SCHEMA = Path(__file__).parents[2] / "edgefm" / "schemas" / "benchmark-record-1.schema.json"
OF_BENCHMARK = {"tradeoff", "latency", "sizes", "confusion", "flipped", "misclassified"}
PICTURES = OF_BENCHMARK | {"steps", "layers", "weights", "curves", "tuning"}
NASTY = '<script>alert("x")</script>|a`b*c'
LIMIT_BYTES = 3_000_000
SMALL = sample_run.VARIANTS[2:4]


class _Page(HTMLParser):
    """Collects what a page refers to and checks that its tags are balanced."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.scripts = 0
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._take(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._take(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}> at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data

    def _take(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        for name, value in attrs:
            assert not name.startswith("on"), f"{name} would run a script"
            if name in {"src", "href", "xlink:href", "action", "data", "srcset"}:
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    record = sample_run.record(images=2000, rounds=4, variants=sample_run.ALL)
    record["models"].append(sample_run.failed("int8_broken", "the worker gave no answer for 60 s"))
    made = sample_run.write(tmp_path_factory.mktemp("runs") / "a", record=record, variants=sample_run.ALL)
    write(made)
    return made


@pytest.fixture(scope="module")
def folder(run: RunDirectory) -> Path:
    return run.path / "report"


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    return sample_run.record(images=400, rounds=2, variants=SMALL)


def test_sample_record_follows_the_schema() -> None:
    record = sample_run.record(images=400, rounds=1, variants=sample_run.VARIANTS[:2])
    record["models"].append(sample_run.failed("x", "y"))
    for model in record["models"]:
        for turn in model["rounds"]:
            turn["invoke_ns"] = turn["invoke_ns"][:5]
            turn["end_to_end_ns"] = turn["end_to_end_ns"][:5]
    jsonschema.validate(record, json.loads(SCHEMA.read_text()))


def test_report_writes_every_file(folder: Path) -> None:
    expected = {"index.html", "report.md", "table.csv", "steps.csv", "report.json"}
    expected |= {f"{name}.png" for name in PICTURES}
    assert {path.name for path in folder.iterdir()} == expected
    for name in PICTURES:
        with Image.open(folder / f"{name}.png") as image:
            image.load()
            assert image.width >= 1400, "two pixels a CSS pixel"
            assert len(np.unique(np.asarray(image.convert("L")))) > 20, f"{name}.png is blank"


def test_page_is_well_formed_self_contained_and_small(folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    found = _Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert len(text.encode()) < LIMIT_BYTES
    assert found.scripts == 0
    assert len(found.ids) == len(set(found.ids)), "two elements share an id"
    for address in found.addresses:
        if address.startswith("../"):
            assert re.fullmatch(r"\.\./\d\d-quantize/\w+/model\.tflite", address), address
            continue
        assert address.startswith(("#", "data:image/png;base64,")), address
        assert not address.startswith("#") or address[1:] in found.ids, address
    assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"base64,[\w+/=]+", "", text)), "an address outside"
    assert "@import" not in text
    for target in re.findall(r"url\(([^)]*)\)", text):
        assert target[1:] in found.ids, target


def test_first_screen_answers_what_to_ship(folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    (box,) = re.findall(r'<div class="answer">(.*?)\n</div>', text, flags=re.DOTALL)
    summary = json.loads((folder / "report.json").read_text())
    shipped = [choice["file"] or "none" for choice in summary["verdict"]["choices"]]
    assert [name.replace("<wbr>", "") for name in re.findall(r"<dd[^>]*>([\w<>]+?)</dd>", box)] == shipped
    assert len(summary["answer"]["figures"]) == box.count("<small>") == 3
    assert "n = 2,000" in summary["answer"]["figures"][-1]["against"]
    assert f'href="../{summary["answer"]["path"]}"' in box and "edgefm export android runs/" in box
    assert text.index(box) < text.index("<nav"), "before anything else"


def test_page_folds_all_but_2000_words_and_five_columns(folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    shown = re.sub(r"<(style|svg)\b.*?</\1>", " ", text, flags=re.DOTALL)
    shown = re.sub(r"<details(?! open)[^>]*>(<summary>.*?</summary>).*?</details>", r"\1 ", shown, flags=re.DOTALL)
    shown = re.sub(r'<t([hd])[^>]* class="more".*?</t\1>', " ", shown, flags=re.DOTALL)
    assert len(re.sub("<[^>]+>", " ", shown).split()) <= 2000
    (table,) = re.findall(r'id="all-columns".*?</table>', text, flags=re.DOTALL)
    heads = re.findall(r"<th scope=\"col\"([^>]*)>", table)
    assert len([one for one in heads if "more" not in one]) == 1 + 5
    rows = re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)[1:]
    assert rows and all(len(re.findall(r'<td class="(?:best )?" ', one)) == 5 for one in rows)


def test_pictures_on_the_page_take_the_colours_of_the_theme(folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    pictures = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(pictures) == 2 * len(PICTURES - {"flipped", "misclassified"})
    for picture in pictures:
        assert not re.search(r"#[0-9a-fA-F]{6}\b", picture)
        assert "var(--ink)" in picture
        assert 'aria-label="' in picture


def test_page_says_what_was_found_and_how(folder: Path) -> None:
    text = " ".join(_Page((folder / "index.html").read_text(encoding="utf-8")).text.split())
    summary = json.loads((folder / "report.json").read_text())
    assert summary["finding"].split(" (")[0] in text
    for words in (
        "AMD EPYC 9B14", "q = pixel", "max abs difference", "the worker gave no answer for 60 s", "n = 2,000",
        "edgefm quantize runs/again", "What each step costs and gains", "LiteRT has no fast sparse int8 kernel",
        "checks passed.", "Where the bytes are", "Pareto-optimal",
        "not known: the virtual machine shows no frequency control",
    ):  # fmt: skip
        assert words in text, words
    for caption in re.findall(r"<figcaption>(.*?)</figcaption>", (folder / "index.html").read_text(), re.DOTALL):
        assert 'class="mode"' in caption
        assert re.search(r"n = [\d,]+|each of \d+ epochs", caption), caption


def test_csv_holds_the_numbers_of_the_record(run: RunDirectory, folder: Path) -> None:
    record = json.loads((run.folder(run.require("benchmark")) / "record.json").read_text())
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert list(rows) == [model["name"] for model in record["models"]]
    for model in record["models"]:
        row = rows[model["name"]]
        assert row["status"] == model["status"]
        if model["status"] == "failed":
            assert row["reason"] == model["reason"]
            continue
        assert float(row["latency_p50_ns"]) == model["latency_ns"]["p50"]["value"]
        assert float(row["accuracy_low"]) == model["accuracy"]["low"]
        assert int(row["size_gzip_bytes"]) == model["size_gzip_bytes"]
        against = model["against_reference"]
        assert row["mcnemar_p"] == ("" if against is None else str(against["mcnemar_p"]))


def test_markdown_table_reads_back(folder: Path) -> None:
    text = (folder / "report.md").read_text(encoding="utf-8")
    models, steps, gates = (block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE))
    for lines in (models, steps, gates):
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) == 1
    names = [variant.name for variant in sample_run.ALL]
    assert [line.split("|")[1].strip() for line in models[2:]] == names
    assert sorted(line.split("|")[1].strip() for line in steps[2:]) == sorted(names)
    links = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text)
    assert {link.removesuffix(".png") for link in links} == PICTURES
    assert all((folder / link).is_file() for link in links)


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    variants = sample_run.renamed(SMALL, 1, NASTY)
    variants = sample_run.renamed(variants, 0, "=cmd|' /C calc'!A0")
    record = sample_run.record(images=400, rounds=2, variants=variants)
    record["dataset"]["labels"][6] = f"{NASTY} shirt"
    for model in record["models"]:
        model["classes"][6]["label"] = f"{NASTY} shirt"
    record["models"][1]["against_reference"]["accuracy_difference"]["low"] = -0.01
    record["models"].append(sample_run.failed("@bad", f"+1 {NASTY}\n| cell |"))
    made = sample_run.write(tmp_path / "run", record=record, quantize=False, variants=variants)
    out = write(made).parent

    found = _Page((out / "index.html").read_text(encoding="utf-8"))
    assert found.scripts == 0
    assert found.text.count(NASTY) > 5
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "<script" not in text
    widths = {len(re.split(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1
    with (out / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["'=cmd|' /C calc'!A0", NASTY, "'@bad"]
    assert rows[2]["reason"].startswith("'+1")
    assert float(rows[1]["accuracy_difference_low"]) == -0.01, "negative numbers stay numbers"


@pytest.mark.parametrize(
    ("train", "quantize", "measured", "commands"),
    [
        pytest.param(True, False, False, {"edgefm quantize", "edgefm benchmark"}, id="train-only"),
        pytest.param(False, False, True, {"edgefm train", "edgefm quantize"}, id="benchmark-only"),
        pytest.param(False, True, False, {"edgefm train", "edgefm benchmark"}, id="quantize-only"),
    ],
)
def test_missing_steps_are_named_with_their_command(
    tmp_path: Path, small: dict[str, Any], train: bool, quantize: bool, measured: bool, commands: set[str]
) -> None:
    made = sample_run.write(
        tmp_path / "run", record=small if measured else None, train=train, quantize=quantize, variants=SMALL
    )
    out = write(made).parent
    found = _Page((out / "index.html").read_text(encoding="utf-8"))
    notes = found.text[: found.text.index("Contents") if "Contents" in found.text else None]
    missing = {" ".join(one["command"].split()[:2]) for one in json.loads((out / "report.json").read_text())["missing"]}
    assert missing == commands
    assert all(command in notes for command in commands)
    assert (out / "curves.png").exists() == train
    assert (out / "table.csv").exists() == measured
    assert (out / "tradeoff.png").exists() == measured


def test_report_of_a_run_without_steps_says_so(tmp_path: Path) -> None:
    made = RunDirectory.create_at(tmp_path / "run")
    with pytest.raises(RunError, match="no finished step"):
        write(made)
    assert not (made.path / "report").exists()


def test_report_when_every_model_failed(tmp_path: Path, small: dict[str, Any]) -> None:
    record = {**small, "models": [sample_run.failed("a", "it crashed"), sample_run.failed("b", "it hung")]}
    out = write(sample_run.write(tmp_path / "run", record=record, train=False, quantize=False)).parent
    text = _Page((out / "index.html").read_text(encoding="utf-8")).text
    assert "none of the 2 files could be measured." in text
    assert "it crashed" in text
    assert "it hung" in text
    with (out / "table.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["failed", "failed"]


def test_report_without_labelled_data_leaves_accuracy_out(tmp_path: Path, small: dict[str, Any]) -> None:
    reason = {"value": None, "reason": "no labelled data were given"}
    models = [{**model, "accuracy": reason, "classes": [], "confusion": []} for model in small["models"]]
    none = {"only_reference_right": None, "only_this_right": None, "mcnemar_p": None, "flipped": []}
    against = {**models[1]["against_reference"], **none, "accuracy_difference": reason}
    models[1]["against_reference"] = against
    made = sample_run.write(tmp_path / "run", record={**small, "dataset": None, "models": models}, train=False)
    out = write(made).parent
    names = {path.stem for path in out.glob("*.png")}
    assert names == {"latency", "sizes", "steps", "layers", "weights"}
    text = _Page((out / "index.html").read_text(encoding="utf-8")).text
    assert "no labelled data were given" in text
    assert "the quality of the answers was not measured" in text
    with (out / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["mcnemar_p"] == rows[1]["flipped_images"] == rows[1]["accuracy"] == ""
    read = records.read(made.folder(made.require("benchmark")) / "record.json")["models"]
    ratio = time_ratio(read[1], read[0])
    assert ratio is not None and float(rows[1]["latency_ratio"]) == ratio.value


def test_galleries_are_left_out_with_the_reason_when_the_images_are_others(
    tmp_path: Path, small: dict[str, Any]
) -> None:
    record = {**small, "dataset": {**small["dataset"], "sha256": "0" * 64}}
    held = inputs.read(sample_run.write(tmp_path / "run", record=record, variants=SMALL))
    assert held.images is None
    assert [one.why for one in held.missing] == ["the Fashion-MNIST found here is not the one that was measured on"]
    assert held.record is not None
    assert compose.galleries(held, facts(held.record, verdict_of(held.record))) == ([], None)


def test_report_replaces_an_earlier_one_and_removes_what_no_longer_applies(
    tmp_path: Path, small: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    write(sample_run.write(tmp_path / "one", record=None), out=out)
    assert (out / "curves.png").exists()
    (out / "mine.txt").write_text("kept")
    write(sample_run.write(tmp_path / "two", record=small, train=False, variants=SMALL), out=out)
    assert not (out / "curves.png").exists()
    assert (out / "tradeoff.png").exists()
    assert (out / "mine.txt").read_text() == "kept"
    assert not list(out.glob(".*.partial"))


def test_galleries_show_the_images_they_name(run: RunDirectory) -> None:
    held = inputs.read(run)
    assert held.truth is not None and held.images is not None and held.record is not None
    found = facts(held.record, verdict_of(held.record))
    flips, mistakes = compose.galleries(held, found)
    assert mistakes is not None and found.chosen is not None
    confidences = [tile.answers[-1].confidence for tile in mistakes.tiles]
    assert confidences == sorted(confidences, reverse=True)
    assert flips[0].model == found.chosen.name
    for gallery in flips:
        reference, this = held.predictions["float32"], held.predictions[gallery.model]
        for tile in gallery.tiles:
            assert np.array_equal(tile.pixels, held.images[tile.index])
            assert tile.truth == found.labels[held.truth[tile.index]]
            before, after = reference.predicted[tile.index], this.predicted[tile.index]
            assert before != after
            right = (before == held.truth[tile.index], after == held.truth[tile.index])
            assert tile.kind == {(True, False): "lost", (False, True): "won", (False, False): "both wrong"}[right]


def test_raw_scores_are_not_shown_as_percentages() -> None:
    none = np.zeros(3, dtype=np.int64)
    shares = inputs.ModelAnswers(predicted=none, confidence=np.array([0.2, 1.0, 0.999], dtype=np.float32))
    scores = inputs.ModelAnswers(predicted=none, confidence=np.array([0.2, 3.25, 12.0], dtype=np.float32))
    assert shares.probabilities
    assert not scores.probabilities
    sure = Answer(model="a", label="Bag", confidence=0.999, probability=True, right=True)
    score = Answer(model="a", label="Bag", confidence=3.25, probability=False, right=False)
    assert (sure.text, score.text) == ("✓ Bag >99\N{NO-BREAK SPACE}%", "✗ Bag 3.25")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        pytest.param("record.json", "{", "is damaged", id="cut"),
        pytest.param(
            "record.json", '{"kind": "benchmark-record", "schema_version": 9}', "schema version 9", id="newer"
        ),
        pytest.param("record.json", '{"kind": "benchmark-record"}', "is damaged", id="empty"),
        pytest.param("record.json", "[]", "is not a benchmark record", id="other"),
        pytest.param("predictions.npz", "no archive", "is damaged", id="predictions"),
    ],
)
def test_damaged_step_is_a_clear_error_and_leaves_no_report(
    tmp_path: Path, small: dict[str, Any], file: str, content: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = sample_run.write(tmp_path / "run", record=small, train=False, variants=SMALL)
    (made.folder(made.require("benchmark")) / file).write_text(content)
    assert run_cli(lambda: cli.main(["report", str(made.path)], standalone_mode=False)) == 2
    assert says in capsys.readouterr().err
    assert not (made.path / "report").exists()


def test_report_that_is_a_link_to_a_finished_step_is_refused(tmp_path: Path, small: dict[str, Any]) -> None:
    made = sample_run.write(tmp_path / "run", record=small, train=False, variants=SMALL)
    step = made.folder(made.require("benchmark"))
    before = sorted(path.name for path in step.iterdir())
    (made.path / "report").symlink_to(step.name)
    with pytest.raises(RunError, match="report is a link; a report there would replace"):
        write(made)
    assert sorted(path.name for path in step.iterdir()) == before


def test_characters_that_cannot_be_seen_are_written_out_on_the_page(tmp_path: Path, small: dict[str, Any]) -> None:
    environment = {**small["environment"], "cpu": "fast\x1b[2J\u202e", "os": "a\x9bb"}
    made = sample_run.write(tmp_path / "run", record={**small, "environment": environment}, train=False, variants=SMALL)
    text = write(made).read_text()
    assert r"fast\x1b[2J\u202e" in text and r"a\x9bb" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


def test_command_takes_the_latest_run_and_prints_where_the_report_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sample_run.write(tmp_path / "runs" / "latest", record=None, quantize=False)
    assert run_cli(lambda: cli.main(["report", "--out", "here"], standalone_mode=False)) == 0
    assert capsys.readouterr().out.strip() == f"The report is at {Path('here/index.html')}"
    assert (tmp_path / "here" / "index.html").is_file()


def test_command_prints_json(tmp_path: Path, small: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    record = {**small, "models": [small["models"][0], sample_run.failed("broken", "it hung")]}
    made = sample_run.write(tmp_path / "run", record=record, train=False, quantize=False, variants=SMALL)
    assert run_cli(lambda: cli.main(["report", str(made.path), "--json"], standalone_mode=False)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["kind"] == "edgefm-report"
    assert [model["name"] for model in printed["models"]] == ["drq_w8"]
    assert printed["models"][0]["accuracy"] == small["models"][0]["accuracy"]
    assert printed["failed"][0]["reason"] == "it hung"


def test_command_without_a_run_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "nowhere"
    assert run_cli(lambda: cli.main(["report", str(missing)], standalone_mode=False)) == 2
    assert f"no run at {missing}" in capsys.readouterr().err


def test_importing_the_report_loads_no_drawing_library() -> None:
    code = "import sys, edgefm.report, edgefm.cli.report; "
    code += "print({'matplotlib', 'jinja2', 'PIL', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_report_without_the_drawing_library_names_the_extra(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgefm.core.errors import RuntimeUnavailableError

    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(RuntimeUnavailableError, match=r"edgefm\[report\]"):
        write(run)


@pytest.mark.parametrize("epochs", [1, 3, 100])
def test_curves_are_drawn_for_any_number_of_epochs(tmp_path: Path, epochs: int) -> None:
    path = draw_curves(sample_run.history(epochs), tmp_path / "curves.png")
    with Image.open(path) as image:
        assert image.width >= 1400
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
    assert [one.name for one in tmp_path.iterdir()] == ["curves.png"]


def test_style_sheet_defines_every_colour_it_uses() -> None:
    text = page.css()
    assert set(re.findall(r"var\((--\w+)\)", text)) <= set(re.findall(r"(--\w+):", text))
    light, dark = (set(re.findall(r"(--\w+):#", block)) for block in re.findall(r":root \{([^}]*)\}", text)[:2])
    assert light == dark


def _own_run(path: Path, *, colours: int, task: str = "classification") -> RunDirectory:
    """Return a run of a model that was brought with data of its own; figures are those of the sample run."""
    generator = np.random.default_rng(1)
    count, classes = 600, 3
    labels = generator.integers(0, classes, count)
    images = generator.integers(0, 256, (count, 6, 8, colours), dtype=np.uint8)
    np.savez(path / "cats.npz", images=images, labels=labels)
    run = RunDirectory.create_at(path / "run")
    source = DataSource(where=str(path / "cats.npz"), labels=("ant", "bee", "cat"))
    folder = run.begin("import")
    about = {"model": "mine.keras", "data": source.to_json(), "labels": None}
    (folder / "source.json").write_text(json.dumps(about))
    recipe = {"kind": "import", "version": 1, "params": about}
    summary = {"input_shape": [6, 8, colours]}
    run.finish(folder, key="import", seconds=1.0, recipe=recipe, inputs={}, summary=summary)
    dataset = source.load((6, 8, colours))
    truth = dataset.test.labels
    record = sample_run.record(images=len(truth), rounds=2, variants=SMALL)
    record["dataset"] = {
        "name": "cats.npz", "split": "test", "images": len(truth), "sha256": dataset.sha256,
        "labels": list(dataset.labels),
    }  # fmt: skip
    answers = {"truth": truth}
    for place, model in enumerate(record["models"]):
        guesses = np.where(generator.random(len(truth)) < 0.8 - 0.1 * place, truth, (truth + 1) % classes)
        answers[f"{model['name']}/predicted"] = guesses
        answers[f"{model['name']}/confidence"] = generator.random(len(truth)).astype(np.float32)
        model |= {"classes": [], "confusion": confusion(truth, guesses, classes=classes).tolist()}
    sample_run.add_quantize(run, SMALL)
    folder = run.begin("benchmark")
    (folder / "record.json").write_text(json.dumps(record))
    np.savez(folder / "predictions.npz", **answers)  # type: ignore[arg-type]  # numpy's stub takes them for a flag
    run.finish(folder, key="b", seconds=1.0, recipe=record["protocol"], inputs={}, summary={})
    return run


def test_report_of_a_brought_model_shows_its_own_colour_pictures(tmp_path: Path) -> None:
    made = _own_run(tmp_path, colours=3)
    held = inputs.read(made)
    assert held.missing == ()
    assert held.images is not None and held.images.shape[1:] == (6, 8, 3)
    out = write(made).parent
    names = {path.stem for path in out.glob("*.png")}
    assert {"flipped", "misclassified", "tradeoff"} <= names
    assert "curves" not in names
    found = _Page((out / "index.html").read_text(encoding="utf-8"))
    assert "ant" in found.text
    pictures = [Image.open(io.BytesIO(base64.b64decode(one.split(",")[1]))) for one in found.addresses if "," in one]
    assert pictures
    assert all(picture.mode == "RGB" and picture.size == (8, 6) for picture in pictures)
    commands = json.loads((out / "report.json").read_text())["commands"]
    assert commands[0].startswith("edgefm quantize mine.keras --data cats.npz")


def test_samples_that_are_no_pictures_leave_the_galleries_out(tmp_path: Path) -> None:
    held = inputs.read(_own_run(tmp_path, colours=2))
    assert held.images is None
    assert [one.why for one in held.missing] == ["samples of shape [6, 8, 2] and dtype uint8 are no pictures"]


def test_data_that_are_gone_leave_the_galleries_out_and_no_folder_in_the_reason(tmp_path: Path) -> None:
    made = _own_run(tmp_path, colours=3)
    (tmp_path / "cats.npz").unlink()
    (missing,) = inputs.read(made).missing
    assert missing.why == "the data that were measured on are not found where the report is written"
    assert missing.command is None


def test_benchmark_of_older_files_is_said(tmp_path: Path, small: dict[str, Any]) -> None:
    others = {**small, "models": [{**model, "sha256": "a" * 64} for model in small["models"]]}
    made = sample_run.write(tmp_path / "run", record=others, train=False, variants=SMALL)
    missing = {one.what: one for one in inputs.read(made).missing}
    assert missing["figures of the newest files"].command == f"edgefm benchmark {made.path}"


def test_files_that_are_gone_leave_the_weights_out(tmp_path: Path) -> None:
    made = sample_run.write(tmp_path / "run", record=None, train=False)
    (made.folder(made.require("quantize")) / "drq_w8" / "model.tflite").unlink()
    held = inputs.read(made)
    assert "drq_w8" not in held.weights and "float16" in held.weights
    assert "the weights of drq_w8" in [one.what for one in held.missing]


def test_skipped_variants_and_broken_gates_are_on_the_page(tmp_path: Path) -> None:
    made = sample_run.write(tmp_path / "run", record=None, train=False, variants=sample_run.ALL[5:7])
    path = made.folder(made.require("quantize")) / "quantize.json"
    value = json.loads(path.read_text())
    value["skipped"] = [{"variant": "slim50_qat_int8", "reason": "no data were given"}]
    value["variants"][1]["validation"] |= {"loss": 2.5, "held": False}
    path.write_text(json.dumps(value))
    out = write(made).parent
    text = " ".join(_Page((out / "index.html").read_text(encoding="utf-8")).text.split())
    assert "failed: loss of accuracy on validation of pruned80_qat_int8." in text
    assert "slim50_qat_int8no data were given" in text
    summary = json.loads((out / "report.json").read_text())
    assert summary["skipped"] == value["skipped"]
    assert [gate["verdict"] for gate in summary["gates"]].count("broken") == 1
    step = next(step for step in summary["steps_from_float32"] if step["model"] == "pruned80_qat_int8")
    assert (step["grew_from"], step["change"]["size_bytes"]) == ("qat_int8", 0)
    assert "no difference" in step["sentences"][-1] or "without an interval" in step["sentences"][-1]


def test_steps_as_csv_hold_the_changes(folder: Path) -> None:
    with (folder / "steps.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert set(rows) == {variant.name for variant in sample_run.ALL}
    row = rows["pruned80_qat_int8"]
    assert row["grew_from"] == "qat_int8"
    assert row["added"].startswith("80 % of the weights made zero")
    assert int(row["gzip_bytes_change"]) == 149_822 - 401_900
    assert float(row["latency_ratio_low"]) <= float(row["latency_ratio"]) <= float(row["latency_ratio_high"])


def test_recipe_that_no_name_says_is_written_beside_the_page(tmp_path: Path) -> None:
    made = sample_run.write(tmp_path / "run", record=None, train=False, variants=SMALL)
    out = write(made).parent
    assert load(str(out / "recipe.json")) == sample_run.recipe(SMALL)
    assert "edgefm quantize runs/again --recipe recipe.json" in (out / "report.md").read_text()


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 390])
def test_page_does_not_scroll_sideways_on_a_phone(folder: Path, tmp_path: Path, width: int) -> None:
    browser = shutil.which("chromium")
    assert browser, "install Debian's chromium, or deselect with -m 'not browser'"
    source = html.escape((folder / "index.html").read_text(encoding="utf-8"), quote=True)
    # A frame of the phone's width: headless Chromium makes no window narrower than 500 pixels.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<!DOCTYPE html><iframe style="width:{width}px;height:800px;border:0" srcdoc="{source}"></iframe>'
        "<script>const frame = document.querySelector('iframe');"
        "frame.onload = () => { const d = frame.contentDocument;"
        "const wide = [...d.querySelectorAll('main *, header *')].filter(e => !e.closest('.scroll, pre, svg')"
        f"&& e.getBoundingClientRect().right > {width} + 0.5).map(e => e.tagName + '.' + e.className);"
        "document.title = JSON.stringify([frame.contentWindow.innerWidth, d.documentElement.scrollWidth, wide]); };"
        "</script>",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=4000",
            "--dump-dom", frame.as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title, done.stdout[-300:]
    inner, scroll, wide = json.loads(html.unescape(title[1]))
    assert inner == width
    assert scroll <= width, f"the page is {scroll} pixels wide"
    assert wide == []
