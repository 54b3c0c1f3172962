"""`edgefm.trace`: why a device answers otherwise: each step in each way that apps do it, and which one explains it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import html
from edgefm.core.arguments import PathLike, as_path
from edgefm.core.errors import ModelError
from edgefm.core.progress import Progress, shown
from edgefm.core.results import JsonResult
from edgefm.jobs.inspect import tflite_in
from edgefm.jobs.trace.ways import ANY_ORDER, AS_CONTRACT, BEFORE, WAYS, Hypothesis, Way
from edgefm.tflite import contract as contracts

if TYPE_CHECKING:
    from edgefm.jobs.trace.answers import Nearness
    from edgefm.jobs.trace.expectation import Expected
    from edgefm.jobs.trace.feeding import Picture
    from edgefm.tflite.contract import Contract

_SHOWN = 5
# Pairs of changes are tried where no single one explains it; so many at most.
_MOST_PAIRS = 1500


@dataclass(frozen=True, kw_only=True)
class TracedCause:
    """A change that was tried.

    Attributes:
      steps: names of the steps that differ; () where all are as the contract says.
      title: what was done, in words.
      mend: what to do instead; '' where nothing is.
      explains: whether it gives what was read, to within rounding and what kernels of one family differ by.
      largest: largest difference of a value that is left, in the unit of what was read.
      mean: mean difference that is left.
    """

    steps: tuple[str, ...]
    title: str
    mend: str
    explains: bool
    largest: float
    mean: float


@dataclass(frozen=True, kw_only=True)
class TraceResult(JsonResult):
    """Why a device answered otherwise.

    Attributes:
      model: the file.
      picture: that was given.
      verdict: the answer, in a sentence.
      found: whether something explains what was read; also where nothing differs.
      causes: what explains it, the commonest first: with one picture several may give the same numbers.
      nearest: what came nearest, the nearest first; for a look where nothing explains it.
      input_held: whether the input that was read out is what the contract gives; None where it was not read out.
      tried: number of ways.
    """

    model: Path
    picture: Path
    verdict: str
    found: bool
    causes: tuple[TracedCause, ...]
    nearest: tuple[TracedCause, ...]
    input_held: bool | None
    tried: int

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        value = {**asdict(self), "model": str(self.model), "picture": str(self.picture)}
        return value | {name: [asdict(cause) for cause in getattr(self, name)] for name in ("causes", "nearest")}

    def _repr_html_(self) -> str:
        rows = [
            ["explains it" if cause.explains else "", cause.title, f"{cause.largest:.4g}", f"{cause.mean:.4g}"]
            for cause in (*self.causes, *(cause for cause in self.nearest if cause not in self.causes))
        ]
        table = html.table(rows, ["", "what was tried", "largest difference", "mean"], caption=str(self.picture))
        return table + html.paragraph(self.verdict)


def trace(
    model: PathLike, picture: PathLike, *, expect: PathLike, progress: Progress | bool | None = None
) -> TraceResult:
    """Find out why a device answers otherwise than this machine: which step it does in another way.

    The picture goes through the model once for each way in which an app may do a step (decoding, orientation, size,
    inversion, channels, layout, range, quantisation, kernels, outputs, labels); the way that gives what was read on the
    device is the cause. Where no single change does, pairs are tried.

    Args:
      model: .tflite file with its contract beside it, or a bundle.
      picture: that the device was given; the very same file.
      expect: what it answered: .json (values of the outputs, or probabilities by label, and the input's values where
        they were read out), .npy, .npz or .bin; see docs/commands/trace.md.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      ModelError: no model, no contract, or one that takes no pictures.
      DataError: the picture or what was read cannot be read.
      RuntimeUnavailableError: LiteRT or Pillow is not installed.
    """
    from edgefm.jobs.trace.expectation import read_expected
    from edgefm.jobs.trace.feeding import Picture, same

    path = tflite_in(as_path(model, "model"))
    contract = contracts.read(path)
    if contract is None:
        raise ModelError(
            f"{path} has no {contracts.FILE_NAME} beside it, which says how it is fed",
            hint="Copy it along with the model; edgefm quantize and edgefm export write one.",
        )
    given = as_path(picture, "picture")
    read = Picture(given, contract)
    expected = read_expected(as_path(expect, "expect"), contract)
    with shown(progress) as receiver:
        tried = _Tried(path, contract, read, expected, receiver)
        hypotheses = [AS_CONTRACT, *(way for way in WAYS if _matters(way, contract))]
        input_held, seen = None, expected.input
        if seen is not None:
            fitting = [way for way in hypotheses if same(read.values(way.way), seen)]
            input_held = AS_CONTRACT in fitting
            before = [way for way in hypotheses if way.steps and way.steps[0] in BEFORE]
            fitting = fitting or [pair for pair in _pairs(before, ()) if same(read.values(pair.way), seen)]
            if not input_held and fitting:
                found = tried.causes(fitting, of_input=True)
                return _result(path, given, found, found, input_held, tried.count)
            hypotheses = [way for way in hypotheses if not way.steps or way.steps[0] not in BEFORE]
        found = tried.causes(hypotheses)
        if not any(cause.explains for cause in found):
            found = [*found, *tried.causes(_pairs(hypotheses, found))]
    return _result(path, given, [cause for cause in found if cause.explains], found, input_held, tried.count)


class _Tried:
    """Runs the model on what ways feed it; the same input is run once by each kernel set."""

    def __init__(
        self, path: Path, contract: Contract, picture: Picture, expected: Expected, progress: Progress
    ) -> None:
        from edgefm.agreement import arithmetic
        from edgefm.tflite.inspection import inspect

        self._path, self._contract, self._picture = path, contract, picture
        self._expected, self._progress = expected, progress
        self._ends = arithmetic.ends(inspect(path))
        self._answers: dict[tuple[str, bytes], list[NDArray[Any]]] = {}
        self.count = 0

    def causes(self, hypotheses: Sequence[Hypothesis], *, of_input: bool = False) -> list[TracedCause]:
        """Return what each way leaves of the difference, the best first; of_input: the input itself told it."""
        values = {way: self._input(way.way) for way in hypotheses}
        hypotheses = _different(hypotheses, values)
        for kernels in sorted({way.way.kernels for way in hypotheses}):
            self._run(kernels, [values[way] for way in hypotheses if way.way.kernels == kernels])
        found = []
        for way in hypotheses:
            near = self._near(way.way, self._answers[way.way.kernels, values[way].tobytes()])
            if near is not None:
                explains = of_input or near.equal or near.within
                found.append((not near.equal, not explains, near.mean, way, near, explains))
        self.count += len(hypotheses)
        found.sort(key=lambda one: one[:3])
        return [
            TracedCause(
                steps=way.steps, title=way.title, mend=way.mend, explains=explains, largest=near.largest, mean=near.mean
            )
            for *_, way, near, explains in found
        ]

    def _input(self, way: Way) -> NDArray[Any]:
        if self._expected.input is not None:
            tensor = self._contract.input
            return self._expected.input.astype(tensor.dtype).reshape(tensor.shape)
        return self._picture.values(way)

    def _run(self, kernels: str, inputs: Iterable[NDArray[Any]]) -> None:
        from edgefm.agreement.asking import ask
        from edgefm.agreement.cells import HOST, AgreementCell

        new = {values.tobytes(): values for values in inputs if (kernels, values.tobytes()) not in self._answers}
        if not new:
            return
        self._progress.step("ways", 0, 1, {"kernels": kernels, "inputs": str(len(new))})
        answers = ask(AgreementCell(runtime=kernels, target=HOST), self._path, np.concatenate([*new.values()]))
        for place, content in enumerate(new):
            self._answers[kernels, content] = [output[place] for output in answers.outputs]
        self._progress.step("ways", 1, 1, {"kernels": kernels, "inputs": str(len(new))})

    def _near(self, way: Way, outputs: list[NDArray[Any]]) -> Nearness | None:
        from edgefm.agreement.cells import HOST, AgreementCell
        from edgefm.agreement.membership import membership
        from edgefm.jobs.export.golden import level_of, tolerance_elsewhere
        from edgefm.jobs.trace.answers import nearness

        ends, is_float = self._ends, self._ends.arithmetic == "float"
        family = membership(AgreementCell(runtime=way.kernels, target=HOST), ends.arithmetic, ends.rounding).family
        allowed = tolerance_elsewhere(family or "", ends)
        steps = [
            tensor.scale or (float(np.abs(output).max()) if is_float else level_of(ends, place, output))
            for place, (tensor, output) in enumerate(zip(self._contract.outputs, outputs, strict=True))
        ]
        steps = [1.0] * len(steps) if self._expected.levels else steps
        near = [allowed.largest * step for step in steps]
        return nearness(outputs, way, self._expected, self._contract, near=near, share=allowed.share)


def _different(hypotheses: Sequence[Hypothesis], values: Mapping[Hypothesis, NDArray[Any]]) -> list[Hypothesis]:
    """Return the hypotheses without those that change nothing with this picture; of alike ones, a step's commonest."""
    kept: dict[tuple[Any, ...], list[Hypothesis]] = {}
    for one in hypotheses:
        alike = kept.setdefault((values[one].tobytes(), one.way.kernels, one.way.output, one.way.labels), [])
        if not alike or (alike[0].steps and len(one.steps) == 1 and one.steps not in [each.steps for each in alike]):
            alike.append(one)
    return [one for alike in kept.values() for one in alike]


