"""Damaged documents: recipes, records, contracts, budgets, specs, and what a run says of itself."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.bench import Bench, Outcome, Part
from tests.faults.damage import bytes_damaged, document_damaged
from tests.faults.small_run import write_picture

_BUDGET = """baseline = "float32"
strict = false
[models."int8_*"]
accuracy = 0.92
accuracy_drop = 0.01
quality = 0.5
size_bytes = 500000
size_gzip_bytes = 500000
p50_ratio = 0.5
p50_us = 1000
arena_bytes = 100000
peak_memory_bytes = 1000000
instructions = 10000000
"""
_TOML_VALUES = (
    "nan", "inf", "-inf", "-1", "0", "0.5", "1.5", "1e308", "9" * 400, "9" * 5000, "true", '""', "[]", "{}", "[1,2]",
    "1979-05-27", "0x7fffffff", "'''x'''", "[" * 2000 + "]" * 2000, "{a=" * 2000 + "1" + "}" * 2000,
    "[" * 100_000 + "]" * 100_000, '"\\ud800"', '"[*"',
)  # fmt: skip
_TOML_TABLES = (
    '[models."["]', "[models]", "[[models]]", '[models."' + "a" * 50_000 + '"]', "[models." + "a." * 3000 + "b]",
    '[models."*[!"]', '[models.""]', "[other]", '[models."\\u0000"]',
)  # fmt: skip
_SPEC = {
    "image": {"feature": "i", "encoding": "raw", "shape": [8, 8, 1], "dtype": "uint8"},
    "label": {"feature": "l"},
    "splits": {"train": "*.tfrecord"},
}


def warm() -> None:
    """Import what the commands import, before the first fork."""
    for name in ("benchmark", "compare", "gate", "leaderboard", "predict", "recipes", "report"):
        importlib.import_module(f"edgefm.cli.{name}")
    for name in (
        "comparison.compare",
        "comparison.gate",
        "jobs.predict",
        "jobs.export.models",
        "report.build",
        "report.leaderboard",
        "runtimes.litert",
    ):
        importlib.import_module(f"edgefm.{name}")
    importlib.import_module("ai_edge_litert.interpreter")


def small_record(run: Path) -> dict[str, Any]:
    """Return the run's record with two models and few samples, so that a try takes little."""
    value: dict[str, Any] = json.loads((run / "02-benchmark/record.json").read_text())
    value["models"] = value["models"][:2]
    for model in value["models"]:
        for turn in model["rounds"]:
            turn["invoke_ns"], turn["end_to_end_ns"] = turn["invoke_ns"][:20], turn["end_to_end_ns"][:20]
    return value


def recipes(bench: Bench) -> Iterator[Outcome]:
    """Recipes, through `recipes validate`."""
    from edgefm.recipes.files import load, shipped

    path, bases = bench.folder / "recipe.json", [load(name).to_json() for name in shipped()]
    for base in bases:
        path.write_text(json.dumps(base))
        bench.control(bench.command("recipes", "validate", path))
    while True:
        data, how = document_damaged(bench.random.choice(bases), bench.random)
        path.write_bytes(data)
        yield bench.command("recipes", "validate", path, file=path, how=how)


def records(bench: Bench) -> Iterator[Outcome]:
    """Benchmark records, through `compare`, `gate` and `leaderboard`."""
    base, good, path = small_record(bench.run), bench.folder / "good.json", bench.folder / "record.json"
    good.write_text(json.dumps(base))
    budget = bench.folder / "budget.toml"
    budget.write_text('baseline = "float32"\n[models."*"]\naccuracy = 0.5\np50_ratio = 2.0\nsize_bytes = 9000000\n')
    commands = (("compare", good, path), ("gate", path, "--budget", budget), ("leaderboard", path, "--out", "board"))
    shutil.copyfile(good, path)
    for argv in commands:
        bench.control(bench.command(*_in(bench, argv), verdicts=True))
    while True:
        data, how = document_damaged(base, bench.random)
        path.write_bytes(data)
        argv = bench.random.choice((*commands[:2], *commands))
        yield bench.command(*_in(bench, argv), file=path, how=how, verdicts=True)


def _in(bench: Bench, argv: tuple[Any, ...]) -> list[Any]:
    """Return a command line whose last word, where it is a plain name, is a folder of the bench."""
    last = argv[-1]
    return [*argv[:-1], bench.folder / last if isinstance(last, str) else last]


