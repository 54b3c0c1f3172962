"""A verdict's sentences: the headline, and the reason of each choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgefm.comparison.shipping.quality import Yardstick
from edgefm.comparison.shipping.verdict import (
    AS_GOOD,
    BROKEN,
    DOWNLOAD,
    FAILED,
    MICROCONTROLLERS,
    PHONES,
    REFERENCE,
    UNJUDGED,
    UNSURE,
    WORSE,
    JudgedFile,
    Verdict,
)
from edgefm.comparison.shipping.words import change, faster, interval, joined, size, smaller

NO_QUALITY = "No file is recommended: the quality of the answers was not measured. Measure it with labelled data."
NO_BYTE_PRODUCTS = (
    "the times are of a processor without instructions for int8 products, which phones have, so int8 files may well be "
    "the fastest there: measure on the phone"
)
_FOR = {PHONES: "for phones", MICROCONTROLLERS: "for microcontrollers", DOWNLOAD: "for the smallest download"}


def ship(verdict: Verdict) -> str:
    """Return the headline of a verdict that recommends: what for what."""
    needs: dict[str, list[str]] = {}
    for choice in verdict.choices:
        if choice.file is not None:
            needs.setdefault(choice.file, []).append(_FOR[choice.target])
    text = f"Ship {joined([f'{file} {joined(parts)}' for file, parts in needs.items()])}."
    missing = [choice.target for choice in verdict.choices if choice.file is None]
    return f"{text} No file is recommended {joined([_FOR[need] for need in missing])}." if missing else text


def cannot_decide(verdict: Verdict, by: Yardstick, unsure: Sequence[JudgedFile], needed: int | None) -> str:
    """Return the headline where too few samples were measured."""
    head = f"{by.samples:,} test sample{'' if by.samples == 1 else 's'} cannot decide"
    until = f"Until then {verdict.fallback} is the safe file."
    if needed is not None:
        return f"{head}: about {needed:,} are needed to show a loss below {_loss(by)}. {until}"
    best = _best(unsure, by)
    assert best.difference is not None
    return (
        f"{head}: {best.name} is {_change(best, by)} in {by.word}, too near to the margin of {by.stated}. "
        f"{verdict.fallback} is the safe file."
    )


def too_few_for_chance(by: Yardstick, said: str, needed: int | None) -> str:
    """Return the headline where so few samples were measured that the model may be no better than chance."""
    need = f" About {needed:,} are needed." if needed is not None else ""
    return (
        f"{by.samples:,} test samples cannot decide: they do not show that the model itself is better than chance: "
        f"{said}.{need}"
    )


def keep(verdict: Verdict, by: Yardstick) -> str:
    """Return the headline where no other file is good enough."""
    head = f"Ship {verdict.reference}, the reference"
    worse = [file for file in verdict.files if file.state == WORSE]
    broken = [file for file in verdict.files if file.state == BROKEN]
    failed = [file for file in verdict.files if file.state == FAILED]
    parts = []
    if worse:
        best = _best(worse, by)
        are = "every other file is worse" if not broken and not failed else f"{_count(worse)} worse"
        parts.append(f"{are}; the best, {best.name}, is {_change(best, by)} in {by.word}")
    if broken:
        parts.append(f"{_count(broken)} not within its limits ({broken[0].name}: {broken[0].reason})")
    if failed:
        parts.append(f"{_count(failed)} not measured ({failed[0].name}: {failed[0].reason})")
    return f"{head}: {'; '.join(parts)}."


def at_chance(found: str) -> str:
    """Return the headline where the reference answers no better than chance."""
    return f"No file is recommended: the model itself answers no better than chance: {found}."


def of_given_model(message: str) -> str:
    """Return the headline where the check of the given model found something wrong with it."""
    return f"No file is recommended: something is wrong with the model itself: {message.rstrip('.')}."


def not_judged(verdict: Verdict) -> str:
    """Return the headline where no quality could be compared with the reference's."""
    file = next(file for file in verdict.files if file.state == UNJUDGED)
    return f"No file is recommended: no quality could be compared with that of {verdict.reference} ({file.reason})."