def _matters(way: Hypothesis, contract: Contract) -> bool:
    """Return whether a change can be made of this model at all."""
    quantised, channels = contract.input.scale is not None, contract.input.shape[-1]
    step = way.steps[0]
    if step == "quantisation" and not quantised:
        return False
    if step == "decoding" and channels != 1 and way.way.decoding.endswith(("grey", "alone")):
        return False
    if step == "labels" and not contract.labels:
        return False
    if step == "output" and contract.output.scale is None and way.way.output not in ("softmax", "no softmax"):
        return False
    return not (step in ("channels",) and channels < 3)


def _pairs(hypotheses: Sequence[Hypothesis], found: Sequence[TracedCause]) -> list[Hypothesis]:
    """Return pairs of changes of two steps, those first whose single changes came near."""
    rank = {cause.title: place for place, cause in enumerate(found)}
    known = sorted((way for way in hypotheses if way.steps), key=lambda way: rank.get(way.title, len(rank)))
    pairs = [
        (rank.get(one.title, 0) + rank.get(other.title, 0), place, one.with_other(other))
        for place, one in enumerate(known)
        for other in known[place + 1 :]
        if one.steps != other.steps
    ]
    return [pair for _, _, pair in sorted(pairs, key=lambda entry: entry[:2])][:_MOST_PAIRS]


