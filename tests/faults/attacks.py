"""Attacks: does somebody else's run, model, archive, string or folder run code, leave its folder, or take the machine?

Each leaves a mark where its code runs; names and payloads are drawn anew by the seed. A refusal and a success are both
right, as long as there is no mark and nothing outside has changed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.bench import ROOT, Bench, Outcome, Part
from tests.faults.model_attacks import of_models
from tests.faults.scene import LAMBDA, Scene, source
from tests.faults.small_run import write_picture

Attack = Callable[[], Outcome]
_SHADOWS = (
    "numpy.py", "json.py", "random.py", "signal.py", "click.py", "sitecustomize.py", "usercustomize.py", "typing.py",
    "edgefm/__init__.py", "edgefm_converters/__init__.py", "ai_edge_litert/__init__.py", "flatbuffers/__init__.py",
    "tensorflow/__init__.py", "keras/__init__.py", "PIL/__init__.py", "filelock.py", "queue.py", "zipfile.py",
)  # fmt: skip
_TARGETS = (
    "ssh://-oProxyCommand=touch${IFS}{mark}", "ssh://-oProxyCommand=touch%20{mark}/",
    "ssh://x@-oProxyCommand=touch {mark}", "ssh://-l@host", "ssh://$(touch {mark})", "ssh://`touch {mark}`@h",
    "ssh://h;touch {mark}", "ssh://[-oProxyCommand=x]", "ssh://a\nProxyCommand touch {mark}", "ssh://u%n@127.0.0.1:1",
    "ssh://-F/dev/null@h", "ssh:////x", "adb:$(touch {mark})", "adb:;touch {mark}", "adb:-s x",
    "adb:x;touch${IFS}{mark}", "qemu-aarch64:cortex-a72,plugin={mark}.so", "qemu-aarch64:../../x",
    "cortex-m:;touch {mark}", "vela:ethos-u55-128 --output-dir=/", "vela:-x", "browser:--no-sandbox", "host:x",
    "os:system", "edgefm.cli.main", "../x", "", "\x00", "ssh://" + "a" * 5000,
)  # fmt: skip
_RUNTIMES = (
    "os", "os:system", "../x", "litert:__class__", "edgefm.cli.main:main", "litert:$(touch {mark})", "", "litert:",
    "gift.payload", "litert\x00",
)  # fmt: skip


def warm() -> None:
    """Nothing: every attack is on the real command."""


def of_runs(bench: Bench) -> Iterator[Outcome]:
    """Runs, models and data that bring code, or name code that lies beside them."""
    scene, out = Scene(bench), bench.folder / "out"
    function = f"{scene.name}.payload:load"
    cases: list[Attack] = []

    def on(what: str, make: Callable[[], Path], *commands: tuple[Any, ...]) -> None:
        for words in commands:
            cases.append(lambda words=words: scene.attacked(what, *words[0].split(), make(), *words[1:]))

    on_run = (
        ("quantize", "--variant", "drq_w8"),
        ("benchmark", "--rounds-at-most", "1"),
        ("report", "--out", out / "r"),
        ("calibration",),
        ("sensitivity",),
        ("export android", "--out", out / "a"),
    )
    on(
        "source.json names a function in the run",
        lambda: scene.imported(scene.name, data=source(where=function)),
        *on_run,
    )
    on(
        "source.json says trust and names a function",
        lambda: scene.imported(scene.name, trust=True, data=source(where=function, trust=True)),
        *on_run[:2],
    )
    on(
        "quality names a function in the run",
        lambda: scene.imported(scene.name, data=source(quality=function)),
        *on_run[:2],
    )
    on(
        "source.json says trust of pickled data",
        lambda: scene.imported(scene.name, trust=True, data=source(where=str(scene.pickled()), trust=True)),
        *on_run[:2],
    )
    on(
        "a whole run that names a function",
        lambda: _whole(scene, function),
        ("report", "--out", out / "r"),
        ("benchmark", "--rounds-at-most", "1"),
    )
    on("pickled predictions", lambda: _with_predictions(scene), ("report", "--out", out / "r"))
    for suffix in ("keras", "h5"):
        on(
            f"a Lambda layer in a .{suffix}",
            lambda suffix=suffix: scene.made(f"lambda.{suffix}", LAMBDA),
            ("inspect",),
            ("quantize", "--variant", "drq_w8", "--run", out / suffix),
        )
    on(
        "a Lambda layer in a run that says trust",
        lambda: _lambda_run(scene),
        ("quantize", "--variant", "float16"),
        ("sensitivity",),
    )
    on(
        "pickled data by name",
        scene.plain,
        ("quantize", "--data", scene.pickled(), "--variant", "drq_w8", "--run", out / "p"),
        ("quantize", "--calibration-data", scene.pickled(), "--variant", "int8_w8a8", "--run", out / "c"),
    )
    recipe = bench.folder / "recipe.json"
    recipe.write_text(json.dumps({"kind": "quantize", "params": {"variants": ["int8_w8a8"], "quality": function}}))
    cases.append(lambda: scene.attacked("a recipe that names a function", "recipes", "validate", recipe))
    for attack in bench.random.sample(cases, len(cases)):
        yield attack()


def _whole(scene: Scene, function: str) -> Path:
    """Return a run with all steps, as a stranger can put it together, that names a function in itself."""
    run, whole = scene.imported(scene.name, data=source(where=function)), scene.bench.run
    manifest = json.loads((run / "manifest.json").read_text())
    for step in json.loads((whole / "manifest.json").read_text())["steps"][1:]:
        shutil.copytree(whole / step["name"], run / step["name"])
        manifest["steps"].append(step)
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


def _with_predictions(scene: Scene) -> Path:
    run = scene.bench.copy_of_run("predictions")
    shutil.copyfile(scene.pickled(), run / "02-benchmark/predictions.npz")
    return run


def _lambda_run(scene: Scene) -> Path:
    run = scene.imported("lambda", trust=True)
    shutil.copyfile(scene.made("lambda.keras", LAMBDA), run / "00-import/plain.keras")
    return run


def of_paths(bench: Bench) -> Iterator[Outcome]:
    """Paths in files that lead out of their folder."""
    scene, secret, out = Scene(bench), bench.folder / "secret", bench.folder / "out"
    shutil.copytree(bench.models, secret)
    word = f"secret-{bench.random.randrange(10**6)}"
    for path in secret.glob("*/labels.txt"):
        path.write_text("\n".join([word] * 10) + "\n")

    def left() -> str:
        found = [path for path in out.rglob("*.txt") if word in path.read_text()]
        return "a path in a file led out of the run" if found else ""

    def renamed(step: dict[str, Any], name: str) -> None:
        step["name"] = name

    def moved(variant: dict[str, Any], name: str) -> None:
        variant["file"] = name

    steps = ("../secret", str(secret), "01-quantize/../../secret", "./../secret", "..", "/", "01-quantize/..", "\0", "")
    cases = [("manifest.json", "steps", renamed, name) for name in steps]
    files = ("../../secret/int8_w8a8/model.tflite", str(secret / "int8_w8a8/model.tflite"), "../..", "")
    cases += [("01-quantize/quantize.json", "variants", moved, name) for name in files]
    for document, key, change, name in bench.random.sample(cases, len(cases)):
        run = bench.copy_of_run("run")
        value = json.loads((run / document).read_text())
        for entry in value[key]:
            if entry.get("kind", "quantize") == "quantize":
                change(entry, name)
        (run / document).write_text(json.dumps(value))
        for argv in (("export", "android", run, "--variant", "int8_w8a8", "--out", out), ("report", run, "--out", out)):
            shutil.rmtree(out, ignore_errors=True)
            yield scene.attacked(f"{document} names {name!r}", *argv, held=left)


def of_the_working_folder(bench: Bench) -> Iterator[Outcome]:
    """Modules in the working folder by the names of those that edgefm imports, on commands that start workers."""
    scene, model = Scene(bench), bench.models / "int8_w8a8/model.tflite"
    picture = write_picture(bench.folder / "p.png")
    commands = (
        ("inspect", model),
        ("benchmark", model, "--latency-only", "--rounds-at-most", "1"),
        ("predict", picture, "--model", model),
        ("profile", model, "--rounds", "1"),
        ("agree", model, "--random", "-n", "2"),
        ("quantize", bench.run / "00-train/model.keras", "--quick", "--run", bench.folder / "run"),
    )
    for name in bench.random.sample(_SHADOWS, len(_SHADOWS)):
        place = bench.folder / "cwd"
        shutil.rmtree(place, ignore_errors=True)
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(f"{scene.python}raise ImportError('shadow')\n")
        for argv in bench.random.sample(commands, 2):
            shutil.rmtree(bench.folder / "run", ignore_errors=True)
            yield scene.attacked(f"{name} in the working folder", *argv, cwd=place, seconds=120)


def of_archives(bench: Bench) -> Iterator[Outcome]:
    """Archives whose members leave the folder, are links, come twice, or unpack to gigabytes."""
    scene, r = Scene(bench), bench.random
    with zipfile.ZipFile(scene.plain()) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    outside = bench.folder / f"SLIPPED{r.randrange(10**6)}"

    def written(name: str, *extra: tuple[str, bytes], huge: str = "", gigabytes: int = 0) -> Path:
        path = bench.folder / f"{name}.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for member, content in members.items():
                if member != huge:
                    archive.writestr(member, content)
            for member, content in extra:
                archive.writestr(member, content)
            if huge:
                with archive.open(huge, "w", force_zip64=True) as file:
                    for _ in range(gigabytes << 6):
                        file.write((b" " if huge.endswith("json") else b"\0") * (1 << 24))
        return path

    def slipped() -> str:
        found = [*bench.folder.rglob(outside.name), *bench.folder.parent.glob(outside.name)]
        return "a member left the archive's folder" if found else ""

    link = zipfile.ZipInfo("assets/link")
    link.external_attr = 0o120777 << 16
    makes: list[tuple[str, Callable[[], Path]]] = [
        (
            "a member called ../",
            lambda: written("a", (f"../{outside.name}", b"x"), (f"assets/../../{outside.name}", b"x")),
        ),
        ("a member with an absolute name", lambda: written("b", (str(outside), b"x"))),
        ("config.json twice", lambda: written("c", ("config.json", b"{}"))),
        ("a member that is a link", lambda: written("d", (link, str(outside).encode()))),  # type: ignore[arg-type]
        ("a bomb in config.json", lambda: written("e", huge="config.json", gigabytes=3)),
        ("a bomb in the weights", lambda: written("f", huge="model.weights.h5", gigabytes=3)),
        ("a bomb in assets/", lambda: written("g", huge="assets/junk", gigabytes=3)),
        ("ten thousand members", lambda: written("h", *((f"assets/{place}", b"x") for place in range(10_000)))),
    ]
    for what, make in r.sample(makes, len(makes)):
        path, run = make(), bench.folder / "run"
        yield scene.attacked(what, "inspect", path, held=slipped)
        shutil.rmtree(run, ignore_errors=True)
        yield scene.attacked(what, "quantize", path, "--variant", "float16", "--run", run, held=slipped, seconds=120)
        path.unlink()


def of_strings(bench: Bench) -> Iterator[Outcome]:
    """Names of targets, runtimes and data that are commands, options or modules."""
    scene, model = Scene(bench), bench.models / "int8_w8a8/model.tflite"
    options = [("--target", text) for text in _TARGETS] + [("--runtime", text) for text in _RUNTIMES]
    options += [
        ("--data", text)
        for text in ("os:system", "subprocess:run", "antigravity:x", "builtins:exec", f"{scene.name}:f")
    ]
    (bench.folder / "gift").mkdir()
    (bench.folder / "gift/payload.py").write_text(scene.python)
    for option, text in bench.random.sample(options, len(options)):
        if "\x00" in text:
            continue  # no command line can hold it
        value = text.replace("{mark}", str(scene.mark))
        more = [] if option == "--data" else ["--latency-only"]
        yield scene.attacked(
            f"{option} {text!r}", "benchmark", model, *more, "--rounds-at-most", "1", option, value, seconds=60
        )


def of_the_temporary_folder(bench: Bench) -> Iterator[Outcome]:
    """Names that edgefm uses in the folder for temporary files, taken by somebody else before."""
    scene, model = Scene(bench), bench.models / "int8_w8a8/model.tflite"
    temporary, victim = bench.folder / "tmp", bench.folder / "victim"
    user = str(os.getuid())
    names = (
        "edgefm",
        "edgefm-benchmarks",
        f"edgefm-{user}",
        f"edgefm-benchmarks-{user}",
        "edgefm-root",
        f"edgefm_{user}",
    )

    def laid(name: str, what: str) -> None:
        for folder in (temporary, victim):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        (victim / "precious").write_text("mine")
        (victim / "1234-file").write_text("mine")
        place = temporary / name
        if what == "link":
            place.symlink_to(victim)
        elif what == "file":
            place.write_text("mine")
        else:
            place.mkdir(mode=0o777)
            (os.mkfifo if what == "fifo" else lambda path: path.symlink_to(victim / "precious"))(place / "1-fifo")

    def changed() -> str:
        kept = sorted(path.name for path in victim.iterdir()) == ["1234-file", "precious"]
        same = kept and (victim / "precious").read_text() == "mine" and victim.stat().st_mode & 0o7777 == 0o700
        return "" if same else "what lies behind a link in the temporary folder was changed"

    cases = [(name, what) for name in names for what in ("link", "file", "fifo", "link inside")]
    for name, what in bench.random.sample(cases, len(cases)):
        laid(name, what)
        argv = ("benchmark", model, "--latency-only", "--rounds-at-most", "1")
        yield scene.attacked(
            f"{name} is there: {what}", *argv, variables={"TMPDIR": str(temporary)}, held=changed, seconds=40
        )


def of_the_server(bench: Bench) -> Iterator[Outcome]:
    """The web server of the browser target: who does not know the secret, or asks by another name, gets nothing."""
    from edgefm.runtimes.litertjs.server import PageServer

    server = PageServer(model=bench.models / "int8_w8a8/model.tflite", folders={"core": ROOT / "docs"})
    address, secret = server._server.server_address, server.url.split("/")[3]
    here = f"127.0.0.1:{address[1]}"
    if b" 200 " not in _asked(address, f"/{secret}/page.html", here)[:20]:
        bench.control(Outcome(kind="broken", how="the page itself"))
    requests = [
        ("without the secret", "/page.html", here),
        ("another secret", "/AAAA/page.html", here),
        ("the secret elsewhere", f"/x?{secret}", here),
        ("../", f"/{secret}/core/../../../../etc/passwd", here),
        ("an encoded ../", f"/{secret}/core/%2e%2e/%2e%2e/etc/passwd", here),
        ("an absolute path", f"/{secret}/core//etc/passwd", here),
        ("a backslash", f"/{secret}/core/..\\..\\x", here),
        ("the model without the secret", "/model.tflite", here),
        ("another host", f"/{secret}/page.html", "evil.example"),
        ("another host's port", f"/{secret}/page.html", f"evil.example:{address[1]}"),
        ("no host", f"/{secret}/page.html", ""),
        ("another port", f"/{secret}/page.html", "127.0.0.1:1"),
    ]
    try:
        for what, path, host in bench.random.sample(requests, len(requests)):
            answer = _asked(address, path, host)
            wrong = b" 200 " in answer[:20] or b"root:" in answer
            yield Outcome(
                kind="broken" if wrong else "clean",
                detail=f"the server answers: {what}" if wrong else "",
                how=f"GET {path} of {host}",
                text=answer[:200].decode("latin-1"),
            )
        loopback = address[0] == "127.0.0.1"
        yield Outcome(
            kind="clean" if loopback else "broken", detail="" if loopback else "it listens beyond this machine"
        )
    finally:
        server.close()


def _asked(address: Any, path: str, host: str) -> bytes:
    with socket.create_connection(address, 5) as connection:
        connection.settimeout(5)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1"))
        answer = b""
        try:
            while piece := connection.recv(65_536):
                answer += piece
        except OSError:
            return answer
    return answer


PARTS = (
    Part(name="attack-model", slow=True, count=35, weight=2.0, tries=of_models),
    Part(name="attack-run", slow=True, count=24, weight=3.0, tries=of_runs),
    Part(name="attack-path", count=26, weight=1.5, tries=of_paths),
    Part(name="attack-working-folder", slow=True, count=36, weight=2.0, tries=of_the_working_folder),
    Part(name="attack-archive", slow=True, count=16, weight=2.0, tries=of_archives),
    Part(name="attack-string", count=42, tries=of_strings),
    Part(name="attack-temporary-folder", count=24, tries=of_the_temporary_folder),
    Part(name="attack-server", count=13, weight=0.5, tries=of_the_server),
)
