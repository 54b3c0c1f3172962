"""`edgefm.search`: the files for one or several budgets, found among many recipes, trained, and measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import html
from edgefm.core.arguments import PathLike, as_path, check_number, check_type
from edgefm.core.documents import inside, read_versioned
from edgefm.core.errors import RecipeError
from edgefm.core.progress import Progress, shown
from edgefm.core.runs import RunDirectory
from edgefm.jobs.arguments import FolderResult, require_data, scratch_folder, source_in_memory
from edgefm.jobs.run import Run
from edgefm.recipes import BenchmarkProtocol, Quantization
from edgefm.recipes.base import MOST_SEED, at_least

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource

FOLDER = "search"
TRIALS = 60
_RESULT_FILE = "front.json"
_TIME = re.compile(r"\s*(?:(\d+(?:\.\d+)?)\s*h)?\s*(?:(\d+(?:\.\d+)?)\s*m(?:in)?)?\s*(?:(\d+(?:\.\d+)?)\s*s)?\s*")


@dataclass(frozen=True, kw_only=True)
class SearchResult(FolderResult):
    """What a search found: the proposed file of each budget, and the front of all that was tried.

    Attributes:
      document: the content of front.json.
    """

    document: Mapping[str, Any] = field(hash=False)

    @classmethod
    def open(cls, folder: Path, *, scratch: Any = None) -> SearchResult:
        """Return the result in a folder that holds front.json.

        Raises:
          SearchError: it is missing, damaged, or a newer edgefm wrote it.
        """
        from edgefm.searching.journal import SearchError

        document = read_versioned(
            folder / _RESULT_FILE,
            what="result of a search",
            newest=1,
            schema="search-result-1",
            error=SearchError,
            hint="Resume the search: it is made again.",
        )
        return cls(folder=folder, document=document, _scratch=scratch)

    @property
    def met(self) -> Mapping[str, bool]:
        """Whether each budget is met, by its name."""
        return {entry["name"]: bool(entry["met"]) for entry in self.document["budgets"]}

    @property
    def held(self) -> bool:
        """Whether every budget is met."""
        return all(self.met.values())

    @property
    def waiting(self) -> Mapping[str, str]:
        """Why files were not measured yet on a target, by its address; a search that is resumed measures them."""
        return dict(self.document.get("waiting", {}))

    @property
    def files(self) -> Mapping[str, Path]:
        """The proposed .tflite file of each budget that has one, by its name; met or the nearest."""
        where = self.folder / _RESULT_FILE
        return {
            entry["name"]: inside(self.folder, f"models/{entry['model']}/model.tflite", where=where)
            for entry in self.document["budgets"]
            if entry["model"] is not None
        }

    @property
    def lines(self) -> tuple[str, ...]:
        """What became of each budget, in a sentence."""
        from edgefm.searching.result import conclusion

        return tuple(conclusion(entry) for entry in self.document["budgets"])

    @property
    def front(self) -> Sequence[Mapping[str, Any]]:
        """The trials that no other one beats: `trial`, `words`, `point` and `figures` each."""
        points: Sequence[Mapping[str, Any]] = self.document["front"]
        return points

    def to_json(self) -> dict[str, Any]:
        """Return the content of front.json."""
        return dict(self.document)

    def _repr_html_(self) -> str:
        from edgefm.searching.result import titles_in, unit_in
        from edgefm.searching.words import row

        unit, titles = unit_in(self.document), titles_in(self.document)
        rows = [
            [entry["name"], "yes" if entry["met"] else "no", *row(entry["figures"], titles, unit)]
            for entry in self.document["budgets"]
        ]
        return html.table(rows, ["budget", "met", *titles.values()]) + "".join(map(html.paragraph, self.lines))


def search(
    model: Any,
    budget: PathLike | Mapping[str, Any],
    *,
    data: Dataset | DataSource | PathLike | None = None,
    trials: int = TRIALS,
    time_limit: float | str | None = None,
    out: PathLike | None = None,
    resume: bool = False,
    seed: int = 0,
    seeds: int = 3,
    epochs: int = 8,
    sampler: str = "tpe",
    workers: int | None = None,
    executor: str = "local",
    address: str | None = None,
    store: PathLike | None = None,
    storage: str | None = None,
    quality: str | None = None,
    labels: Sequence[str] | None = None,
    value_range: Sequence[float] | None = None,
    head: str = "auto",
    trust: bool = False,
    data_dir: PathLike | None = None,
    protocol: BenchmarkProtocol | None = None,
    progress: Progress | bool | None = None,
) -> SearchResult:
    """Search the recipes that fit a model for files that keep one or several budgets.

    Trials remove channels or build another network, prune, cluster and quantise in different shares; weak ones are
    stopped after short training. They are chosen on validation samples, their latency is predicted. The best one of
    each budget is then trained to the end with several seeds, and measured beside int8_w8a8 with the test samples. It
    can be stopped at any time, and goes on by `resume`.

    Args:
      model: a keras.Model, a path, an `edgefm.Run` or its folder, or what `edgefm.train` or `edgefm.compress` gave.
      budget: TOML file, see docs/search.md, or what it says: `{"phone": {"max_p50_ratio": 0.15}}`.
      data: what it is fine-tuned and measured on; a run has its own.
      trials: most of them, those before `resume` too.
      time_limit: seconds, or a text such as '1h' or '90m', of trials and finalists: the last trial begins early
        enough for these, but not before half of it is over. Measuring the files, some minutes, comes after it.
      out: folder of the search; by default `search` in the run's folder, else a temporary one.
      resume: go on with the search in `out`.
      seed: of what is tried and of fine-tuning; finalists are trained with the `seeds` numbers after it.
      seeds: number of seeds that each finalist is trained with; 0 trains none: the front alone.
      epochs: of fine-tuning after channels were removed, in a whole trial; other passes get a half to an eighth of it,
        a network that is trained from scratch twice as many.
      sampler: 'tpe' (learns from the trials before), or 'random', to compare with.
      workers: trials at the same time, each in a process of its own on one core, or 1: in this process; by default one
        a core, as many as free memory has room for, and one where no other process can take the model or the data, or
        on a GPU. See docs/scale.md.
      executor: who does trials: 'local', processes of this machine; 'ray', tasks of a Ray cluster. See docs/scale.md.
      address: of the Ray cluster: 'HOST:PORT', 'auto' (the one this machine is part of), or 'local' to start one here.
      store: folder or URL ('s3://bucket/folder') that all nodes of the cluster reach; by default a folder in `out`.
      storage: database that keeps the trials instead of `out`, so that the search can go on from another machine:
        'postgresql://USER@HOST/DATABASE', 'mysql://...', or 'grpc://HOST:PORT' of Optuna's proxy in front of one.
      quality: measure of quality; by default that of the data's task.
      labels: class names; by default those of the data.
      value_range: lowest and highest input value of the model, for pixels 0 and 255; by default (0, 255).
      head: what the outputs become, see `edgefm.quantize`.
      trust: run code that a model file contains, e.g. Lambda layers.
      data_dir: folder of the Fashion-MNIST files, for a run on these.
      protocol: how finalists are measured.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      RecipeError: a number or a name that is not allowed; or data, or what is said of a model, beside a run.
      BudgetError: the budget is missing, no TOML, or holds an unknown key or a value that is not allowed.
      SearchError: no budget can be met by anything that may be tried; or the folder is in use, holds a search and
        `resume` is not given, or holds another search; or a cluster or a storage cannot be reached, or a node differs.
      ModelError: the model cannot be loaded or converted, or there is nothing to search.
      DataError: no data, or they cannot be read or do not fit the model.
      RuntimeUnavailableError: Optuna is not installed, or TFLite Micro where a budget limits the arena, or what a
        cluster or a storage needs.
    """
    from edgefm.searching import budget as budgets
    from edgefm.searching.executors.execution import Execution
    from edgefm.searching.sampling import SAMPLERS, optuna_here
    from edgefm.searching.storage.shared import SharedStudy

    numbers = {"trials": trials, "seeds": seeds, "epochs": epochs, "seed": seed}
    for name, value in (numbers if workers is None else {**numbers, "workers": workers}).items():
        check_number(value, name, int)
        most = MOST_SEED - seeds if name == "seed" else 100_000
        at_least(name, value, 0 if name in ("seed", "seeds") else 1, most=most)
    if sampler not in SAMPLERS:
        from edgefm.core.errors import unknown_name

        raise unknown_name("sampler", sampler, SAMPLERS)
    seconds = time_of(time_limit)
    limits = (
        budgets.parse(budget, where="budget")
        if isinstance(budget, Mapping)
        else budgets.read(as_path(budget, "budget"))
    )
    optuna_here()
    execution = Execution(
        executor=executor, workers=workers, address=address, store=None if store is None else str(store)
    )
    shared = None if storage is None else SharedStudy.at(storage)
    run = _run(model)
    if run is not None:
        about: dict[str, Any] = {"data": data, "quality": quality, "labels": labels, "value_range": value_range}
        about |= {"head": None if head == "auto" else head, "trust": trust or None}
        beside = [name for name, value in about.items() if value is not None]
        if beside:
            raise RecipeError(
                f"{', '.join(beside)} given beside a run, which has its own",
                hint="Leave that out, or give a model in place of the run.",
            )
    folder, scratch = _folder(run, out)
    with shown(progress) as receiver:
        from edgefm.searching.driver import Limits
        from edgefm.searching.search import SearchPlan, search_in

        source = (
            _source_of(run, seed=seed, data_dir=data_dir, progress=receiver)
            if run is not None
            else _source(
                model,
                seed=seed,
                data=data,
                quality=quality,
                labels=labels,
                value_range=value_range,
                head=head,
                trust=trust,
                progress=receiver,
            )
        )
        plan = SearchPlan(
            budgets=limits,
            limits=Limits(trials=trials, seconds=seconds),
            seed=seed,
            sampler=sampler,
            epochs=epochs,
            seeds=seeds,
            execution=execution,
            storage=shared,
            protocol=protocol or BenchmarkProtocol(),
        )
        result = search_in(
            folder,
            source,
            plan,
            lambda kept: _latency(kept, receiver),
            rough=lambda kept, pending: _rough(kept, pending, receiver),
            resume=resume,
            progress=receiver,
        )
    return SearchResult.open(result, scratch=scratch)


def time_of(value: float | str | None) -> float | None:
    """Return the seconds of a time such as 90, '1h', '90m', '1h 30m'; None for None.

    >>> time_of("1h 30m"), time_of("45s"), time_of(90), time_of(None)
    (5400.0, 45.0, 90.0, None)

    Raises:
      RecipeError: no time, or none above 0.
    """
    if value is None:
        return None
    if isinstance(value, str):
        parts = _TIME.fullmatch(value)
        given = [float(part) if part else 0.0 for part in parts.groups()] if parts and value.strip() else []
        seconds = sum(part * size for part, size in zip(given, (3600, 60, 1), strict=True)) if given else 0.0
    else:
        check_type(value, "time_limit", (int, float), "a number of seconds, or a text such as '1h'")
        seconds = float(value)
    if not 0 < seconds < float("inf"):
        raise RecipeError(f"a time limit of {value} is not allowed", hint="Give a time such as 1h, 90m or 45s.")
    return seconds


def _run(model: Any) -> Run | None:
    """Return the run that a model argument means; None for a model by itself."""
    from edgefm.core import manifest

    if isinstance(model, Run):
        return model
    if isinstance(model, str | Path) and (Path(model) / manifest.FILE_NAME).is_file():
        return Run(model)
    return None


def _folder(run: Run | None, out: PathLike | None) -> tuple[Path, Any]:
    if out is not None:
        return as_path(out, "out"), None
    return (run.path / FOLDER, None) if run is not None else scratch_folder()


def _source_of(run: Run, *, seed: int, data_dir: PathLike | None, progress: Progress) -> Any:
    """Return the model of a run with its data."""
    from edgefm.core.errors import DataError
    from edgefm.data.source import data_source_of, dataset_of
    from edgefm.quantization.source import open_source

    directory = RunDirectory.open(run.path)
    if data_source_of(directory) is None:
        raise DataError(
            f"the model of run {run.path} was imported without data, and a search trains and measures",
            hint="Give the model's file with data.",
        )
    where = None if data_dir is None else as_path(data_dir, "data_dir")
    dataset = dataset_of(directory, data_dir=where, anew=True, progress=progress)
    return open_source(directory, recipe=Quantization(seed=seed), dataset=dataset, progress=progress)


def _source(model: Any, *, seed: int, data: Any, progress: Progress, **about: Any) -> Any:
    require_data(data)
    return source_in_memory(model, Quantization(seed=seed), data=data, progress=progress, **about)


def _latency(folder: Path, progress: Progress) -> Any:
    """Return what predicts the p50 of a file in nanoseconds; kept in the search's folder."""
    from edgefm.searching.on_targets.prediction import of_host

    return of_host(folder, progress=progress)


def _rough(folder: Path, budgets: Any, progress: Progress) -> Any:
    """Return what predicts the p50 of a file within seconds, for what the budgets limit."""
    from edgefm.searching.on_targets.prediction import roughly

    return roughly(folder, budgets, progress=progress)