def _result(
    path: Path,
    picture: Path,
    causes: Sequence[TracedCause],
    found: Sequence[TracedCause],
    input_held: bool | None,
    tried: int,
) -> TraceResult:
    if causes and not causes[0].steps:
        # All from the input on is as it should be: other ways make no difference with this picture.
        causes = () if input_held is False else causes[:1]
    elif any(len(cause.steps) == 1 for cause in causes):
        causes = [cause for cause in causes if len(cause.steps) == 1]
    exact = [cause for cause in causes if cause.largest <= causes[0].largest + 1e-12]
    # That the values stand in some order is true wherever one order is known.
    exact = [cause for cause in exact if cause.title != ANY_ORDER.title] or exact
    return TraceResult(
        model=path,
        picture=picture,
        verdict=_verdict(exact, found, input_held),
        found=bool(causes),
        causes=tuple(exact),
        nearest=tuple(found[:_SHOWN]),
        input_held=input_held,
        tried=tried,
    )


def _verdict(causes: Sequence[TracedCause], found: Sequence[TracedCause], input_held: bool | None) -> str:
    went_in = {True: "What went in is right. ", False: "What went in is not what the contract gives. "}
    head = went_in[input_held] if input_held is not None else ""
    if not causes and input_held is False and found and found[0].explains:
        return f"{head}Nothing that was tried gives it. From it, the device answers as this machine does."
    if not causes:
        near = f" The nearest: {found[0].title} (largest difference {found[0].largest:.4g})." if found else ""
        return f"{head}Nothing that was tried explains it.{near}"
    if not causes[0].steps:
        return f"{head}Nothing differs: the device answers as this machine does, to within the rounding of kernels."
    if len(causes) == 1:
        return f"{head}{causes[0].title[:1].upper()}{causes[0].title[1:]}. {causes[0].mend}"
    titles = "; or ".join(cause.title for cause in causes)
    return f"{head}One of these, which this picture cannot tell apart: {titles}. Try a picture with more in it."
