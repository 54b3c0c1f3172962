"""The manifest of a bundle: the sha256 of each of its files, so that a single changed byte is noticed.

`manifest.json` is written in one way only (sorted, indented, with a sum over itself), so that a byte that is changed in
it is noticed too. It tells damage and slips; against a person who writes a new manifest only a signature helps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgefm.core import artefacts
from edgefm.core.errors import ModelError
from edgefm.core.given import regular

FILE_NAME = "manifest.json"
SCHEMA_VERSION = 1
# A bundle's files are megabytes; a manifest is a line for each of them.
_LARGEST = 4_000_000
_SHA256 = re.compile("[0-9a-f]{64}")
_AGAIN = "Write the bundle again with: edgefm export"


def with_manifest(files: Mapping[str, bytes], *, kind: str, written_by: str) -> dict[str, bytes]:
    """Return the files of a bundle and its manifest, by path.

    Args:
      files: content by path, with '/' between folders.
      kind: of the bundle: 'c', 'python', ...
      written_by: name and version of what writes it.
    """
    sums = {name: artefacts.sha256_bytes(content) for name, content in sorted(files.items())}
    head = {"kind": "bundle", "schema_version": SCHEMA_VERSION, "bundle": kind, "written_by": written_by, "files": sums}
    return {**dict(sorted(files.items())), FILE_NAME: _written(head)}


def read_manifest(bundle: Path) -> dict[str, Any]:
    """Return the manifest of a folder.

    Raises:
      ModelError: it is missing, no manifest, changed, or written by a newer edgefm.
    """
    path = bundle / FILE_NAME
    with regular.open_file(
        path, ModelError, missing=f"{bundle} is no bundle: it holds no {FILE_NAME}", hint=_AGAIN
    ) as file:
        content = file.read(_LARGEST + 1)
    try:
        value = json.loads(content) if len(content) <= _LARGEST else None
        if not isinstance(value, dict) or value["kind"] != "bundle":
            raise ValueError
        version = value["schema_version"]
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise ModelError(
                f"{path} is of version {version}; this edgefm reads up to {SCHEMA_VERSION}",
                hint="Upgrade with: pip install -U edgefm",
            )
        named = {name: value[name] for name in ("kind", "schema_version", "bundle", "written_by", "files")}
        whole = _is_text(named["bundle"]) and _is_text(named["written_by"]) and _are_sums(named["files"])
        if not whole or _written(named) != content:
            raise ValueError
    except (ValueError, KeyError, RecursionError):
        raise ModelError(f"{path} was changed, or is no manifest of a bundle", hint=_AGAIN) from None
    return named


def changes(bundle: Path, manifest: Mapping[str, Any], *, beside: Collection[str] = ()) -> Iterator[str]:
    """Yield what is not as the manifest says: a file that is changed, missing, added, or none at all.

    Args:
      bundle: its folder.
      manifest: of `read_manifest`.
      beside: files that may be there though the manifest does not list them: what is written over it, a signature.
    """
    listed: Mapping[str, str] = manifest["files"]
    for name, wanted in listed.items():
        path = bundle / name
        if path.is_symlink():
            yield f"{name} is a link"
        elif not path.is_file():
            yield f"{name} is missing"
        elif artefacts.sha256_file(path) != wanted:
            yield f"{name} was changed: its sha256 is not the manifest's"
    for name in added(bundle, {*listed, *beside, FILE_NAME}):
        yield f"{name} is not in the manifest"


def added(bundle: Path, own: Collection[str]) -> Iterator[str]:
    """Yield the files and links in a folder, also in folders within it, that are not among `own`, sorted."""
    for path in sorted(bundle.rglob("*")):
        name = path.relative_to(bundle).as_posix()
        if name not in own and (path.is_symlink() or not path.is_dir()):
            yield name


def model_folders(manifest: Mapping[str, Any]) -> list[str]:
    """Return the folders of a bundle's models, as names in it; '' of the one that lies at the top.

    >>> model_folders({"files": {"int8/model.tflite": "", "README.md": "", "float/model.tflite": ""}})
    ['float', 'int8']
    >>> model_folders({"files": {"beside/float32/model.tflite": "", "model.tflite": ""}})
    ['', 'beside/float32']
    """
    paths = [name.rpartition("/") for name in sorted(manifest["files"])]
    folders = sorted(folder for folder, _, file in paths if file == "model.tflite")
    return [folder for folder in folders if "/" not in folder or folder.startswith("beside/")]


def _written(head: Mapping[str, Any]) -> bytes:
    plain = json.dumps(head, indent=2, sort_keys=True, ensure_ascii=True)
    whole = {**head, "sha256": artefacts.sha256_bytes(plain.encode())}
    return (json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=True) + "\n").encode()


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_sums(value: object) -> bool:
    """Return whether a value maps paths inside the bundle to sums."""
    return isinstance(value, dict) and all(
        isinstance(digest, str) and _SHA256.fullmatch(digest) and _is_inside(name) for name, digest in value.items()
    )


def _is_inside(name: str) -> bool:
    parts = name.split("/")
    return (
        "\\" not in name and "\0" not in name and ":" not in name and all(part not in ("", ".", "..") for part in parts)
    )