def nothing_to_decide(
    record: Mapping[str, Any], base: Mapping[str, Any] | None, by: Yardstick | None, files: Sequence[JudgedFile]
) -> str | None:
    """Return the headline where there is nothing to choose from; None where there is."""
    if all(file.state == FAILED for file in files):
        what = "the file could not" if len(files) == 1 else f"none of the {len(files)} files could"
        return f"No file is recommended: {what} be measured."
    if len(files) == 1:
        return "No file is recommended: a single model was measured, so there is nothing to compare it with."
    if base is None:
        broken = next((row for row in record["models"] if row["name"] == "float32" and row["status"] != "ok"), None)
        why = f"float32, the reference, failed: {broken['reason']}" if broken else "the record has no reference"
        return f"No file is recommended: {why}."
    return NO_QUALITY if by is None else None


def none_for(need: str, verdict: Verdict, lack: Callable[[JudgedFile], str | None]) -> str:
    """Return why no file is recommended for a need."""
    files = [file for file in verdict.files if file.state in (REFERENCE, AS_GOOD)]
    waiting = [file for file in verdict.files if file.state == UNSURE and lack(file) is None]
    if waiting:
        file = waiting[0]
        needed = f"; about {file.needed_samples:,} test samples are needed" if file.needed_samples else ""
        return f"{file.name} would load, but its loss is undecided{needed}"
    others = [file for file in verdict.files if file.state in (WORSE, BROKEN) and lack(file) is None]
    if others:
        return f"{others[0].name} would load, but: {others[0].reason}"
    return "; ".join(f"{file.name}: {lack(file)}" for file in files[:2])


def why(
    need: str,
    best: JudgedFile,
    pool: Sequence[JudgedFile],
    equal: Sequence[JudgedFile],
    verdict: Verdict,
    by: Yardstick,
    *,
    timed: bool,
) -> str:
    """Return why a file is the one for a need, and how it compares with the reference."""
    kind = " of integer tensors alone" if need == MICROCONTROLLERS else ""
    if len(pool) == 1:
        first = f"the only file{kind} that may be shipped"
    else:
        among = f"of the {len(pool)} files{kind} whose loss is shown to be below the margin"
        first = f"the smallest {among}"
        if need == PHONES and not timed:
            first = f"times were not measured; {first}"
        elif need == PHONES:
            alike = len(equal) - 1
            more = f" ({alike} more within 1 % or not shown to be slower; it is the smallest)" if alike else ""
            first = f"the fastest {among}{more}"
    zipped = f" ({size(best.size_gzip_bytes)} compressed)" if need == DOWNLOAD else f" ({size(best.size_bytes)})"
    return f"{first}{zipped}; {compared(best, verdict, by)}"


def on_file(verdict: Verdict, name: str) -> str:
    """Return what a verdict says of one file that is shipped, for the page beside it."""
    needs = [_FOR[choice.target] for choice in verdict.choices if choice.file == name]
    if needs:
        choice = next(choice for choice in verdict.choices if choice.file == name)
        return f"{verdict.headline} This is {name}, recommended {joined(needs)}: {choice.reason}."
    file = next((file for file in verdict.files if file.name == name), None)
    if file is None:
        return f"{verdict.headline} This is {name}, which the benchmark did not measure."
    reason = file.reason if file.state not in (REFERENCE, AS_GOOD) else {REFERENCE: "the reference"}.get(file.state)
    return f"{verdict.headline} This is {name}{f': {reason}' if reason else ', which answers as well'}."


def compared(file: JudgedFile, verdict: Verdict, by: Yardstick) -> str:
    """Return size, time and quality of a file against the reference: three figures, n beside the last."""
    if file.state == REFERENCE:
        return "it is the reference itself"
    reference = next(other for other in verdict.files if other.state == REFERENCE)
    assert file.difference is not None
    spread = f"{by.interval_name} {interval(file.difference, unit=by.unit)}, n = {by.samples:,}"
    return (
        f"{smaller(file.size_bytes, reference.size_bytes)} and {faster(file.time_ratio)} against {reference.name}, "
        f"{by.word} {change(file.difference.value, unit=by.unit)} ({spread})"
    )


def _change(file: JudgedFile, by: Yardstick) -> str:
    assert file.difference is not None
    return change(file.difference.value, unit=by.unit, samples=by.samples)


def _best(files: Sequence[JudgedFile], by: Yardstick) -> JudgedFile:
    """Return the file with the highest quality of those that were compared."""
    return max(files, key=lambda file: by.sign * file.difference.value if file.difference else float("-inf"))


def _loss(by: Yardstick) -> str:
    return f"{by.stated} of {by.word}" if by.unit == "%" else f"{by.stated} in {by.word}"


def _count(files: Sequence[JudgedFile]) -> str:
    return f"{len(files)} file{' is' if len(files) == 1 else 's are'}"
