"""The folder that a bundle is written into: whether it may be, and what lies in it that is not of a bundle."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgefm.core import whole_folders
from edgefm.core.errors import EdgefmError, RunError
from edgefm.jobs.export.models import is_bundle
from edgefm.jobs.export.signature import FILE_NAME as SIGNATURE_FILE

_NAMED = 5


def check_target(target: Path, *, force: bool) -> None:
    """Raise a RunError unless a bundle may be written to a folder: a new or empty one, or with `force` a bundle.

    A bundle that holds files that are not its own is refused: they would be gone.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise RunError(f"{target} is a file; a folder is expected", hint="Give a new folder.")
    held = any(target.iterdir())
    if held and not is_bundle(target):
        raise RunError(f"{target} exists and holds something else than a bundle", hint="Give a new folder.")
    if held and not force:
        hint = "Give a new folder, or say that this one is to be replaced: force."
        raise RunError(f"{target} holds a bundle already", hint=hint)
    if Path.cwd().is_relative_to(target.resolve()):  # it is replaced whole, and a shell in it would be in none
        raise RunError(f"{target} is the folder that you are in, or holds it", hint="Give another folder.")
    others = of_others(target) if held else []
    if others:
        named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED:,} more" if len(others) > _NAMED else "")
        raise RunError(
            f"{target} holds what is not of the bundle, and would be gone with it: {named}",
            hint="Move it elsewhere, or remove it, and try again; or give a new folder.",
        )


def of_others(bundle: Path) -> list[str]:
    """Return what lies in a bundle's folder and is not in its manifest, sorted; a folder of such files as 'NAME/'.

    What Python wrote to start faster (`__pycache__`) is of nobody.
    """
    from edgefm_converters.bundles.manifest import FILE_NAME, added

    value = json.loads((bundle / FILE_NAME).read_text(encoding="utf-8"))
    files = value.get("files")
    own = {*(files if isinstance(files, dict) else ()), FILE_NAME, SIGNATURE_FILE}
    folders = {str(parent) for name in own for parent in Path(name).parents}
    names = (Path(name) for name in added(bundle, own) if "/__pycache__/" not in f"/{name}")
    return sorted({_highest(name, folders) for name in names})


def write(target: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    """Write a bundle's files, all or none.

    Raises:
      EdgefmError: they cannot be written; what was there stays.
    """
    try:
        whole_folders.exchange(target, files, replace=force)
    except OSError as error:
        raise _unwritten(target, error) from error


@contextlib.contextmanager
def together(out: Path) -> Iterator[Path]:
    """Give a hidden folder to write bundles into, by name; at the end they take their places in `out`, or none does.

    Raises:
      EdgefmError: `out` cannot be written into; also each of the `with` block, which then says that none was written.
    """
    writing = False
    try:
        with whole_folders.together(out) as staged:
            writing = True
            try:
                yield staged
            except EdgefmError as error:
                kept = "" if error.hint is None else f"{error.hint} "
                error.hint = f"{kept}No bundle was written: {out} is as it was."
                raise
            writing = False
    except OSError as error:
        if writing:  # of a bundle: no matter of this folder
            raise
        raise _unwritten(out, error) from error


def _unwritten(target: Path, error: OSError) -> EdgefmError:
    return EdgefmError(
        f"{target} cannot be written: {error.strerror or error}",
        hint="Choose another folder, or check that this one is writable and that the disk is not full.",
    )


def _highest(name: Path, folders: set[str]) -> str:
    """Return the highest folder above a file that holds none of the bundle's, as 'NAME/', else the file."""
    foreign = [parent for parent in name.parents if str(parent) not in folders]
    return f"{foreign[-1].as_posix()}/" if foreign else name.as_posix()
