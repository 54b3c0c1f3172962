"""`edgefm export --sign`, `edgefm verify --key`: OpenSSF model signatures, also as the library's command reads them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import edgefm
from edgefm.cli.main import cli
from edgefm.core.errors import ArgumentError, RecipeError
from edgefm.jobs.export.signature import FILE_NAME
from tests.integration.test_bundles import SHIPPED

pytest.importorskip("model_signing", reason="needs the extra [sign]")


def _pair(folder: Path, name: str, key: object, password: bytes | None = None) -> tuple[Path, Path]:
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    secret = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    pem = serialization.Encoding.PEM
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, secret))  # type: ignore[attr-defined]
    public.write_bytes(
        key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    )
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return _pair(tmp_path_factory.mktemp("keys"), "key", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="module")
def signed(keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed") / "c"
    result = edgefm.export(SHIPPED, "c", out=folder, samples=2, sign=keys[0], progress=False)
    assert FILE_NAME in result.files
    return folder


def test_signature_holds_with_the_public_key(signed: Path, keys: tuple[Path, Path]) -> None:
    assert edgefm.verify(signed, run=False, key=keys[1], progress=False).signature == "held"
    unchecked = edgefm.verify(signed, run=False, progress=False)
    assert unchecked.held and unchecked.signature == "not checked"
    done = CliRunner().invoke(cli, ["verify", str(signed), "--no-run", "--key", str(keys[1])], standalone_mode=False)
    assert done.return_value == 0 and f"held    signed by {keys[1]}" in done.output


def test_command_of_model_signing_reads_it(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    moved = Path(shutil.copytree(signed, tmp_path / "elsewhere"))
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(moved), "--signature"]
    command += [str(moved / FILE_NAME), "--public_key", str(keys[1]), "--ignore-paths", str(moved / FILE_NAME)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    content = bytearray((moved / "contract.json").read_bytes())
    content[40] ^= 1
    (moved / "contract.json").write_bytes(content)
    assert subprocess.run(command, capture_output=True, text=True, timeout=120).returncode != 0


def test_nothing_of_the_machine_is_in_a_signature(signed: Path) -> None:
    import base64
    import json

    bundle = json.loads((signed / FILE_NAME).read_text(encoding="utf-8"))
    statement = base64.b64decode(bundle["dsseEnvelope"]["payload"]).decode()
    assert "contract.json" in statement and "/tmp" not in statement and "edgefm-" not in statement, statement[:500]


@pytest.mark.parametrize(
    "kind", ["changed", "added", "missing", "another key", "no signature", "cut off", "of another"]
)
def test_wrong_signature_is_said(kind: str, signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, public = Path(shutil.copytree(signed, tmp_path / "bundle")), keys[1]
    signature = bundle / FILE_NAME
    if kind == "changed":
        content = bytearray((bundle / "model.tflite").read_bytes())
        content[-1] ^= 1
        (bundle / "model.tflite").write_bytes(content)
    elif kind == "added":
        (bundle / "more.txt").write_text("more", encoding="utf-8")
    elif kind == "missing":
        (bundle / "labels.txt").unlink()
    elif kind == "another key":
        _, public = _pair(tmp_path, "other", ec.generate_private_key(ec.SECP384R1()))
    elif kind == "no signature":
        signature.unlink()
    elif kind == "cut off":
        signature.write_bytes(signature.read_bytes()[:200])
    else:
        edgefm.export(SHIPPED, "c", out=tmp_path / "b", samples=3, sign=keys[0], progress=False)
        shutil.copyfile(tmp_path / "b" / FILE_NAME, signature)
    result = edgefm.verify(bundle, run=False, key=public, progress=False)
    assert not result.held and result.signature == "failed"
    assert any(FILE_NAME in problem for problem in result.problems), result.problems
    done = CliRunner().invoke(cli, ["verify", str(bundle), "--no-run", "--key", str(public)], standalone_mode=False)
    assert done.return_value == 1


def test_key_with_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP521R1())
    private, public = _pair(tmp_path, "locked", key, password="geheim ß".encode())
    with pytest.raises(RecipeError, match=r"locked\.pem cannot be used") as error:
        edgefm.export(SHIPPED, "c", out=tmp_path / "b", samples=2, sign=private, progress=False)
    assert "EDGEFM_KEY_PASSWORD" in str(error.value.hint) and not (tmp_path / "b").exists()
    monkeypatch.setenv("EDGEFM_KEY_PASSWORD", "geheim ß")
    edgefm.export(SHIPPED, "c", out=tmp_path / "b", samples=2, sign=private, progress=False)
    assert edgefm.verify(tmp_path / "b", run=False, key=public, progress=False).held
    monkeypatch.setenv("EDGEFM_KEY_PASSWORD", "wrong")
    with pytest.raises(RecipeError, match=r"locked\.pem cannot be used"):
        edgefm.export(SHIPPED, "c", out=tmp_path / "b2", samples=2, sign=private, progress=False)


@pytest.mark.parametrize("kind", ["missing", "text", "folder", "rsa", "ed25519", "curve", "public", "large", "empty"])
def test_what_is_no_key_is_refused_before_anything_is_written(
    kind: str, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    if kind == "folder":
        path.mkdir()
    elif kind == "public":
        path = keys[1]
    elif kind in ("rsa", "ed25519", "curve"):
        made = {
            "rsa": lambda: rsa.generate_private_key(65537, 2048),
            "ed25519": ed25519.Ed25519PrivateKey.generate,
            "curve": lambda: ec.generate_private_key(ec.SECP256K1()),
        }[kind]()
        path, _ = _pair(tmp_path, "key", made)
    elif kind != "missing":
        path.write_text({"text": "no key", "large": "x" * 200_000, "empty": ""}[kind], encoding="utf-8")
    with pytest.raises(RecipeError, match=path.name) as error:
        edgefm.export(SHIPPED, "c", out=tmp_path / "b", samples=2, sign=path, progress=False)
    assert "attribute" not in str(error.value)
    assert not (tmp_path / "b").exists()


def test_what_is_no_public_key_is_refused(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "text.pub").write_text("no key", encoding="utf-8")
    for path in (keys[0], tmp_path / "text.pub", tmp_path / "missing.pub"):
        with pytest.raises(RecipeError, match=path.name):
            edgefm.verify(signed, run=False, key=path, progress=False)
    with pytest.raises(ArgumentError, match="key is 3"):
        edgefm.verify(signed, run=False, key=3, progress=False)  # type: ignore[arg-type]
