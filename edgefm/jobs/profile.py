"""`edgefm.profile`: which operator of a .tflite file costs the time, and how near it is to the machine's peak."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgefm.core import whole_folders
from edgefm.core.arguments import PathLike, as_path, check_number
from edgefm.core.progress import Progress, shown
from edgefm.jobs.inspect import tflite_in
from edgefm.jobs.quantize import TfliteFile
from edgefm.profiling.result import ProfileResult
from edgefm.profiling.timing import Turns


def profile(
    model: PathLike | TfliteFile,
    *,
    runtime: str = "litert",
    method: Literal["auto", "operators", "prefixes"] = "auto",
    rounds: int | None = None,
    seconds: float | None = None,
    out: PathLike | None = None,
    progress: Progress | bool | None = None,
) -> ProfileResult:
    """Return where the time of a .tflite file goes, operator by operator, on one thread of this machine.

    Args:
      model: .tflite file, or a folder with a model.tflite.
      runtime: e.g. 'litert:builtin'; see `edgefm.doctor()`.
      method: 'operators' times them one by one, 'prefixes' takes differences of prefixes of the model, 'auto' the
        first unless its sum is off by more than 10 %.
      rounds: turns of each cut model, interleaved; by default 9.
      seconds: a cut model that hangs for so long is ended; by default 60.
      out: folder for profile.json and, where matplotlib is installed, profile.png and profile.svg.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      ModelError: no such file, or nothing of it can be timed.
      RecipeError: an unknown runtime or method.
    """
    from edgefm.profiling.profile import profile as profile_file

    path = model.path if isinstance(model, TfliteFile) else tflite_in(as_path(model, "model"))
    check_number(rounds, "rounds", int)
    check_number(seconds, "seconds")
    given = {"rounds": rounds, "model_seconds": seconds}
    turns = Turns(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # each of its own type
    with shown(progress) as receiver:
        result = profile_file(path, runtime=runtime, method=method, turns=turns, progress=receiver)
    if out is not None:
        write_profile(result, as_path(out, "out"))
    return result


def write_profile(result: ProfileResult, folder: Path) -> list[Path]:
    """Write profile.json and, where matplotlib is installed, the pictures, all or none; return the paths."""
    import importlib.util

    from edgefm.profiling.result import FILE_NAME, PICTURES, content

    files = {FILE_NAME: content(result)}
    if importlib.util.find_spec("matplotlib") is not None:
        from edgefm.report.tools.profile import profile_pictures

        files |= profile_pictures(result)
    whole_folders.write(folder, files, gone=PICTURES)
    return [folder / name for name in files]
