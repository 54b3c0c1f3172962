"""`edgefm.cost_model`: measure operators on a target, by which the time of files is forecast without running them."""

from __future__ import annotations

from edgefm.core.arguments import PathLike, as_path, check_number, check_type
from edgefm.core.errors import RecipeError
from edgefm.core.progress import Progress, shown
from edgefm.profiling.cost_model import CostModel
from edgefm.profiling.cost_model.model import HOST


def cost_model(
    runtime: str = "litert",
    *,
    target: str = HOST,
    seed: int = 0,
    out: PathLike | None = None,
    progress: Progress | bool | None = None,
) -> CostModel:
    """Return the cost model of a runtime on one thread of a target, by default this machine, measured now.

    Some two thousand operators and sixty small networks are timed in interleaved rounds, which takes two minutes on a
    quiet machine. `edgefm.forecast` builds the one of this machine when it needs it and keeps it; this builds one of a
    board, or that of this machine anew.

    Args:
      runtime: of the target, with its kernel set where one is wanted: 'litert', 'litert:builtin'.
      target: 'host', this machine, or a board that is reached by ssh, e.g. 'ssh://pi@board'; its forecasts are asked
        for with the same target.
      seed: of the operators and networks that are drawn.
      out: file that it is written to, ending in .json; without it that of this machine is kept for later forecasts, in
        place of the one that they took so far.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type, or a file of another ending.
      RecipeError: an unknown runtime or target, one that does not time operators, or a seed below 0.
      TargetError: the target cannot be reached, or went away.
      ModelError: nothing could be timed.
      RuntimeUnavailableError: the runtime cannot be used here.
    """
    from edgefm.profiling.cost_model import build, kept

    check_type(runtime, "runtime", str, "the name of a runtime")
    check_type(target, "target", str, "the name of a target")
    check_number(seed, "seed", int)
    if seed < 0:
        raise RecipeError(f"seed {seed} is not allowed: 0 or more is expected")
    path = None if out is None else as_path(out, "out")
    if path is not None and (path.is_dir() or path.suffix != ".json"):
        raise RecipeError(f"out is {path}; a file name that ends in .json is expected")
    with shown(progress) as receiver:
        model = build(runtime=runtime, seed=seed, target=target, progress=receiver)
        if path is None and target == HOST:
            kept.keep(model, receiver)
    if path is not None:
        model.save(path)
    return model
