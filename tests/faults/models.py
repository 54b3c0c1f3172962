"""Damaged models: .tflite files that are looked at, run and quantised, .keras and .h5 files that are loaded."""

from __future__ import annotations

import importlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgefm.core.given import limits
from tests.faults.bench import Bench, Outcome, Part
from tests.faults.damage import bytes_damaged, graph_damaged, json_damaged
from tests.faults.small_run import write_picture

_SEEDS = ("int8_w8a8", "float16", "drq_w8")
_GRAPH_BYTES = 30_000  # of tables, at the end of a file


def warm() -> None:
    """Import what looks at models, before the first fork; what runs TensorFlow forks before it has threads."""
    for name in ("cli.inspect", "cli.quantize", "tflite.inspection", "worker.model_commands", "runtimes.litert"):
        importlib.import_module(f"edgefm.{name}")
    for name in (
        "ai_edge_litert.interpreter",
        "ai_edge_litert.schema_py_generated",
        "tensorflow",
        "keras",
        "h5py",
        "edgefm.quantization.applicability",
        "edgefm.quantization.bring",
        "edgefm.quantization.step",
        "edgefm_converters.readers.keras_file",
    ):
        importlib.import_module(name)


def _tflite(bench: Bench, seeds: list[bytes]) -> tuple[bytes, str]:
    """Return a damaged .tflite file: its bytes, its tables alone, or its graph."""
    r, content = bench.random, bench.random.choice(seeds)
    chosen = r.random()
    if chosen < 0.35:
        return graph_damaged(content, r)
    if chosen < 0.6:
        start = max(0, len(content) - _GRAPH_BYTES)
        tail, how = bytes_damaged(content[start:], r)
        return content[:start] + tail, f"tables: {how}"
    data, how = bytes_damaged(content, r, r.choice(seeds))
    return (data[:4] + b"TFL3" + data[8:] if r.random() < 0.7 else data), how  # most get past the first check


def _seeds(bench: Bench, names: tuple[str, ...] = _SEEDS) -> list[bytes]:
    return [(bench.models / name / "model.tflite").read_bytes() for name in names]


def inspected(bench: Bench) -> Iterator[Outcome]:
    """.tflite files, through `inspect`; what it prints as JSON must be JSON."""
    seeds, path = _seeds(bench), bench.folder / "model.tflite"
    for content in seeds:
        path.write_bytes(content)
        bench.control(bench.command("inspect", path))
    while True:
        data, how = _tflite(bench, seeds)
        path.write_bytes(data)
        as_json = bench.random.random() < 0.5
        outcome = bench.command("inspect", path, *(["--json"] if as_json else []), file=path, how=how)
        if as_json and outcome.kind == "accepted" and not _is_json(outcome.text):
            outcome = replace(outcome, kind="broken", detail="what it wrote is no JSON")
        yield outcome


def _is_json(text: str) -> bool:
    def refuse(name: str) -> float:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


def in_a_worker(bench: Bench) -> Iterator[Outcome]:
    """.tflite files in what a worker does: there native code may crash or hang, and the command must go on.

    A worker that ends in whatever way is a refusal; now and then the real command is asked, beside a good model.
    """
    seeds, path, r = _seeds(bench), bench.folder / "model.tflite", bench.random
    good = bench.models / "int8_w8a8/model.tflite"
    for content in seeds:
        path.write_bytes(content)
        bench.control(bench.forked(lambda: _worked(path)))
    failed = 0
    while True:
        data, how = _tflite(bench, seeds)
        path.write_bytes(data)
        outcome = bench.forked(lambda: _worked(path), seconds=10, file=path, how=f"a worker on model.tflite  # {how}")
        if outcome.kind in ("crash", "hang", "traceback"):
            failed += 1
            if failed % 5 == 1:
                argv = _real(r.choice(("benchmark", "profile", "agree", "predict")), bench, path, good)
                yield bench.edgefm(*argv, file=path, how=f"its worker: {outcome.detail}", seconds=120, verdicts=True)
            outcome = replace(outcome, kind="clean", detail="")
        yield outcome


def _real(name: str, bench: Bench, path: Path, good: Path) -> list[Any]:
    """Return the command line of a real command on a damaged model."""
    if name == "benchmark":
        return [
            name,
            path,
            good,
            "--latency-only",
            "--rounds-at-most",
            "1",
            "--budget-seconds",
            "10",
            "--out",
            bench.folder / "b",
        ]
    if name == "profile":
        return [name, path, "--rounds", "1"]
    if name == "agree":
        return [name, path, "--random", "-n", "5"]
    shutil.copyfile(good.with_name("contract.json"), path.with_name("contract.json"))
    return [name, write_picture(bench.folder / "p.png"), "--model", path]


def _worked(path: Path) -> int:
    """Load a model and time it as a worker does; 2 where that is refused."""
    from edgefm.worker.model_commands import ModelCommands

    worker = ModelCommands()
    try:
        memory_bytes = limits.of_worker(path.stat().st_size)
        worker.load(
            path=str(path), runtime="edgefm.runtimes.litert", kernels=None, threads=1, memory_bytes=memory_bytes
        )
        worker.feed(contract=None, pictures=None)
        worker.samples(warmup_calls=1, least_calls=3, least_ns=0, most_calls=3, most_ns=10**9)
    except Exception as error:  # what a worker answers with
        print(f"error: {type(error).__name__}")
        return 2
    return 0