def contracts(bench: Bench) -> Iterator[Outcome]:
    """Contracts beside a good model, through `predict`."""
    for name in ("model.tflite", "contract.json"):
        shutil.copyfile(bench.models / "int8_w8a8" / name, bench.folder / name)
    path, base = bench.folder / "contract.json", json.loads((bench.folder / "contract.json").read_text())
    argv = ("predict", write_picture(bench.folder / "p.png"), "--model", bench.folder / "model.tflite")
    bench.control(bench.command(*argv))
    while True:
        data, how = document_damaged(base, bench.random)
        path.write_bytes(data)
        yield bench.command(*argv, file=path, how=how)


def budgets(bench: Bench) -> Iterator[Outcome]:
    """Budgets in TOML, through `gate`."""
    record, path, r = bench.folder / "record.json", bench.folder / "budget.toml", bench.random
    record.write_text(json.dumps(small_record(bench.run)))
    path.write_text(_BUDGET)
    argv = ("gate", record, "--budget", path)
    bench.control(bench.command(*argv, verdicts=True))
    while True:
        data, how = bytes_damaged(_BUDGET.encode(), r)
        if r.random() < 0.7:
            lines = _BUDGET.splitlines()
            place = r.randrange(len(lines))
            name, _, known = lines[place].partition(" = ")
            lines[place] = f"{name} = {r.choice(_TOML_VALUES)}" if known else r.choice(_TOML_TABLES)
            data, how = "\n".join(lines).encode(), lines[place][:40]
        path.write_bytes(data)
        yield bench.command(*argv, file=path, how=how, verdicts=True)


def specs(bench: Bench) -> Iterator[Outcome]:
    """What describes TFRecord files, through the reading of data."""
    from edgefm.data.own.load import load_data

    importlib.import_module("tensorflow")  # which reads TFRecords; a child forked before would import it each time
    records_, path = bench.folder / "x.tfrecord", bench.folder / "spec.json"
    records_.write_bytes(bench.random.randbytes(200))
    while True:
        data, how = document_damaged(_SPEC, bench.random)
        path.write_bytes(data)
        yield bench.forked(
            lambda: _ran(lambda: load_data(str(records_), spec=path, input_shape=(8, 8, 1))),
            file=path,
            how=f"edgefm benchmark MODEL --data x.tfrecord --spec spec.json  # {how}",
        )


def _ran(action: Any) -> int:
    """Return the exit status that the command line gives for an action of the library."""
    from edgefm.cli.main import run

    return run(lambda: (action(), 0)[1])


def runs(bench: Bench) -> Iterator[Outcome]:
    """Manifests and the documents of a run's steps, through `export`, `compare`, `predict` and `report`."""
    run = bench.copy_of_run("run")
    for name in ("passes", "report"):
        shutil.rmtree(run / name, ignore_errors=True)
    (run / "02-benchmark/record.json").write_text(json.dumps(small_record(run)))
    names = ("manifest.json", "01-quantize/quantize.json", "00-train/history.json")
    documents = {name: json.loads((run / name).read_text()) for name in names}
    commands = (
        ("export", "android", run, "--out", bench.folder / "bundle", "-n", "1", "--force"),
        ("compare", run, run, "--no-latency"),
        ("predict", write_picture(bench.folder / "p.png"), "--run", run),
        ("report", run, "--out", bench.folder / "report"),
    )
    for argv in commands:
        bench.control(bench.command(*argv, verdicts=True, seconds=60))
    while True:
        name = names[0] if bench.random.random() < 0.8 else bench.random.choice(names)
        data, how = document_damaged(documents[name], bench.random)
        (run / name).write_bytes(data)
        argv = bench.random.choice(commands[:3]) if name == names[0] else commands[3]
        yield bench.command(*argv, file=run / name, how=f"{name}: {how}", verdicts=True, seconds=40)
        (run / name).write_text(json.dumps(documents[name]))


PARTS = (
    Part(name="recipe", count=1600, tries=recipes),
    Part(name="record", count=1000, weight=1.5, tries=records),
    Part(name="contract", count=1200, weight=1.5, tries=contracts),
    Part(name="budget", count=1200, tries=budgets),
    Part(name="spec", slow=True, count=800, weight=2.0, tries=specs),
    Part(name="manifest", slow=True, count=1000, weight=2.5, tries=runs),
)
