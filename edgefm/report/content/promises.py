"""What passes promised and whether the files hold it: promises, parity of training graph and file, loss limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgefm.report.content import wording
from edgefm.report.content.measure import Measure
from edgefm.report.content.weights import layer_of

# What the parity gate of quantisation-aware training asks for.
_AGREEMENT = "99.7 %"


@dataclass(frozen=True, kw_only=True)
class FileGate:
    """One thing that was promised of a file.

    Attributes:
      promise: in words.
      wanted: what was asked for; '' where no limit is stated.
      found: what was measured.
      held: None where no limit is stated.
      where: in which layers, on how many samples, or what else is worth knowing.
    """

    variant: str
    promise: str
    wanted: str
    found: str
    held: bool | None
    where: str = ""

    @property
    def verdict(self) -> str:
        """'held', 'broken', or 'no limit'."""
        return "no limit" if self.held is None else "held" if self.held else "broken"


def gates(quantize: Mapping[str, Any]) -> list[FileGate]:
    """Return all gates of a run's files, in the order of the variants."""
    wrong = [
        FileGate(
            variant=finding["where"],
            promise=finding["code"].replace("_", " "),
            wanted="none",
            found=finding["message"],
            held=False,
        )
        for finding in quantize.get("findings", [])
    ]
    return wrong + [gate for variant in quantize.get("variants", []) for gate in _gates(variant)]


def skipped(quantize: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (variant, reason) of those that could not be made."""
    return [(variant["variant"], variant["reason"]) for variant in quantize.get("skipped", [])]


def summary(gates: Sequence[FileGate]) -> str:
    """Return how many gates held, and which did not, in one sentence."""
    stated = [gate for gate in gates if gate.held is not None]
    broken = [gate for gate in stated if not gate.held]
    if not stated:
        return "No limit was stated."
    if not broken:
        return f"All {len(stated)} checks passed."
    names = wording.join([f"{gate.promise} of {gate.variant}" for gate in broken])
    return f"{len(stated) - len(broken)} of {len(stated)} checks passed; failed: {names}."


def _gates(variant: Mapping[str, Any]) -> Iterator[FileGate]:
    name = variant["variant"]
    yield from _promised(name, variant.get("promises", []))
    for finished in variant.get("passes", []):
        parity = _parity(finished.get("facts", {}))
        if parity is not None:
            yield _agreement(name, parity)
    validation = variant.get("validation")
    if validation and name != "float32":
        yield _limit(name, validation)


def _promised(name: str, promises: Sequence[Mapping[str, Any]]) -> Iterator[FileGate]:
    """Return one gate for equal promises of several layers; those that broke are named."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for promise in promises:
        groups.setdefault((promise["promise"], _value(promise["wanted"])), []).append(promise)
    for (what, wanted), group in groups.items():
        broken = [promise for promise in group if not promise["held"]]
        worst = broken or group
        values = list(dict.fromkeys(_value(promise["found"]) for promise in worst))
        where = ", ".join(layer_of(str(promise["where"])) for promise in worst if promise.get("where"))
        if len(group) > 1:
            text = (
                f"broken in {len(broken)} of {len(group)}: {where}" if broken else f"in each of {len(group)}: {where}"
            )
        else:
            text = f"furthest from it: {where}" if where else ""
        yield FileGate(
            variant=name, promise=what.replace("_", " "), wanted=wanted, found=_span(worst, values), held=not broken,
            where=text,
        )  # fmt: skip


def _span(promises: Sequence[Mapping[str, Any]], texts: list[str]) -> str:
    numbers = [promise["found"] for promise in promises if isinstance(promise["found"], int | float)]
    if len(texts) > 1 and len(numbers) == len(promises):
        return f"{_value(min(numbers))} to {_value(max(numbers))}"
    return ", ".join(texts)


def _parity(facts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the parity of training graph and file among the facts of a pass, or None."""
    parity = facts.get("parity", facts)
    return parity if isinstance(parity, Mapping) and "argmax_agreement" in parity else None


def _agreement(name: str, parity: Mapping[str, Any]) -> FileGate:
    images = parity["images"]
    share, within = parity["argmax_agreement"], parity.get("within_two_levels")
    if share is not None:
        what, agreed = "same class from the training graph and the file", f"{wording.percent(share)} %"
    else:
        what = "outputs of the training graph and the file within two levels"
        agreed = "" if within is None else f"{wording.percent(within)} %"
    where = f"of {images:,} validation samples; largest difference {parity['max_difference_lsb']:.3g} LSB"
    first = parity.get("first_divergence")
    if first:
        where += (
            f"; the first layer to diverge is {first['layer']}, by {first['error_lsb']:.3g} LSB "
            f"(sample {first['sample']})"
        )
    else:
        where += "; no layer diverges by more than rounding"
    return FileGate(
        variant=name, promise=what, wanted=f"{_AGREEMENT} or more", found=agreed, held=bool(parity["held"]), where=where
    )


def _limit(name: str, validation: Mapping[str, Any]) -> FileGate:
    measure = Measure.of(validation)
    # A loss is stored in points where the measure is a share.
    limit, points = validation["limit"], measure.points
    digits = 2 if measure.unit == "%" else 4
    return FileGate(
        variant=name,
        promise=f"loss of {measure.word} on validation",
        wanted="" if limit is None else f"at most {limit:g}{points}",
        found=f"{wording.number(validation['loss'], digits)}{points}",
        held=validation["held"],
        where=(
            f"{measure.text(validation['value'])} against {measure.text(validation['float32'])} of float32 on "
            f"{validation['samples']:,} samples"
        ),
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