def quantised(bench: Bench) -> Iterator[Outcome]:
    """Float .tflite files, through `quantize`."""
    seeds, path, run = _seeds(bench, ("float32",)), bench.folder / "model.tflite", bench.folder / "run"
    argv = ("quantize", path, "--variant", "drq_w8", "--run", run)
    path.write_bytes(seeds[0])
    bench.control(bench.edgefm(*argv, seconds=120))
    while True:
        shutil.rmtree(run, ignore_errors=True)
        data, how = _tflite(bench, seeds)
        path.write_bytes(data)
        yield bench.edgefm(*argv, file=path, how=how, seconds=90)


def predicted(bench: Bench) -> Iterator[Outcome]:
    """.tflite files beside the contract of the whole one, through `predict`."""
    seeds, path = _seeds(bench, ("int8_w8a8",)), bench.folder / "model.tflite"
    argv = _real("predict", bench, path, bench.models / "int8_w8a8/model.tflite")
    path.write_bytes(seeds[0])
    bench.control(bench.edgefm(*argv, seconds=60))
    while True:
        data, how = _tflite(bench, seeds)
        path.write_bytes(data)
        yield bench.edgefm(*argv, file=path, how=how, seconds=60)


def of_a_run(bench: Bench) -> Iterator[Outcome]:
    """The .tflite files of a run, whose sha256 the run knows: whatever differs must not give an answer unsaid."""
    r, run = bench.random, bench.copy_of_run("run")
    picture = write_picture(bench.folder / "p.png")
    path = run / "01-quantize/int8_w8a8/model.tflite"
    whole = path.read_bytes()
    commands = (
        ("predict", picture, "--run", run),
        ("export", "android", run, "--variant", "int8_w8a8", "--out", bench.folder / "bundle", "--force"),
        ("benchmark", run, "--rounds-at-most", "1", "--budget-seconds", "3"),
    )
    files = {name: (run / "01-quantize" / name / "model.tflite").read_bytes() for name in (*_SEEDS, "float32")}
    bench.control(bench.edgefm(*commands[0], seconds=60))
    bench.control(bench.edgefm(*commands[1], seconds=60))
    while True:
        # A weight is changed in every file: whichever the command takes, its content is not the one that the run knows.
        for name, content in files.items():
            data = bytearray(content)
            data[r.randrange(len(data) // 4, len(data) // 2)] ^= 1 << r.randrange(8)
            (run / "01-quantize" / name / "model.tflite").write_bytes(data)
        assert path.read_bytes() != whole
        outcome = bench.edgefm(
            *r.choice(commands), file=path, how="a bit of each .tflite file of the run", seconds=120, verdicts=True
        )
        said = any(word in outcome.text for word in ("sha256", "changed", "damaged", "not the one"))
        if outcome.kind == "accepted" and not said:
            outcome = replace(
                outcome, kind="broken", detail="a file that is not the run's gave an answer without a word"
            )
        yield outcome


def keras_files(bench: Bench) -> Iterator[Outcome]:
    """.keras files: the archive, a member, or the configuration, through `inspect`."""
    path, whole = bench.folder / "model.keras", _small_model(bench, "keras")
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    configuration = json.loads(members["config.json"])
    path.write_bytes(whole)
    bench.control(bench.command("inspect", path, seconds=60))
    while True:
        r = bench.random
        chosen = r.randrange(3)
        if chosen == 0:
            data, how = bytes_damaged(whole, r)
        elif chosen == 1:
            text, how = json_damaged(configuration, r)
            data = _zip({**members, "config.json": text.encode("utf-8", "surrogatepass")})
        else:
            name = r.choice(list(members))
            content, how = bytes_damaged(members[name], r)
            data, how = _zip({**members, name: content}), f"{name}: {how}"
        path.write_bytes(data)
        yield bench.command("inspect", path, file=path, how=how, seconds=40)


def h5_files(bench: Bench) -> Iterator[Outcome]:
    """.h5 files: their bytes or their configuration, through `inspect`."""
    import h5py

    path, whole = bench.folder / "model.h5", _small_model(bench, "h5")
    path.write_bytes(whole)
    bench.control(bench.command("inspect", path, seconds=60))
    with h5py.File(path) as file:
        configuration = json.loads(file.attrs["model_config"])
    while True:
        r = bench.random
        path.write_bytes(whole)
        if r.random() < 0.4:
            text, how = json_damaged(configuration, r)
            try:
                with h5py.File(path, "r+") as file:
                    del file.attrs["model_config"]
                    file.attrs["model_config"] = text
            except (ValueError, RuntimeError, OSError):  # too long for an attribute, or no text of HDF5
                continue
        else:
            data, how = bytes_damaged(whole, r)
            path.write_bytes(whole[:8] + data[8:] if r.random() < 0.5 else data)
        yield bench.command("inspect", path, file=path, how=how, seconds=40)


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _small_model(bench: Bench, suffix: str) -> bytes:
    """Return the file of a small model, made in a child: this process has to stay free of TensorFlow's threads."""
    path = bench.folder / f"whole.{suffix}"

    def make() -> int:
        import keras

        layers = [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
        keras.Sequential(layers).save(path)
        return 0

    bench.control(bench.forked(make, seconds=120, how="a small model is made"))
    return path.read_bytes()


PARTS = (
    Part(name="tflite-inspect", count=4000, tries=inspected),
    Part(name="tflite-worker", count=1000, tries=in_a_worker),
    Part(name="tflite-predict", count=200, tries=predicted),
    Part(name="tflite-quantize", slow=True, count=300, weight=1.5, tries=quantised),
    Part(name="tflite-of-a-run", slow=True, count=60, tries=of_a_run),
    Part(name="keras", slow=True, count=800, weight=1.5, tries=keras_files),
    Part(name="h5", slow=True, count=600, weight=1.5, tries=h5_files),
)
